"""Feast's online store plugin: packed records in Redis.

It is named in `feature_store.yaml` as

online_store: {type: online.store.PedigreeOnlineStore, connection_string: "127.0.0.1:6379"}
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import Any, Literal

import redis.exceptions
from feast import Entity, FeatureView, RepoConfig
from feast.feature_view import DUMMY_ENTITY_ID
from feast.infra.infra_object import InfraObject
from feast.infra.online_stores.online_store import OnlineStore
from feast.infra.supported_async_methods import SupportedAsyncMethods
from feast.protos.feast.core.Registry_pb2 import Registry as RegistryProto
from feast.protos.feast.types.EntityKey_pb2 import EntityKey
from feast.protos.feast.types.Value_pb2 import Value
from feast.repo_config import FeastConfigBaseModel

from online import names
from online.address import Kind, parse, reason_of
from online.applying import forget_lost, forget_view, know, know_all, publish_plan, warn_of_eviction
from online.bank import Bank
from online.definitions import prefix_of, problem_of, refuse_unstorable, schema_of
from online.errors import FutureRowsError, NotLoadedError, RowsEvictedError, SchemaMissingError, StoreAwayError
from online.marks import State
from online.record import EPOCH, MICROSECOND, Head, Schema, head_of, micros

Rows = Sequence[tuple[EntityKey, dict[str, Value], datetime, datetime | None]]
Read = tuple[datetime | None, dict[str, Value] | None]


class PedigreeOnlineStoreConfig(FeastConfigBaseModel):  # type: ignore[misc]  # Feast has no types
    """Where the Redis is, in Feast's own form or as a URL, and how far ahead of the clock a row may be."""

    type: Literal["online.store.PedigreeOnlineStore"] = "online.store.PedigreeOnlineStore"
    connection_string: str = "localhost:6379"
    redis_type: Kind = "redis"
    sentinel_master: str = "mymaster"
    future_skew_seconds: float = 60.0


class PedigreeOnlineStore(OnlineStore):  # type: ignore[misc]  # Feast has no types
    """One hash per entity key, one field per view, one packed record per field; the newest wins inside Redis."""

    bank: Bank | None = None

    @property
    def async_supported(self) -> SupportedAsyncMethods:
        """Reads and writes can be awaited."""
        return SupportedAsyncMethods(read=True, write=True)

    def online_write_batch(
        self, config: RepoConfig, table: FeatureView, data: Rows, progress: Callable[[int], Any] | None
    ) -> None:
        """Write rows; an older row never takes a newer one's place.

        Raises:
            FutureRowsError: rows are of the future; nothing was written.
            UnstorableViewError: the view cannot be stored.
        """
        refuse_unstorable(table)
        refuse_future(table.name, [event_at for _, _, event_at, _ in data], config.online_store.future_skew_seconds)
        bank, schema = self.opened(config), schema_of(table)
        bank.register(schema)
        rows = [
            (key_of(config.project, key), packed(schema, values, event_at, created_at))
            for key, values, event_at, created_at in data
        ]
        mark = bank.mark(table.name)
        field = names.field(table.name, 0 if mark is None else mark.generation)
        memories = bank.memories() if mark is not None and mark.state is State.DECLARED else None
        bank.write(field, rows)
        bank.open_view(table.name)
        bank.set_baseline(field, memories)
        if progress:
            progress(len(rows))

    async def online_write_batch_async(
        self, config: RepoConfig, table: FeatureView, data: Rows, progress: Callable[[int], Any] | None
    ) -> None:
        """The same, in a thread."""
        await asyncio.to_thread(self.online_write_batch, config, table, data, progress)

    def online_read(
        self,
        config: RepoConfig,
        table: FeatureView,
        entity_keys: Sequence[EntityKey],
        requested_features: Sequence[str] | None = None,
    ) -> list[Read]:
        """The row of each key, (None, None) where there is none.

        Raises:
            NotLoadedError: nothing is known of the view, so a missing row says nothing.
            RowsEvictedError: a row is missing, and Redis may have evicted it.
        """
        bank = self.opened(config)
        keys = [key_of(config.project, key) for key in entity_keys]
        generation = self.generation(bank, table.name)
        records = bank.read(keys, names.field(table.name, generation))
        mark = bank.mark(table.name)
        if mark is None or not mark.readable:
            raise NotLoadedError(table.name)
        if mark.generation != generation:
            records = bank.read(keys, names.field(table.name, mark.generation))
        if None in records and bank.may_lack_rows(names.field(table.name, mark.generation)):
            raise RowsEvictedError(table.name)
        schema = schema_of(table)
        schemas = {schema.fingerprint: schema}
        wanted = set(requested_features or [feature.name for feature in table.features])
        return [self.row_of(bank, table.name, record, schemas, wanted) for record in records]

    async def online_read_async(
        self,
        config: RepoConfig,
        table: FeatureView,
        entity_keys: Sequence[EntityKey],
        requested_features: Sequence[str] | None = None,
    ) -> list[Read]:
        """The same, in a thread."""
        return await asyncio.to_thread(self.online_read, config, table, entity_keys, requested_features)

    @staticmethod
    def row_of(bank: Bank, view: str, record: bytes | None, schemas: dict[bytes, Schema], wanted: set[str]) -> Read:
        """A record as Feast wants it."""
        if record is None:
            return None, None
        head = head_of(record)
        if head.fingerprint not in schemas:
            older = bank.schema(head.fingerprint)
            if older is None:
                raise SchemaMissingError(view)
            schemas[head.fingerprint] = older
        schema = schemas[head.fingerprint]
        found = zip(schema.names, schema.unpack(record), strict=True)
        values = {name: Value.FromString(value or b"") for name, value in found if name in wanted}
        return EPOCH + head.event_us * MICROSECOND, values

    @staticmethod
    def generation(bank: Bank, view: str) -> int:
        """The generation of a view that is read now."""
        mark = bank.mark(view)
        return 0 if mark is None else mark.generation

    def update(
        self,
        config: RepoConfig,
        tables_to_delete: Sequence[FeatureView],
        tables_to_keep: Sequence[FeatureView],
        entities_to_delete: Sequence[Entity],
        entities_to_keep: Sequence[Entity],
        partial: bool,
    ) -> None:
        """What `feast apply` does here: give servers a new plan, forget views that are gone, and know those that are new.

        The registry has the new definitions already, so nothing is refused for them: a view that cannot be stored is left out
        of the plan and told of. What an apply that broke off has left undone is done by the next one.

        Raises:
            StoreAwayError: Redis does not answer, or refuses us.
            PlanContendedError: others change the registry again and again meanwhile.
        """
        bank = self.opened(config)
        try:
            known = (
                bank.marks()
            )  # before the registry is read: a view that somebody applies now is in neither, or in both
            registry = publish_plan(config, bank)
            self.forget(bank, tables_to_delete)
            if (
                config.registry.registry_type != "file"
            ):  # that is written after us, so it does not tell yet what there is
                forget_lost(bank, known, registry)
            for table in tables_to_keep:
                if problem_of(table) is None:
                    know(
                        bank, table.name, schema_of(table), is_new=not getattr(table, "materialization_intervals", None)
                    )
            know_all(bank, registry)
            warn_of_eviction(bank)
        except redis.exceptions.RedisError as error:
            raise StoreAwayError(str(bank.address), reason_of(error)) from error

    def teardown(self, config: RepoConfig, tables: Sequence[FeatureView], entities: Sequence[Entity]) -> None:
        """Forget the project's views."""
        self.forget(self.opened(config), tables)

    def plan(self, config: RepoConfig, desired_registry_proto: RegistryProto) -> list[InfraObject]:
        """Nothing that Feast would have to make: Redis needs no tables."""
        return []

    def delete(self, config: RepoConfig, table: FeatureView, entity_keys: Sequence[EntityKey]) -> int:
        """Delete a view's rows of some entities; returns how many there were."""
        bank = self.opened(config)
        field = names.field(table.name, self.generation(bank, table.name))
        return sum(int(bank.redis.hdel(key_of(config.project, key), field)) for key in entity_keys)

    async def close(self) -> None:
        """Let go of the connections."""
        if self.bank is not None:
            self.bank.close()
            self.bank = None

    def opened(self, config: RepoConfig) -> Bank:
        """The store, opened once."""
        if self.bank is None:
            self.bank = open_bank(config)
        return self.bank

    @staticmethod
    def forget(bank: Bank, tables: Sequence[FeatureView]) -> None:
        """Delete the rows of views, and what was known of them."""
        for table in tables:
            if names.is_storable(table.name):
                forget_view(bank, table.name, prefix_of(bank.project, table))


def open_bank(config: RepoConfig) -> Bank:
    """The online store that Feast's configuration names."""
    store = config.online_store
    return Bank.open(
        config.project, parse(store.connection_string, kind=store.redis_type, master=store.sentinel_master)
    )


def key_of(project: str, key: EntityKey) -> bytes:
    """The key of one entity's hash; join keys go by name, whatever their order."""
    parts = sorted(
        (name, value.SerializeToString())
        for name, value in zip(key.join_keys, key.entity_values, strict=True)
        if name != DUMMY_ENTITY_ID
    )
    prefix = names.entity_prefix(project, [name for name, _ in parts])
    return names.entity_key(prefix, [value for _, value in parts])


def packed(schema: Schema, values: dict[str, Value], event_at: datetime, created_at: datetime | None) -> bytes:
    """The record of a row that was written one by one."""
    head = Head(micros(event_at), None if created_at is None else micros(created_at), 0, schema.fingerprint)
    return schema.pack(head, [stored(values.get(name)) for name in schema.names])


def stored(value: Value | None) -> bytes | None:
    """A value's bytes; None where it is null."""
    if value is None or value.WhichOneof("val") in (None, "null_val"):
        return None
    return bytes(value.SerializeToString(deterministic=True))


def refuse_future(view: str, event_times: Sequence[datetime], skew_seconds: float) -> None:
    """Raise where rows are further ahead of the clock than is allowed."""
    limit = micros(datetime.now(UTC)) + int(skew_seconds * 1e6)
    ahead = [event_at for event_at in event_times if micros(event_at) > limit]
    if ahead:
        raise FutureRowsError(view, len(ahead), newest=str(max(ahead)), allowed=f"{skew_seconds:g} s")
