"""A rebuild of a view whose mark is damaged: the table's rows and the pushed ones are served again, and no others."""

from __future__ import annotations

import pytest
from feast.protos.feast.types.Value_pb2 import Value
from pyspark.sql import SparkSession

from pedigree.jobs.materialize.load import refresh
from pedigree.online.errors import DamagedError
from pedigree.online.records.record import Head, micros
from pedigree.online.store import redis_keys
from pedigree.online.store.load_state import LoadStatus
from pedigree.online.store.load_state_repair import mend
from pedigree.online.store.redis_store import RedisStore

from .purchases import DAY, EVENTS, SCHEMA, rows_at
from .test_materialize import FIELD, PREFIX, Table, loaded, stored
from .test_materialize import table as table


def test_a_rebuild_mends_a_damaged_mark(table: Table, redis_store: RedisStore, spark: SparkSession) -> None:
    """A load is refused by name; mended and loaded anew, the store holds what the table has now and what was pushed, although the
    table lost rows meanwhile.
    """
    table.append(rows_at(60, customers=12, seed=1))
    loaded(table.loading(), redis_store, spark)
    [[key, *_], *_] = redis_store.entities(PREFIX)
    pushed = SCHEMA.pack(Head(micros(EVENTS[-1] + DAY), None, 0, SCHEMA.fingerprint), [None] * len(SCHEMA.names))
    redis_store.write(FIELD, [(key, pushed)])
    table.delete("customer < 5")
    redis_store.redis.hset(redis_keys.marks_key(redis_store.project), "purchases", b'{"state":')
    with pytest.raises(DamagedError, match="pedigree rebuild purchases"):
        loaded(table.loading(), redis_store, spark)
    mend(redis_store, "purchases", PREFIX)
    refresh(table.loading(), redis_store, spark, run_id="anew", progress=lambda _rows: None)
    mark = redis_store.mark("purchases")
    assert mark is not None and mark.state is LoadStatus.LOADED
    field = redis_keys.field("purchases", mark.generation)
    customer = Value.FromString(key.removeprefix(PREFIX)).int64_val
    assert stored(redis_store, field) == table.newest(table.loading()) | {customer: (micros(EVENTS[-1] + DAY), 0.0)}
    assert stored(redis_store, FIELD) == {}
