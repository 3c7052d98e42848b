"""Feast's online store plugin: packed records in Redis.

It is named in `feature_store.yaml` as

online_store: {type: pedigree.online.feast_plugin.PedigreeOnlineStore, connection_string: "127.0.0.1:6379"}
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Any, Literal

import redis.exceptions
from feast import Entity, FeatureView, RepoConfig
from feast.infra.infra_object import InfraObject
from feast.infra.online_stores.online_store import OnlineStore
from feast.infra.supported_async_methods import SupportedAsyncMethods
from feast.protos.feast.core.Registry_pb2 import Registry as RegistryProto
from feast.protos.feast.types.EntityKey_pb2 import EntityKey
from feast.protos.feast.types.Value_pb2 import Value
from feast.repo_config import FeastConfigBaseModel
from google.protobuf.message import DecodeError
from pydantic import Field

from pedigree.online.apply import (
    forget_lost,
    forget_view,
    know,
    know_all,
    publish_plan,
    warn_of_eviction,
    warn_of_file_registry,
)
from pedigree.online.errors import (
    DamagedRecordError,
    NotLoadedError,
    RecordError,
    RowsEvictedError,
    StoreAwayError,
)
from pedigree.online.plans.view_definitions import prefix_of, problem_of, refuse_unstorable, schema_of
from pedigree.online.records.record import EPOCH, MICROSECOND, Schema, fingerprints_of, head_of
from pedigree.online.records.record import schema_of as schema_of_record
from pedigree.online.row_encoder import Rows, key_of, record_of, refuse_future, refuse_incomplete
from pedigree.online.store import redis_keys
from pedigree.online.store.address import Address, Kind, parse, reason_of
from pedigree.online.store.eviction import evicts
from pedigree.online.store.load_state import LoadStatus
from pedigree.online.store.redis_store import RedisStore

Read = tuple[datetime | None, dict[str, Value] | None]


class PedigreeOnlineStoreConfig(FeastConfigBaseModel):  # type: ignore[misc]  # Feast has no types
    """Where the Redis is, in Feast's own form or as a URL, and how far ahead of the clock a row may be."""

    type: Literal["pedigree.online.feast_plugin.PedigreeOnlineStore"] = (
        "pedigree.online.feast_plugin.PedigreeOnlineStore"
    )
    connection_string: str = Field(default="localhost:6379", repr=False)
    redis_type: Kind = "redis"
    sentinel_master: str = "mymaster"
    future_skew_seconds: float = 60.0


class PedigreeOnlineStore(OnlineStore):  # type: ignore[misc]  # Feast has no types
    """One hash per entity key, one field per view, one packed record per field; the newest wins inside Redis."""

    store: RedisStore | None = None

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
            UnfitRowError: a value is none of its declared type, or an event time or a key is missing; nothing was written.
            UnstorableViewError: the view cannot be stored.
        """
        refuse_unstorable(table)
        refuse_incomplete(table.name, data)
        refuse_future(table.name, [event_at for _, _, event_at, _ in data], config.online_store.future_skew_seconds)
        store, schema = self.opened(config), schema_of(table)
        store.register(schema)
        rows = [
            (key_of(config.project, key), record_of(table.name, schema, (key, values, event_at, created_at)))
            for key, values, event_at, created_at in data
        ]
        mark = store.mark(table.name)
        memories = store.memories() if mark is not None and mark.state is LoadStatus.DECLARED else None
        self.push(store, table.name, rows)
        store.set_baseline(redis_keys.field(table.name, self.generation(store, table.name)), memories)
        store.open_view(table.name, evictable=evicts(memories))
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
        store = self.opened(config)
        keys = [key_of(config.project, key) for key in entity_keys]
        generation = self.generation(store, table.name)
        records = store.read(keys, redis_keys.field(table.name, generation))
        mark = store.mark(table.name)
        if mark is None or not mark.readable:
            raise NotLoadedError(table.name)
        if mark.generation != generation:
            records = store.read(keys, redis_keys.field(table.name, mark.generation))
        if None in records and store.may_lack_rows(table.name, mark):
            raise RowsEvictedError(table.name)
        schema = schema_of(table)
        schemas: dict[bytes, Schema | None] = {schema.fingerprint: schema}
        asked = set(requested_features or [feature.name for feature in table.features])
        types = zip(schema.names, schema.types, strict=True)
        wanted = {(name, kind) for name, kind in types if name in asked}
        return [self.row_of(store, table.name, record, schemas, wanted) for record in records]

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
    def row_of(
        store: RedisStore,
        view: str,
        record: bytes | None,
        schemas: dict[bytes, Schema | None],
        wanted: set[tuple[str, str]],
    ) -> Read:
        """A record as Feast wants it: the features of these names and types, as far as it has them.

        Raises:
            DamagedRecordError: it is not what was written; Feast has no way to tell that of one row.
        """
        if record is None:
            return None, None
        schema = schema_of_record(record, schemas)
        if schema is None:
            schemas |= {one: store.schema(one) for one in fingerprints_of(record) if one not in schemas}
            schema = schema_of_record(record, schemas)
        if schema is None:
            raise DamagedRecordError(view)
        try:
            found = zip(zip(schema.names, schema.types, strict=True), schema.unpack(record), strict=True)
            values = {feature[0]: Value.FromString(value or b"") for feature, value in found if feature in wanted}
        except (RecordError, DecodeError) as error:
            raise DamagedRecordError(view) from error
        return EPOCH + head_of(record).event_us * MICROSECOND, values

    @classmethod
    def push(cls, store: RedisStore, view: str, rows: Sequence[tuple[bytes, bytes]]) -> None:
        """Write rows into the generation that is read. Where a rebuild ended meanwhile, they go after it into the new one."""
        generation = cls.generation(store, view)
        store.write(redis_keys.field(view, generation), rows)
        while (now := cls.generation(store, view)) != generation:
            store.move_keys(redis_keys.field(view, generation), redis_keys.field(view, now), [key for key, _ in rows])
            generation = now

    @staticmethod
    def generation(store: RedisStore, view: str) -> int:
        """The generation of a view that is read now."""
        mark = store.mark(view)
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
        store = self.opened(config)
        try:
            known = store.views()  # before the registry: a view that somebody applies now is in neither, or in both
            registry = publish_plan(config, store)
            warn_of_file_registry(config)
            self.forget(store, tables_to_delete)
            if (
                config.registry.registry_type != "file"
            ):  # which is written after us, and does not tell yet what there is
                forget_lost(store, known, registry)
            for table in tables_to_keep:
                if problem_of(table) is None:
                    know(
                        store,
                        table.name,
                        schema_of(table),
                        is_new=not getattr(table, "materialization_intervals", None),
                    )
            know_all(store, registry)
            warn_of_eviction(store)
        except redis.exceptions.RedisError as error:
            raise StoreAwayError(str(store.address), reason_of(error)) from error

    def teardown(self, config: RepoConfig, tables: Sequence[FeatureView], entities: Sequence[Entity]) -> None:
        """Forget everything of the project: the rows of all views, those that on-demand views wrote too, and what was known."""
        store = self.opened(config)
        for keys in store.entities(redis_keys.project_prefix(store.project)):
            for key in keys:
                store.redis.delete(key)
        store.drop_project()

    def plan(self, config: RepoConfig, desired_registry_proto: RegistryProto) -> list[InfraObject]:
        """Nothing that Feast would have to make: Redis needs no tables."""
        return []

    def delete(self, config: RepoConfig, table: FeatureView, entity_keys: Sequence[EntityKey]) -> int:
        """Delete a view's rows of some entities; returns how many there were."""
        store = self.opened(config)
        field = redis_keys.field(table.name, self.generation(store, table.name))
        return sum(int(store.redis.hdel(key_of(config.project, key), field)) for key in entity_keys)

    async def close(self) -> None:
        """Let go of the connections."""
        if self.store is not None:
            self.store.close()
            self.store = None

    def opened(self, config: RepoConfig) -> RedisStore:
        """The store, opened once."""
        if self.store is None:
            self.store = open_redis_store(config)
        return self.store

    @staticmethod
    def forget(store: RedisStore, tables: Sequence[FeatureView]) -> None:
        """Delete the rows of views, and what was known of them."""
        for table in tables:
            if redis_keys.is_storable(table.name):
                forget_view(store, table.name, prefix_of(store.project, table))


def open_redis_store(config: RepoConfig) -> RedisStore:
    """The online store that Feast's configuration names."""
    return RedisStore.open(config.project, address_of(config.online_store))


def address_of(store: Any) -> Address:
    """Where the online store of a configuration is; one of Feast's own Redis stores too."""
    kind = str(getattr(store, "redis_type", "redis"))
    return parse(store.connection_string, kind=kind, master=getattr(store, "sentinel_master", "mymaster"))  # type: ignore[arg-type]
