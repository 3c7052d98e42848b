"""A Delta table on its way into a real Redis: what is loaded, what is left alone, and the way back."""

from __future__ import annotations

import math
import random
import threading
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any
from uuid import uuid4

import pandas as pd
import pytest
from delta.tables import DeltaTable
from feast.protos.feast.types.Value_pb2 import Value
from pyspark.sql import SparkSession

from pedigree.jobs import delta_tables
from pedigree.jobs.audited_versions import audited_version
from pedigree.jobs.errors import NothingToRollBackError
from pedigree.jobs.gate_mark import CommitMark
from pedigree.jobs.materialize import redis_writer
from pedigree.jobs.materialize.load import Loaded, load, refresh, roll_back
from pedigree.jobs.materialize.redis_writer import Loading
from pedigree.online.records.record import Head, Schema, head_of, micros
from pedigree.online.store import pipelined_writer, redis_keys
from pedigree.online.store.load_state import LoadStatus
from pedigree.online.store.redis_store import RedisStore

from .purchases import DAY, EVENTS, LOADING, SCHEMA, START_US, rows_at

FIELD = redis_keys.field(LOADING.view, 0)
PREFIX = redis_keys.entity_prefix("shop", ["customer"])


@pytest.fixture
def table(spark: SparkSession, tmp_path: Path) -> Table:
    return Table(spark, (tmp_path / "purchases").as_uri())


class Table:
    """A Delta table that tests write to, each commit by a run that passed its gate where nothing else is said."""

    def __init__(self, spark: SparkSession, uri: str) -> None:
        self.spark, self.uri = spark, uri

    def append(self, rows: pd.DataFrame, *, audited: bool = True) -> None:
        write = (
            self.spark.createDataFrame(rows)
            .write.format("delta")
            .mode("append")
            .option(delta_tables.CHANGE_FEED, "true")
        )
        mark = CommitMark.of_gate(self.uri, run_id=str(uuid4()), rows=len(rows)).text()
        (write.option("userMetadata", mark) if audited else write).save(self.uri)

    def replace(self, rows: pd.DataFrame, predicate: str) -> None:
        frame = self.spark.createDataFrame(rows, DeltaTable.forPath(self.spark, self.uri).toDF().schema)
        delta_tables.replace(frame, self.uri, predicate=predicate, run_id=str(uuid4()), passed_rows=len(rows))

    def delete(self, predicate: str) -> None:
        self.replace(rows_at(0, customers=0, seed=0), predicate)

    def optimize(self) -> None:
        DeltaTable.forPath(self.spark, self.uri).optimize().executeCompaction()

    def loading(self, **more: Any) -> Loading:
        """The newest audited version on its way into the store."""
        audited = audited_version(self.spark, self.uri, "purchases")
        return replace(LOADING, uri=self.uri, version=audited.version, published=audited.published, **more)

    def newest(self, loading: Loading) -> dict[int, tuple[int, float]]:
        """What must be in the store: each customer's newest row, by a loop over all rows that have one."""
        rows = (
            self.spark.read.format("delta")
            .option("versionAsOf", loading.version)
            .load(loading.uri)
            .dropna(subset=["customer"])
            .toPandas()
        )
        best: dict[int, tuple[tuple[int, int], float]] = {}
        for row in rows.itertuples():
            at = micros(row.event_at)
            order = (at, micros(row.created_at) if pd.notna(row.created_at) else -1)
            if loading.since_us <= at <= loading.until_us and (
                row.customer not in best or order > best[row.customer][0]
            ):
                best[row.customer] = (order, row.spend)
        return {customer: (order[0], spend) for customer, (order, spend) in best.items()}


def stored(redis_store: RedisStore, field: bytes | None = None) -> dict[int, tuple[int, float]]:
    """What is in a field, or in the one that is read, by customer: event time and spend."""
    mark, found = redis_store.mark("purchases"), {}
    field = field or redis_keys.field("purchases", mark.generation if mark else 0)
    for keys in redis_store.entities(PREFIX):
        for key, record in zip(keys, redis_store.read(keys, field), strict=True):
            if record is not None:
                spend, _, _ = SCHEMA.unpack(record)
                customer = Value.FromString(key.removeprefix(PREFIX)).int64_val
                found[customer] = (head_of(record).event_us, Value.FromString(spend or b"").double_val)
    return found


def loaded(loading: Loading, redis_store: RedisStore, spark: SparkSession) -> Loaded:
    return load(loading, redis_store, spark, run_id="a-run", progress=lambda _rows: None)


def test_a_first_load_brings_the_newest_row_of_each_key(
    table: Table, redis_store: RedisStore, spark: SparkSession
) -> None:
    """The store holds what a loop over the table finds, each record tells its run and version, and the view is loaded."""
    table.append(rows_at(500, customers=60, seed=1))
    done = loaded(table.loading(), redis_store, spark)
    assert stored(redis_store) == table.newest(table.loading())
    assert (done.how, done.rows, done.written) == ("full", 60, 60)
    mark = redis_store.mark("purchases")
    assert mark is not None
    assert (mark.state, mark.version, mark.rows) == (LoadStatus.LOADED, 0, 60)
    [record] = redis_store.read([next(iter(redis_store.entities(PREFIX)))[0]], FIELD)
    assert record is not None
    assert redis_store.loads([head_of(record).load])[done.load].run_id == "a-run"


@pytest.mark.parametrize("crowded", [0.0, math.inf], ids=["newest", "all"])
def test_sending_the_newest_and_sending_all_leave_the_same(
    table: Table, redis_store: RedisStore, spark: SparkSession, monkeypatch: pytest.MonkeyPatch, crowded: float
) -> None:
    """With many rows of a key, corrections, null keys and repeated rows, both leave what a loop finds, and count alike."""
    monkeypatch.setattr(redis_writer, "CROWDED", crowded)
    monkeypatch.setattr(pipelined_writer, "BATCH", 7)
    rows = rows_at(400, customers=40, seed=1)
    keyless = rows.head(30).assign(event_at=EVENTS[-1] + DAY, customer=math.nan)
    table.append(pd.concat([rows, keyless]).astype({"customer": "Int64"}))
    done = loaded(table.loading(), redis_store, spark)
    newest = max(event for event, _ in stored(redis_store).values())
    assert stored(redis_store) == table.newest(table.loading())
    assert (done.how, done.rows, done.written, done.newest_us) == ("full", 40, 40, newest)
    fresh = rows_at(80, customers=20, seed=2)
    table.append(pd.concat([fresh, fresh.head(50)]).astype({"customer": "Int64"}))
    sent: list[int] = []
    done = load(table.loading(), redis_store, spark, run_id="a-run", progress=sent.append)
    assert (done.how, sum(sent)) == ("changes", fresh.customer.nunique()), "one row of a key, since the field is read"
    assert stored(redis_store) == table.newest(table.loading())


def test_what_is_crowded_is_told_by_keys_that_are_known(table: Table, spark: SparkSession) -> None:
    """Three rows for two keys are not many, four for one are; rows without a key say nothing of either."""
    keyless = rows_at(6000, customers=1, seed=2).assign(customer=math.nan)
    for count, expected in ((6000, False), (16_000, True)):
        rows = pd.concat([rows_at(count, customers=4000, seed=1), keyless]).astype({"customer": "Int64"})
        assert LOADING.crowded(spark.createDataFrame(rows)) is expected


def test_late_rows_are_found_and_nothing_else_is_written(
    table: Table, redis_store: RedisStore, spark: SparkSession
) -> None:
    """A later load takes rows of any event time that came since, by Delta's change feed; unchanged keys are not written again."""
    table.append(rows_at(500, customers=60, seed=1))
    loaded(table.loading(), redis_store, spark)
    late = rows_at(3, customers=60, seed=2).assign(customer=[1000, 1001, 1002], event_at=EVENTS[0])
    table.append(late)
    done = loaded(table.loading(), redis_store, spark)
    assert (done.how, done.written) == ("changes", 3)
    assert stored(redis_store) == table.newest(table.loading())
    assert loaded(table.loading(), redis_store, spark).how == "nothing"


def test_a_table_put_in_order_is_no_news(table: Table, redis_store: RedisStore, spark: SparkSession) -> None:
    """OPTIMIZE moves rows and changes none: nothing is written, and the version that it made is known to be served."""
    for seed in range(3):
        table.append(rows_at(20, customers=20, seed=seed))
    loaded(table.loading(), redis_store, spark)
    table.optimize()
    done = loaded(table.loading(), redis_store, spark)
    assert (table.loading().version, done.how, done.written) == (3, "changes", 0)


def test_a_deleted_row_gives_way_to_the_one_before_it(
    table: Table, redis_store: RedisStore, spark: SparkSession
) -> None:
    """Where the newest row of a key is deleted the one before it is served again, or none."""
    table.append(rows_at(300, customers=20, seed=3))
    loaded(table.loading(), redis_store, spark)
    table.delete(f"event_at >= '{EVENTS[20]}' OR customer = 7")
    loaded(table.loading(), redis_store, spark)
    assert stored(redis_store) == table.newest(table.loading())
    assert 7 not in stored(redis_store)


@pytest.mark.parametrize("commits", [3, pytest.param(9, marks=pytest.mark.slow)])
def test_whatever_happens_to_the_table_the_store_follows(
    table: Table, redis_store: RedisStore, spark: SparkSession, commits: int
) -> None:
    """After each of some commits of every kind, in a random order, a load leaves what a loop over the table finds."""
    rng = random.Random(5)
    table.append(rows_at(200, customers=40, seed=100))
    loaded(table.loading(), redis_store, spark)
    for number in range(commits):
        first = EVENTS[rng.randrange(len(EVENTS) - 3)]
        slice_of = f"event_at >= '{first}' AND event_at < '{first + 3 * DAY}'"
        fresh = rows_at(60, customers=40, seed=number)
        within = fresh[(fresh.event_at >= first) & (fresh.event_at < first + 3 * DAY)]
        changes: list[Callable[[], None]] = [
            partial(table.append, fresh),
            partial(table.replace, within, slice_of),
            partial(table.delete, f"{slice_of} AND customer < 20"),
            table.optimize,
        ]
        rng.choice(changes)()
        loaded(table.loading(), redis_store, spark)
        assert stored(redis_store) == table.newest(table.loading()), number


def test_the_newest_made_of_rows_of_one_instant_is_served(
    table: Table, redis_store: RedisStore, spark: SparkSession
) -> None:
    """Rows of one key and event time come many in a commit, made in any order, some without a time; deletes and rewrites too."""
    rng = random.Random(7)
    table.append(rows_at(10, customers=5, seed=100).assign(event_at=EVENTS[0]))
    loaded(table.loading(), redis_store, spark)
    for number in range(3):
        fresh = rows_at(40, customers=5, seed=number).assign(event_at=[EVENTS[row % 2] for row in range(40)])
        fresh["created_at"] = rng.sample([*rows_at(2000, customers=5, seed=50 - number).created_at], 40)
        fresh.loc[number, "created_at"] = pd.NaT
        changes: list[Callable[[], None]] = [
            partial(table.append, fresh),
            partial(table.replace, fresh[fresh.event_at == EVENTS[1]], f"event_at = '{EVENTS[1]}'"),
            partial(table.delete, "spend > 50"),
        ]
        changes[number % 3]()
        loaded(table.loading(), redis_store, spark)
        assert stored(redis_store) == table.newest(table.loading()), number


def test_rows_that_no_audited_run_wrote_are_not_loaded(
    table: Table, redis_store: RedisStore, spark: SparkSession
) -> None:
    """A commit from elsewhere is not served: the last audited version before it is."""
    table.append(rows_at(50, customers=10, seed=1))
    table.append(rows_at(50, customers=10, seed=2), audited=False)
    audited = audited_version(spark, table.uri, "purchases")
    assert (audited.version, audited.unaudited) == (0, (1,))
    loaded(table.loading(), redis_store, spark)
    assert stored(redis_store) == table.newest(replace(table.loading(), version=0))


def test_rows_of_the_future_stay_out(table: Table, redis_store: RedisStore, spark: SparkSession) -> None:
    """A row ahead of the clock by more than is allowed is not stored, so that it blocks no key."""
    rows = rows_at(20, customers=5, seed=1)
    table.append(pd.concat([rows, rows.head(5).assign(event_at=datetime(2099, 1, 1, tzinfo=UTC))]))
    far = micros(datetime(2100, 1, 1, tzinfo=UTC))
    loaded(table.loading(until_us=far), redis_store, spark)
    assert max(event for event, _ in stored(redis_store).values()) <= micros(EVENTS[-1])


def test_a_rollback_rewrites_only_what_changed(table: Table, redis_store: RedisStore, spark: SparkSession) -> None:
    """Rolling back leaves what the earlier version has, writes only the keys that differ, and later versions stay out."""
    table.append(rows_at(200, customers=50, seed=1))
    before = table.loading()
    loaded(before, redis_store, spark)
    bad = rows_at(8, customers=4, seed=2).assign(event_at=EVENTS[-1], spend=-1.0)
    table.append(pd.concat([bad, bad.head(1).assign(customer=999)]))
    loaded(table.loading(), redis_store, spark)
    assert stored(redis_store) != table.newest(before)
    done = roll_back(before, redis_store, spark, run_id="back", progress=lambda _rows: None)
    assert stored(redis_store) == table.newest(before)
    assert done.written <= 5
    mark = redis_store.mark("purchases")
    assert mark is not None
    assert (mark.version, mark.withheld) == (0, 1)
    table.delete("spend < 0")
    loaded(table.loading(), redis_store, spark)
    assert stored(redis_store) == table.newest(table.loading())


def test_a_rollback_of_nothing_is_an_error(table: Table, redis_store: RedisStore, spark: SparkSession) -> None:
    """A view that was never loaded cannot be rolled back."""
    table.append(rows_at(20, customers=5, seed=1))
    with pytest.raises(NothingToRollBackError):
        roll_back(table.loading(), redis_store, spark, run_id="back", progress=lambda _rows: None)


def test_a_refresh_is_read_at_every_moment(table: Table, redis_store: RedisStore, spark: SparkSession) -> None:
    """While everything is loaded anew no read finds a key missing; pushed rows come along, rows of no table do not."""
    table.append(rows_at(300, customers=50, seed=1))
    loaded(table.loading(), redis_store, spark)
    stale = redis_keys.entity_key(PREFIX, [b"\x20\x7f"])
    pushed = redis_keys.entity_key(PREFIX, [b"\x20\x01"])
    values = [Value(double_val=5.0).SerializeToString(), None, None]
    redis_store.write(FIELD, [(stale, SCHEMA.pack(Head(START_US, None, 99, SCHEMA.fingerprint), values))])
    redis_store.write(
        FIELD, [(pushed, SCHEMA.pack(Head(micros(EVENTS[-1] + DAY), None, 0, SCHEMA.fingerprint), values))]
    )
    missing, ended = [], threading.Event()

    def read() -> None:
        own = RedisStore.open("shop", redis_store.address)
        while not ended.is_set():
            before = own.mark("purchases")
            assert before is not None
            [found] = own.read([pushed], redis_keys.field("purchases", before.generation))
            after = own.mark("purchases")
            if found is None and after is not None and after.generation == before.generation:
                missing.append(before)
        own.close()

    reader = threading.Thread(target=read)
    reader.start()
    refresh(table.loading(), redis_store, spark, run_id="anew", progress=lambda _rows: None)
    ended.set()
    reader.join()
    assert missing == []
    expected = table.newest(table.loading()) | {1: (micros(EVENTS[-1] + DAY), 5.0)}
    assert stored(redis_store) == expected
    assert stored(redis_store, FIELD) == {}


def evict_some(redis_store: RedisStore) -> None:
    """Let Redis evict keys, by less and less memory: what it counts is not all that it says it uses."""
    client = redis_store.redis
    client.config_set("maxmemory-policy", "allkeys-lru")
    before, used = client.info()["evicted_keys"], client.info()["used_memory"]
    while client.info()["evicted_keys"] == before:
        used -= 2000
        client.config_set("maxmemory", used)
    client.config_set("maxmemory", 0)
    client.config_set("maxmemory-policy", "noeviction")


def test_what_redis_evicted_is_sent_again_with_the_next_load(
    table: Table, redis_store: RedisStore, spark: SparkSession
) -> None:
    """After evictions a load over a narrow span sends all that was loaded; rows that are gone from the table go here too."""
    table.append(rows_at(200, customers=40, seed=1))
    first = table.loading()
    redis_store.set_baseline(FIELD, redis_store.memories())
    loaded(first, redis_store, spark)
    mark = redis_store.mark("purchases")
    assert mark is not None and not redis_store.may_lack_rows("purchases", mark)
    evict_some(redis_store)
    redis_store.set_mark("purchases", mark)  # it may have been evicted as well
    assert redis_store.may_lack_rows("purchases", mark)
    gone = next(iter(stored(redis_store)))
    table.delete(f"customer = {gone}")
    table.append(rows_at(30, customers=10, seed=2))
    narrow = table.loading(since_us=first.until_us - 1)
    assert loaded(narrow, redis_store, spark).how == "full"
    assert stored(redis_store) == table.newest(replace(table.loading(), until_us=narrow.until_us))
    assert loaded(narrow, redis_store, spark).how == "nothing"


def test_an_older_layout_is_read_by_its_own_schema(table: Table, redis_store: RedisStore, spark: SparkSession) -> None:
    """Records of a view that has grown a feature since say by which layout they are to be read."""
    table.append(rows_at(20, customers=5, seed=1))
    loaded(table.loading(), redis_store, spark)
    [record] = redis_store.read([next(iter(redis_store.entities(PREFIX)))[0]], FIELD)
    assert record is not None
    assert redis_store.schema(head_of(record).fingerprint) == SCHEMA
    assert Schema.of([("spend", "DOUBLE")]).fingerprint != SCHEMA.fingerprint
