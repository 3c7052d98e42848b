"""The one place that knows the online store: Feast's plugin that `feature_store.yaml` names, read within a time limit."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import redis.exceptions
from feast import FeatureView, Field, RepoConfig
from feast.feature_view import DUMMY_ENTITY_ID, DUMMY_ENTITY_VAL
from feast.infra.online_stores.helpers import get_online_store_from_config
from feast.infra.online_stores.online_store import OnlineStore
from feast.protos.feast.types.EntityKey_pb2 import EntityKey
from feast.protos.feast.types.Value_pb2 import Value as StoredValue
from feast.types import from_value_type
from feast.value_type import ValueType

from serving.errors import StoreUnavailableError
from serving.plan import Plan, View
from serving.row import Key, Row

log = logging.getLogger(__name__)

EPOCH = datetime.fromtimestamp(0, tz=UTC)
THREADS = 8
"""Threads for a store that has no asynchronous read."""

UNREACHABLE = (
    OSError,
    TimeoutError,
    redis.exceptions.ConnectionError,
    redis.exceptions.TimeoutError,
    redis.exceptions.ClusterDownError,
)
"""What a store raises that is down, loading, full, or too slow."""


@dataclass(frozen=True, slots=True)
class Reader:
    """Reads rows from a Feast online store. Never waits longer than `timeout`."""

    config: RepoConfig
    store: OnlineStore
    tables: Mapping[str, FeatureView]
    timeout: timedelta
    threads: ThreadPoolExecutor = field(default_factory=lambda: ThreadPoolExecutor(THREADS, "online-store"))

    @classmethod
    def open(cls, config: RepoConfig, plan: Plan, *, timeout: timedelta) -> Reader:
        """A reader of the store that `config` names. The store is first spoken to by the first read."""
        tables = {name: table_of(view) for name, view in plan.views.items()}
        store = get_online_store_from_config(config.online_store)
        return cls(config=config, store=store, tables=tables, timeout=timeout)

    async def read(self, wanted: Sequence[tuple[View, Sequence[Key]]]) -> list[list[Row | None]]:
        """For each view the row of each key, None where the store has none; views are read side by side.

        Raises:
            StoreUnavailableError: the store refused, or did not answer in time.
        """
        try:
            async with asyncio.timeout(self.timeout.total_seconds()), asyncio.TaskGroup() as group:
                reads = [group.create_task(self.read_view(view, keys)) for view, keys in wanted]
        except TimeoutError as error:
            log.warning("the online store did not answer within %s", self.timeout)
            raise StoreUnavailableError from error
        except ExceptionGroup as errors:
            unreachable, other = errors.split(UNREACHABLE)
            if other is not None:
                raise other from None
            log.warning("the online store cannot be reached: %s", unreachable and unreachable.exceptions[0])
            raise StoreUnavailableError from errors
        return [read.result() for read in reads]

    async def read_view(self, view: View, keys: Sequence[Key]) -> list[Row | None]:
        """The row of each key of one view, in the order of `keys`."""
        if not keys:
            return []
        names = [feature.name for feature in view.features]
        # Feast's Redis store appends to the list of names that it is given, so it gets a copy.
        arguments = (self.config, self.tables[view.stored_as], [entity_key(view, key) for key in keys], list(names))
        if self.store.async_supported.read:
            found = await self.store.online_read_async(*arguments)
        else:
            loop = asyncio.get_running_loop()
            found = await loop.run_in_executor(self.threads, self.store.online_read, *arguments)
        return [row_of(event_at, values, names) for event_at, values in found]

    async def close(self) -> None:
        """Let go of the store's connections."""
        self.threads.shutdown(wait=False, cancel_futures=True)
        # Feast's Redis store has a close() that closes nothing.
        client: Any = getattr(self.store, "_client_async", None)
        await (client.aclose() if client is not None else self.store.close())


def table_of(view: View) -> FeatureView:
    """The view as Feast's stores want to be told of it, without its sources, which no read needs."""
    schema = [Field(name=one.name, dtype=from_value_type(ValueType[one.value_type])) for one in view.features]
    table = FeatureView(name=view.stored_as, entities=[], schema=schema, source=None, ttl=view.ttl)
    table.current_version_number = view.version
    return table


def entity_key(view: View, key: Key) -> EntityKey:
    """The key as Feast's stores write it; a view without keys has one row under a key that Feast made up."""
    if not view.keys:
        return EntityKey(join_keys=[DUMMY_ENTITY_ID], entity_values=[StoredValue(string_val=DUMMY_ENTITY_VAL)])
    values = [StoredValue.FromString(value.SerializeToString()) for value in key]
    return EntityKey(join_keys=[one.stored_as for one in view.keys], entity_values=values)


def row_of(event_at: datetime | None, values: Mapping[str, StoredValue] | None, names: Sequence[str]) -> Row | None:
    """A row as the store gave it; None where the store had none.

    Feast's Redis store answers for a missing row with nulls at the epoch; other stores answer None.
    """
    if event_at is None or values is None:
        return None
    row = Row(event_at=aware(event_at), values=tuple(serialized(values.get(name)) for name in names))
    return None if row.event_at == EPOCH and not any(row.values) else row


def aware(at: datetime) -> datetime:
    """`at` in UTC; Feast's stores mean UTC where they name no zone."""
    return at.replace(tzinfo=UTC) if at.tzinfo is None else at.astimezone(UTC)


def serialized(value: StoredValue | None) -> bytes | None:
    """The bytes of a value, None for a null one (a null is stored as an empty message or as `null_val`)."""
    if value is None or value.WhichOneof("val") in (None, "null_val"):
        return None
    return bytes(value.SerializeToString())
