"""Loads, rebuilds and rollbacks in unusual order and beside each other, by Feast's own calls, on a real table and Redis."""

from __future__ import annotations

import asyncio
import json
import logging
import os
import shutil
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import Any
from uuid import uuid4

import pandas as pd
import pytest
from delta.tables import DeltaTable
from feast import FeatureStore

from pedigree.jobs import delta_tables
from pedigree.jobs.errors import (
    LoadOvertakenError,
    NothingToRollBackError,
    QualityGateFailedError,
    UnauditedTableError,
    WithheldError,
)
from pedigree.jobs.gate_mark import CommitMark
from pedigree.jobs.materialize import redis_writer
from pedigree.online.errors import NotLoadedError
from pedigree.online.records.record import micros
from pedigree.online.store.redis_store import RedisStore

from .loaded_shop import COLUMNS, CUSTOMER, END, Shop, config_of, purchases, row
from .purchases import DAY, EVENTS, START
from .repositories import working_in


@dataclass
class Clock:
    """The clock of the machine that loads; it goes as it goes until it is set."""

    at: datetime | None = None

    def time_ns(self) -> int:
        return time.time_ns() if self.at is None else micros(self.at) * 1000


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    made = Clock()
    monkeypatch.setattr(redis_writer, "time", made)
    return made


@pytest.fixture
def meanwhile(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Lets something happen in the middle of the next load: after it has written rows (or before it reads them), and before it
    says what is loaded.
    """
    waiting: list[tuple[Callable[[], object], bool]] = []

    def written(*arguments: Any, **named: Any) -> Any:
        if waiting and waiting[-1][1]:
            waiting.pop()[0]()
        done = redis_writer.write(*arguments, **named)
        if waiting and not waiting[-1][1]:
            waiting.pop()[0]()
        return done

    def plan(work: Callable[[], object], *, before: bool = False) -> None:
        waiting.append((work, before))

    monkeypatch.setattr("pedigree.jobs.materialize.load.write", written)
    return plan


@pytest.mark.slow
def test_a_narrower_load_takes_no_key_away(shop: Shop) -> None:
    """A gone row gives way to the one before it in all that is loaded, whatever span is asked for, and again the next time."""
    shop.publish(row(1, 1, 10.0), row(1, 30, 300.0), row(2, 2, 20.0), row(2, 29, 290.0), row(3, 30, 3.0))
    shop.load()
    assert shop.served(1, 2, 3) == [300.0, 290.0, 3.0]
    shop.publish(where=f"customer IN (1, 3) AND event_at >= '{EVENTS[29]}'")
    shop.load(EVENTS[29])
    assert shop.served(1, 2, 3) == [10.0, 290.0, None]
    shop.publish(where=f"customer = 2 AND event_at >= '{EVENTS[20]}'")
    shop.load(EVENTS[29])
    assert shop.served(1, 2, 3) == [10.0, 20.0, None]
    assert shop.mark.since_us == 0


@pytest.mark.slow
def test_a_span_apart_takes_with_it_what_lies_between(shop: Shop) -> None:
    """After loads of two spans that do not touch, what changed in the first is followed, and no hole is called loaded."""
    shop.publish(row(1, 3, 1.0), row(2, 3, 2.0), row(3, 10, 3.0), row(4, 25, 4.0))
    shop.load(START, EVENTS[4])
    assert shop.served(1, 2, 3, 4) == [1.0, 2.0, None, None]
    shop.publish(row(2, 3, 2.5), where=f"event_at = '{EVENTS[2]}'")
    shop.load(EVENTS[19], EVENTS[28])
    assert shop.served(1, 2, 3, 4) == [None, 2.5, 3.0, 4.0]


@pytest.mark.slow
def test_rows_go_though_the_table_does_not_tell_what_changed(shop: Shop) -> None:
    """Where a table has no change feed, or was made anew under the same name, gone rows go and pushed ones stay."""
    shop.publish(row(1, 1, 1.0), row(2, 2, 2.0))
    shop.publish(row(3, 3, 3.0))
    shop.load()
    shop.push(9, 30, 9.0)
    shop.spark.sql(f"ALTER TABLE delta.`{shop.uri}` SET TBLPROPERTIES ('{delta_tables.CHANGE_FEED}' = 'false')")
    mark = CommitMark.of_gate(shop.uri, run_id=str(uuid4()), rows=0).text()
    gone = shop.spark.createDataFrame([], COLUMNS).write.format("delta").mode("overwrite")
    gone.option("replaceWhere", "customer = 1").option("userMetadata", mark).save(shop.uri)
    shop.load(EVENTS[29])
    assert shop.served(1, 2, 3, 9) == [None, 2.0, 3.0, 9.0]
    shutil.rmtree(shop.path)
    for spend in (20.0, 21.0, 22.0, 23.0, 24.0):
        shop.publish(row(2, 2, spend), where="customer = 2")
    shop.load(EVENTS[29])
    assert shop.served(1, 2, 3, 9) == [None, 24.0, None, 9.0]


@pytest.mark.slow
def test_the_one_row_of_a_view_without_entity_goes(shop: Shop) -> None:
    """Where the last row of a view without a key is gone nothing is served, and a rollback serves it again."""
    shop.store.apply([purchases(shop.folder, is_keyed=False)])
    shop.publish(row(1, 1, 1.0), row(1, 2, 2.0))
    shop.load()
    shop.publish(where=f"event_at >= '{EVENTS[1]}'")
    shop.load(EVENTS[1])
    assert shop.served(1) == [1.0]
    shop.publish(where="customer = 1")
    shop.load(EVENTS[1])
    assert shop.served(1) == [None]
    assert shop.rollback() == 1
    assert shop.served(1) == [1.0]


def test_a_rollback_holds(shop: Shop) -> None:
    """Neither a load, nor a commit of form only, nor a rebuild serves it again; an explicit word does, or a newer version."""
    shop.publish(row(1, 1, 1.0), row(2, 1, 2.0))
    shop.load()
    shop.publish(row(1, 2, -1.0), row(3, 2, -3.0))
    shop.change_form()
    shop.load()
    assert shop.served(1, 2, 3) == [-1.0, 2.0, -3.0]
    assert shop.rollback() == 0
    shop.change_form(1)
    for again in (shop.load, shop.rebuild, shop.load, shop.rebuild):
        if again == shop.load:
            with pytest.raises(WithheldError, match="version 0 is served"):
                again()
        else:
            again()
        assert shop.served(1, 2, 3) == [1.0, 2.0, None]
        assert (shop.mark.version, shop.mark.withheld) == (0, 2)
    shop.rebuild(includes_withheld=True)
    assert shop.served(1, 2, 3) == [-1.0, 2.0, -3.0]
    shop.rollback()
    shop.publish(row(1, 3, 5.0))
    shop.load()
    assert shop.served(1, 2, 3) == [5.0, 2.0, -3.0]
    assert shop.mark.withheld is None


@pytest.mark.slow
def test_a_rollback_beside_a_load_holds(shop: Shop, meanwhile: Callable[..., None]) -> None:
    """A load in whose middle the view is rolled back ends with an error, and none of its rows are served, now or later."""
    shop.publish(row(1, 1, 1.0), row(2, 1, 2.0))
    shop.load()
    shop.publish(row(1, 2, -1.0), row(3, 2, -3.0))
    shop.load()
    shop.publish(row(1, 3, 7.0), row(4, 3, 7.0))
    meanwhile(lambda: shop.rollback(to=0))
    with pytest.raises(LoadOvertakenError, match="now loaded, version 0"):
        shop.load()
    assert shop.served(1, 2, 3, 4) == [1.0, 2.0, None, None]
    assert (shop.mark.version, shop.mark.withheld) == (0, 1)
    assert shop.redis_store.open_loads("purchases") == {}
    shop.load()
    assert shop.served(1, 2, 3, 4) == [7.0, 2.0, -3.0, 7.0]


@pytest.mark.slow
def test_a_load_beside_a_rollback_is_rolled_back_too(shop: Shop, meanwhile: Callable[..., None]) -> None:
    """Where a load ends in the middle of a rollback, the rollback is done over and holds for what was loaded meanwhile."""
    shop.publish(row(1, 1, 1.0))
    shop.load()
    shop.publish(row(1, 2, -1.0), row(3, 2, -3.0))
    shop.load()
    shop.publish(row(3, 3, -9.0))
    meanwhile(shop.load)
    assert shop.rollback() == 0
    assert shop.served(1, 3) == [1.0, None]
    assert (shop.mark.version, shop.mark.withheld) == (0, 2)


@pytest.mark.slow
def test_a_rollback_beside_a_rebuild_holds(shop: Shop, meanwhile: Callable[..., None]) -> None:
    """A rebuild in whose middle the view is rolled back ends with an error and leaves nothing behind."""
    shop.publish(row(1, 1, 1.0))
    shop.load()
    shop.publish(row(1, 2, -1.0))
    shop.load()
    meanwhile(shop.rollback)
    with pytest.raises(LoadOvertakenError):
        shop.rebuild()
    assert shop.served(1) == [1.0]
    [key] = next(iter(shop.redis_store.entities(b"shop:customer:")))
    assert len(shop.redis_store.redis.hkeys(key)) == 1


def test_of_two_loads_at_once_one_wins_whole(shop: Shop, meanwhile: Callable[..., None]) -> None:
    """The later version wins where its load ends first; the earlier one ends with an error and brings no gone row back."""
    shop.publish(row(1, 1, 1.0), row(2, 1, 2.0))
    shop.load()
    shop.publish(row(1, 2, 1.5), row(4, 2, 4.0))

    def newer() -> None:
        shop.publish(where="customer = 4")
        shop.load()

    meanwhile(newer)
    with pytest.raises(LoadOvertakenError):
        shop.load()
    assert shop.served(1, 2, 4) == [1.5, 2.0, None]
    assert shop.mark.version == 2


def test_rows_pushed_beside_a_rebuild_are_not_lost(
    shop: Shop, meanwhile: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A row that is pushed in the middle of a rebuild is served after it, and so is one that is on its way while it ends."""
    shop.publish(row(1, 1, 1.0))
    shop.load()
    meanwhile(lambda: shop.push(8, 5, 8.0))
    shop.rebuild()
    assert shop.served(1, 8) == [1.0, 8.0]
    write, waiting = RedisStore.write, [shop.rebuild]

    def slow(*arguments: Any) -> Any:
        if waiting:
            waiting.pop()()
        return write(*arguments)

    monkeypatch.setattr(RedisStore, "write", slow)
    shop.push(9, 5, 9.0)
    assert waiting == []
    assert shop.served(1, 8, 9) == [1.0, 8.0, 9.0]


def test_a_rebuild_cut_off_at_its_very_end_is_finished(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where new rows are read already, but rows that were pushed last are not with them, the next load brings them."""
    shop.publish(row(1, 1, 1.0))
    shop.load()
    move = RedisStore.move

    def cut(redis_store: RedisStore, *arguments: Any, ends: bool) -> int:
        if ends:
            raise KeyboardInterrupt
        moved = move(redis_store, *arguments, ends=ends)
        shop.push(8, 5, 8.0)
        return moved

    with monkeypatch.context() as patch:
        patch.setattr(RedisStore, "move", cut)
        with pytest.raises(KeyboardInterrupt):
            shop.rebuild()
    assert shop.served(1, 8) == [1.0, None]
    shop.load()
    assert shop.served(1, 8) == [1.0, 8.0]
    keys = next(iter(shop.redis_store.entities(b"shop:customer:")))
    assert [len(shop.redis_store.redis.hkeys(key)) for key in keys] == [1, 1]
    assert shop.redis_store.open_loads("purchases") == {}


@pytest.mark.slow
def test_a_view_that_is_removed_beside_its_load_stays_removed(shop: Shop, meanwhile: Callable[..., None]) -> None:
    """`apply` in the middle of a load removes the view for good: the load says so, and none of its rows stay."""
    shop.publish(row(1, 1, 1.0))
    shop.load()
    shop.publish(row(2, 1, 2.0))
    view = shop.view
    meanwhile(lambda: shop.store.apply([], objects_to_delete=[view], partial=False))
    with pytest.raises(LoadOvertakenError, match="no longer knows it"):
        shop.load()
    assert shop.redis_store.views() == set()
    assert list(shop.redis_store.entities(b"shop:customer:")) == []


@pytest.mark.parametrize(
    ("is_first", "before"),
    [
        pytest.param(False, True, id="a later load-before rows are read"),
        pytest.param(False, False, id="a later load-after", marks=pytest.mark.slow),
        pytest.param(True, True, id="a first load-before rows are read", marks=pytest.mark.slow),
        pytest.param(True, False, id="a first load-after", marks=pytest.mark.slow),
    ],
)
def test_what_is_published_while_a_load_reads_comes_with_the_next(
    shop: Shop, meanwhile: Callable[..., None], *, is_first: bool, before: bool
) -> None:
    """A build beside a load: the load serves its own version whole, and says so; the next one brings the new version whole."""
    shop.publish(row(1, 1, 1.0), row(2, 1, 2.0), row(3, 1, 3.0))
    if not is_first:
        shop.load()
        shop.publish(row(2, 2, 2.5), row(4, 1, 4.0), where="customer >= 2")
    meanwhile(
        lambda: shop.publish(row(1, 1, -1.0), row(5, 1, 5.0), row(3, 3, 3.5), where="customer != 2"), before=before
    )
    shop.load()
    old = [1.0, 2.0, 3.0, None, None] if is_first else [1.0, 2.5, None, 4.0, None]
    assert shop.served(1, 2, 3, 4, 5) == old
    assert shop.mark.version == (0 if is_first else 1)
    shop.load()
    assert shop.served(1, 2, 3, 4, 5) == [-1.0, old[1], 3.5, None, 5.0]
    assert shop.mark.version == (1 if is_first else 2)


def test_a_version_that_is_removed_while_a_load_reads_is_not_half_served(
    shop: Shop, meanwhile: Callable[..., None]
) -> None:
    """A build and a VACUUM by force take the files that a rebuild is about to read: it ends with an error, what was served is
    served on under its own version, and the next load brings the new one.
    """
    shop.publish(row(1, 1, 1.0), row(2, 1, 2.0))
    shop.load()
    shop.publish(row(1, 1, -1.0), row(2, 1, -2.0), where="true")

    def remove() -> None:
        shop.publish(row(1, 1, 1.5), row(3, 1, 3.0), where="true")
        for path in (*shop.path.glob("*.parquet"), *shop.path.glob("_change_data/*.parquet")):
            if path.as_posix() not in current_files(shop):
                path.unlink()

    meanwhile(remove, before=True)
    with pytest.raises(Exception, match=r"FILE_NOT_FOUND|FAILED_READ_FILE|NOT_EXIST"):
        shop.rebuild()
    assert (shop.served(1, 2, 3), shop.mark.version) == ([1.0, 2.0, None], 0)
    shop.load()
    assert (shop.served(1, 2, 3), shop.mark.version) == ([1.5, None, 3.0], 2)


def current_files(shop: Shop) -> set[str]:
    """The files of a table's current version."""
    found = shop.spark.read.format("delta").load(shop.uri).inputFiles()
    return {"/" + path.removeprefix("file:").lstrip("/") for path in found}


@pytest.mark.slow
def test_builds_of_a_clock_that_was_set_back_are_served(shop: Shop) -> None:
    """Rows that replace others are served though they say that they were made before them, whatever is run, and each way back."""

    def build(spend: float, created: int) -> None:
        rows = [(customer, EVENTS[4], START + created * DAY, spend) for customer in (1, 2)]
        shop.publish(*rows, where=f"event_at = '{EVENTS[4]}'")

    shop.publish(row(2, 3, 0.5))
    for spend, created in ((1.0, 20), (2.0, 10), (3.0, 15), (4.0, 10)):
        build(spend, created)
        shop.load()
        assert shop.served(1, 2) == [spend, spend]
    assert shop.rollback() == 3
    assert shop.served(1, 2) == [3.0, 3.0]
    build(5.0, 1)
    shop.load()
    assert shop.served(1, 2) == [5.0, 5.0]
    shop.rebuild()
    assert shop.served(1, 2) == [5.0, 5.0]


@pytest.mark.slow
def test_a_load_by_a_clock_that_was_set_back_follows_the_table(
    shop: Shop, clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    """What is loaded is brought to the new version in all of its span; later rows are neither served nor called loaded until
    their time has come. A warning says that a clock is wrong; a rollback and a rebuild take nothing away.
    """
    clock.at = EVENTS[27]
    shop.publish(row(1, 20, 1.0), row(2, 5, 2.0), row(2, 20, 2.5), row(3, 3, 3.0))
    shop.load()
    until_us = shop.mark.until_us
    clock.at = EVENTS[9]
    shop.publish(row(1, 20, 1.5), row(4, 22, 4.0), row(5, 30, 5.0), where=f"event_at >= '{EVENTS[19]}'")
    with caplog.at_level(logging.WARNING):
        shop.load(until=EVENTS[9])
    assert "Look at the clocks" in caplog.text
    assert shop.served(1, 2, 3, 4, 5) == [1.5, 2.0, 3.0, 4.0, None]
    assert (shop.mark.version, shop.mark.until_us) == (1, until_us)
    shop.rebuild()
    assert shop.served(1, 2, 3, 4, 5) == [1.5, 2.0, 3.0, 4.0, None]
    assert shop.mark.until_us == until_us
    shop.rollback()
    assert shop.served(1, 2, 3, 4, 5) == [1.0, 2.5, 3.0, None, None]
    shop.publish(row(3, 25, 3.5))
    shop.load()
    assert shop.served(1, 2, 3, 4, 5) == [1.5, 2.0, 3.5, 4.0, None]
    clock.at = END
    shop.load()
    assert shop.served(1, 2, 3, 4, 5) == [1.5, 2.0, 3.5, 4.0, 5.0]


def test_an_end_in_the_future_calls_nothing_loaded_that_is_to_come(shop: Shop, clock: Clock) -> None:
    """`--end` ahead of the clock: a row whose time has not come is left out, and brought by any load once it has."""
    far = datetime(2090, 1, 1, tzinfo=START.tzinfo)
    clock.at = EVENTS[9]
    shop.publish(row(1, 5, 1.0), row(1, 20, 1.5), row(2, 20, 2.0))
    shop.load(until=far)
    assert shop.served(1, 2) == [1.0, None]
    assert (shop.mark.until_us or 0) < micros(EVENTS[10])
    clock.at = EVENTS[20]
    shop.store.materialize_incremental(EVENTS[20], feature_views=["purchases"])
    assert shop.served(1, 2) == [1.5, 2.0]
    shop.publish(row(1, 25, 1.9), row(3, 21, 3.0))
    shop.load(until=far)
    assert shop.served(1, 2, 3) == [1.5, 2.0, 3.0]


@pytest.mark.slow
def test_a_pushed_row_and_the_table_s_are_told_apart_by_their_own_times(shop: Shop, clock: Clock) -> None:
    """A clock that is set back between push and load decides nothing: the later event is served, then the one learnt later, in
    whichever order they come, and after a rebuild.
    """
    clock.at = EVENTS[20]
    shop.publish(row(1, 5, 1.0), row(2, 5, 2.0), row(3, 5, 3.0))
    shop.load()
    shop.push(1, 10, 1.1)
    shop.push(2, 10, 2.1)
    shop.push(3, 10, 3.1)
    clock.at = EVENTS[2]
    at = EVENTS[9]
    shop.publish((1, at + DAY, at, 1.2), (2, at, at + 2 * DAY, 2.2), (3, at, at, 3.2))
    for again in (shop.load, shop.rebuild, shop.load):
        again()
        assert shop.served(1, 2, 3) == [1.2, 2.2, 3.1]


def test_a_table_made_anew_by_a_clock_that_was_set_back_is_another_table(shop: Shop) -> None:
    """A table of the same name whose commits seem older than the last load is not taken for the one that was loaded."""
    shop.publish(row(1, 1, 1.0), row(2, 2, 2.0))
    shop.load()
    shutil.rmtree(shop.path)
    shop.publish(row(3, 3, 3.0))
    shop.publish(row(2, 2, 20.0))
    for commit in (shop.path / "_delta_log").glob("*.json"):
        os.utime(commit, (START.timestamp(), START.timestamp()))
    shop.spark.catalog.clearCache()
    shop.load()
    assert shop.served(1, 2, 3) == [None, 20.0, 3.0]


def changed(mark: str, **members: Any) -> str:
    """A mark with other members."""
    return json.dumps({"pedigree": json.loads(mark)["pedigree"] | members})


FOREIGN: Mapping[str, Callable[[str], str]] = {
    "a comment": lambda _mark: "fixed by hand, all good",
    "dbt's own": lambda _mark: json.dumps({"dbt_invocation_id": str(uuid4()), "gate": "passed"}),
    "a run's id alone": lambda _mark: str(uuid4()),
    "a copy": lambda mark: mark,
    "a copy with a run of its own, of other rows": lambda mark: changed(mark, run=str(uuid4()), rows=2),
    "another table's": lambda mark: changed(mark, run=str(uuid4()), table="refunds"),
    "no run's": lambda mark: changed(mark, run="me"),
    "ours without a gate": lambda _mark: CommitMark(str(uuid4()), "purchases").text(),
    "no object": lambda _mark: '["pedigree"]',
}


def test_only_the_gate_s_own_mark_is_taken(shop: Shop, caplog: pytest.LogCaptureFixture) -> None:
    """Whatever else stands in a commit's metadata, a copy of a mark too, its rows are not loaded, and a warning names them."""
    shop.publish(row(1, 1, 1.0))
    shop.load()
    [mark] = [commit.metadata for commit in delta_tables.commits(shop.spark, shop.uri)]
    assert mark is not None
    for number, made in enumerate(FOREIGN.values()):
        shop.write(row(100 + number, 1, -1.0), metadata=made(mark))
    deleted = changed(mark, run=str(uuid4()), rows=0)
    shop.spark.conf.set("spark.databricks.delta.commitInfo.userMetadata", deleted)
    DeltaTable.forPath(shop.spark, shop.uri).delete("customer = 1")
    shop.spark.conf.unset("spark.databricks.delta.commitInfo.userMetadata")
    with caplog.at_level(logging.WARNING):
        shop.load()
    assert "(1, 2, 3, 4, 5, 6, 7, 8, 9, 10)" in caplog.text
    assert shop.served(1, *range(100, 109)) == [1.0, *[None] * 9]
    assert shop.mark.version == 0
    with pytest.raises(NothingToRollBackError, match="there is no audited version before 0"):
        shop.rollback()


TABLES = """
from feast import Entity, FeatureView, Field, ValueType
from feast.infra.offline_stores.contrib.spark_offline_store.spark_source import SparkSource
from feast.types import Float64, Int64

from pedigree.features.contract import between, contract

view = FeatureView(
    name="purchases",
    entities=[Entity(name="customer", join_keys=["customer"], value_type=ValueType.INT64)],
    schema=[Field(name="customer", dtype=Int64), Field(name="spend", dtype=Float64)],
    source=SparkSource(name="purchases", path="purchases", file_format="parquet", timestamp_field="event_at"),
)
purchases = contract(view, [between("spend_is_possible", "spend", 0, 5000)])
"""


def test_rows_that_went_through_the_gate_are_loaded(shop: Shop, tmp_path: Path) -> None:
    """What `write_to_offline_store` lets through is served, and what it sets apart is not.

    Without a contract of its own the view has the default one: rows without a key or an event time stay out.
    """
    shop.publish(row(1, 1, 1.0))
    columns = [name.split()[0] for name in COLUMNS.split(", ")]
    rows = [row(number, 2, 2.0) for number in range(1, 100)] + [row(100, 2, -1.0)]
    with working_in(tmp_path / "gated", TABLES):
        shop.store.write_to_offline_store("purchases", pd.DataFrame(rows, columns=columns))
    shop.load()
    assert shop.served(1, 99, 100) == [2.0, 2.0, None]
    rows = [row(number, 3, 3.0) for number in range(1, 100)]
    keyless = pd.DataFrame([*rows, (None, *rows[0][1:])], columns=columns).astype({"customer": "Int64"})
    with working_in(tmp_path / "default") as lake:
        shop.store.write_to_offline_store("purchases", keyless)
        kept = shop.spark.read.format("delta").load(lake.quarantine("purchases"))
        assert [found.broken_rules for found in kept.select("broken_rules").collect()][-1:] == [["customer_is_present"]]
        timeless = keyless.dropna().assign(event_at=pd.Series([None] * 9 + [rows[0][1]] * 90))
        with pytest.raises(QualityGateFailedError, match="event_at_is_present"):
            shop.store.write_to_offline_store("purchases", timeless)
    shop.load()
    assert shop.served(1, 99, 100) == [3.0, 3.0, None]


@pytest.mark.slow
def test_a_table_of_the_release_before_is_built_on(shop: Shop) -> None:
    """Bare run ids are not taken, and the error says what to do; one new slice later all loads; such versions can be named."""
    shop.write(row(1, 1, 1.0), metadata=str(uuid4()))
    shop.write(row(2, 1, 2.0), metadata=str(uuid4()))
    with pytest.raises(UnauditedTableError, match=r"pedigree build purchases .*") as refused:
        shop.load()
    assert refused.value.former == (1, 0)
    assert "the newest is version 1" in str(refused.value)
    shop.publish(row(3, 1, 3.0))
    shop.load()
    assert shop.served(1, 2, 3) == [1.0, 2.0, 3.0]
    shop.write(row(4, 1, 4.0))
    with pytest.raises(NothingToRollBackError, match="no audited version before 2"):
        shop.rollback()
    assert shop.rollback(to=0) == 0
    assert shop.served(1, 2, 3) == [1.0, None, None]


@pytest.mark.slow
def test_a_version_that_nobody_audited_cannot_be_gone_back_to(shop: Shop, caplog: pytest.LogCaptureFixture) -> None:
    """Neither by itself nor by name; and where an audited version stands on such rows, a warning names them."""
    shop.publish(row(1, 1, 1.0))
    shop.write(row(2, 1, -2.0))
    shop.publish(row(3, 1, 3.0))
    with caplog.at_level(logging.WARNING):
        shop.load()
    assert "versions (1,)" in caplog.text
    with pytest.raises(NothingToRollBackError, match="version 1 was written by no audited run"):
        shop.rollback(to=1)
    assert shop.rollback() == 0
    assert shop.served(1, 2, 3) == [1.0, None, None]


@pytest.mark.slow
def test_commits_of_form_only_are_no_end_of_a_history(shop: Shop) -> None:
    """However many commits of form only follow the last build, it is found, loaded, and rolled back beyond."""
    shop.publish(row(1, 1, 1.0))
    shop.publish(row(1, 2, 2.0))
    shop.change_form()
    log = shop.path / "_delta_log"
    for number in range(3, 120):
        shutil.copy(log / f"{2:020}.json", log / f"{number:020}.json")
    shop.load()
    assert (shop.served(1), shop.mark.version) == ([2.0], 119)
    assert shop.rollback() == 0
    assert shop.served(1) == [1.0]
    with pytest.raises(WithheldError):
        shop.load()


def test_two_repositories_share_a_redis_and_a_registry_and_nothing_else(shop: Shop) -> None:
    """A view of one name in two projects: each serves its own rows, and tearing one down leaves the other's as they were.

    What is torn down is the store: Feast's own registry is emptied for all projects by `feast teardown`.
    """
    other = replace(
        shop, folder=shop.folder / "bank", store=FeatureStore(config=config_of("bank", shop.folder, shop.redis_store))
    )
    other.folder.mkdir()
    other.store.apply([CUSTOMER, purchases(other.folder)])
    shop.publish(row(1, 2, 10.0), row(2, 2, 20.0))
    other.publish(row(1, 2, 99.0))
    shop.load()
    with pytest.raises(NotLoadedError, match="purchases is not loaded"):
        other.served(1)
    other.load()
    other.push(2, 3, 98.0)
    assert (shop.served(1, 2), other.served(1, 2)) == ([10.0, 20.0], [99.0, 98.0])
    other.store._get_provider().teardown_infra("bank", [other.view], [CUSTOMER])
    assert set(other.redis_store.redis.scan_iter("*bank*")) <= {
        b"bank:loads",
        b"bank:schemas",
        b"bank:plan",
        b"bank:last-load",
    }
    assert shop.served(1, 2) == [10.0, 20.0]
    shop.publish(row(1, 4, 11.0))
    shop.load()
    assert shop.served(1, 2) == [11.0, 20.0]
    assert [view.name for view in shop.store.list_feature_views()] == ["purchases"]
    asyncio.run(other.store.close())
