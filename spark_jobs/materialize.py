"""Rows of one audited table version into the online store: the newest of each key, encoded by column on the executors.

A first load reads every row of its time; every later one only what changed between two versions of the table (Delta's change
data feed) and what its time adds. It may be broken off and run again at any point: the newest wins inside Redis, and what is
loaded is said last.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, replace
from typing import Literal

from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from online import names, scripts
from online.bank import Bank
from online.marks import Load, Mark, State
from spark_jobs import lake
from spark_jobs.cache import cached
from spark_jobs.errors import NothingToRollBackError
from spark_jobs.sending import Loading, Progress, Sent, now_us, telling, write

How = Literal["full", "changes", "nothing", "rollback"]

CHANGE = "_change_type"
COMES = ("insert", "update_postimage")
"""Changes after which a row is there."""


@dataclass(frozen=True, slots=True)
class Loaded:
    """What a load did: how it read the table, the keys that it had rows of, and how many of them the store took a row of."""

    load: int
    how: How
    rows: int
    written: int
    newest_us: int | None


def load(
    loading: Loading, bank: Bank, spark: SparkSession, *, run_id: str, told: Progress, anew: bool = False
) -> Loaded:
    """Bring the store to the table's version for a span of time. Until the first load of a view ends, nobody reads it.

    Args:
        told: is told how many rows are done, from time to time.
        anew: send every row of the span, also those that the store had, since it may have lost them.
    """
    before = bank.mark(loading.view) or Mark(State.DECLARED)
    bank.register(loading.schema)
    number = bank.begin(Load(loading.view, run_id, loading.uri, loading.version))
    if not before.readable:
        bank.set_mark(loading.view, replace(before, state=State.LOADING))
    field = names.field(loading.view, before.generation)
    follow = follows(loading, before, spark)
    grown = follow and loading.version != before.version
    with telling(bank, number, told), net_changes(loading, before, spark) if grown else nullcontext() as net:
        rows = changed(loading, before, spark, net) if follow and not anew else whole(loading, spark)
        sent = Sent() if rows is None else send_newest(rows, loading, bank, field=field, number=number)
        gone = None if net is None else removed(loading, net)
        if gone is not None:
            sent += replace(restore(gone, loading, bank, spark, field=field, number=number), newest_us=None)
    how: How = "nothing" if rows is None else "changes" if follow and not anew else "full"
    bank.set_mark(loading.view, after(loading, before, sent, number=number, how=how))
    return Loaded(number, how, sent.keys, sent.written, sent.newest_us or before.newest_us)


def refresh(loading: Loading, bank: Bank, spark: SparkSession, *, run_id: str, told: Progress) -> Loaded:
    """Load everything anew beside what is read, then have it read instead: no read is refused, or half answered, at any moment.

    Rows that were pushed meanwhile, or that no table has, come along.
    """
    before = bank.mark(loading.view)
    if before is None or not before.readable:
        return load(loading, bank, spark, run_id=run_id, told=told)
    bank.register(loading.schema)
    number = bank.begin(Load(loading.view, run_id, loading.uri, loading.version))
    prefix = names.entity_prefix(bank.project, loading.keys)
    old, new = (names.field(loading.view, before.generation + step) for step in (0, 1))
    bank.forget(new, prefix)  # what a refresh left that broke off
    with telling(bank, number, told):
        sent = send_newest(whole(loading, spark), loading, bank, field=new, number=number)
    bank.move(old, new, prefix, ends=False)
    first = Mark(State.DECLARED, generation=before.generation + 1)
    bank.set_mark(loading.view, after(loading, first, sent, number=number, how="full"))
    bank.move(old, new, prefix, ends=True)
    return Loaded(number, "full", sent.keys, sent.written, sent.newest_us)


def roll_back(loading: Loading, bank: Bank, spark: SparkSession, *, run_id: str, told: Progress) -> Loaded:
    """Bring the store back to an earlier version of the table, by the keys alone that changed since.

    Until a version is published that is newer than the one that was rolled back, nothing is loaded.
    """
    before = bank.mark(loading.view)
    if before is None or before.state is not State.LOADED or before.version is None:
        raise NothingToRollBackError(loading.view, "nothing was loaded of it")
    bank.register(loading.schema)
    number = bank.begin(Load(loading.view, run_id, loading.uri, loading.version))
    field = names.field(loading.view, before.generation)
    if lake.tells_changes(spark, loading.uri, since=loading.version + 1):
        changes = lake.changes(spark, loading.uri, since=loading.version + 1, until=before.version)
    else:
        tables = (lake.at_version(spark, loading.uri, version) for version in (loading.version, before.version))
        changes = next(tables).unionByName(next(tables), allowMissingColumns=True)
    keys = loading.named(changes).select(*loading.keys).distinct()
    with telling(bank, number, told):
        sent = restore(keys, loading, bank, spark, field=field, number=number)
    withheld = max(before.version, before.withheld or 0)
    bank.set_mark(
        loading.view, replace(before, load=number, version=loading.version, withheld=withheld, loaded_us=now_us())
    )
    return Loaded(number, "rollback", sent.keys, sent.written, before.newest_us)


def send_newest(rows: DataFrame, loading: Loading, bank: Bank, *, field: bytes, number: int) -> Sent:
    """Send the newest row of each key; where few keys have more than one, all of them, since Redis finds the newest too."""
    crowded = not loading.join_keys or loading.crowded(rows)
    chosen = loading.newest(rows) if crowded else loading.known(rows)
    script = scripts.WRITE if loading.join_keys else scripts.RESTORE
    return write(chosen, loading, bank, field=field, number=number, script=script)


def after(loading: Loading, before: Mark, sent: Sent, *, number: int, how: How) -> Mark:
    """What is loaded once a load has ended."""
    grown = before.state is State.LOADED and before.version is not None
    return Mark(
        state=State.LOADED,
        generation=before.generation,
        load=number,
        version=loading.version,
        since_us=min(loading.since_us, before.since_us or loading.since_us) if grown else loading.since_us,
        until_us=max(loading.until_us, before.until_us or loading.until_us) if grown else loading.until_us,
        newest_us=(Sent(newest_us=before.newest_us) + sent).newest_us,
        loaded_us=now_us(),
        rows=sent.keys if how == "full" else before.rows,
    )


def whole(loading: Loading, spark: SparkSession) -> DataFrame:
    """All rows of the time."""
    every = loading.named(lake.at_version(spark, loading.uri, loading.version))
    return every.where(loading.within(loading.since_us, loading.until_us))


def changed(loading: Loading, before: Mark, spark: SparkSession, net: DataFrame | None) -> DataFrame | None:
    """The rows that may be news to the store; None where there are none.

    Args:
        net: what changed in the table, where it is not the version that is loaded.
    """
    every = loading.named(lake.at_version(spark, loading.uri, loading.version))
    since, until = before.since_us or 0, before.until_us or 0
    parts = []
    if loading.until_us > until:
        parts.append(every.where(loading.within(max(until + 1, loading.since_us), loading.until_us)))
    if loading.since_us < since:
        parts.append(every.where(loading.within(loading.since_us, min(since - 1, loading.until_us))))
    if net is not None:
        news = net.where(F.col(f"last.{CHANGE}").isin(*COMES)).select("last.*").select(*every.columns)
        parts.append(news.where(loading.within(min(since, loading.since_us), max(until, loading.until_us))))
    if not parts:
        return None
    rows = parts[0]
    for part in parts[1:]:
        rows = rows.unionByName(part)
    return rows


def follows(loading: Loading, before: Mark, spark: SparkSession) -> bool:
    """True where the store holds an earlier version of the table, and Delta tells what changed since."""
    if before.state is not State.LOADED or before.version is None or before.version > loading.version:
        return False
    if not loading.join_keys:
        return False  # one row in all: it is read and written anew
    if loading.until_us < (before.since_us or 0) or loading.since_us > (before.until_us or 0) + 1:
        return False
    return before.version == loading.version or lake.tells_changes(spark, loading.uri, since=before.version + 1)


@contextmanager
def net_changes(loading: Loading, before: Mark, spark: SparkSession) -> Iterator[DataFrame]:
    """What became of each key and event time since the version that the store holds: the last change of its row, and `was`.

    `was` is the newest created time of the rows that went, where there is one. All of it is computed once within the block.
    """
    feed = lake.changes(spark, loading.uri, since=(before.version or 0) + 1, until=loading.version)
    changes = loading.named(feed)
    at = [*loading.keys, loading.event]
    is_insert = F.col(CHANGE).isin(*COMES)
    last = F.max_by(F.struct(*changes.columns), F.struct("_commit_version", is_insert.alias("comes")))
    made = F.col(loading.created) if loading.created else F.lit(None).cast("timestamp")
    with cached(changes.groupBy(*at).agg(last.alias("last"), F.max(F.when(~is_insert, made)).alias("was"))) as net:
        yield net


def removed(loading: Loading, net: DataFrame) -> DataFrame | None:
    """The keys of rows that are gone, or were replaced by one that was made earlier; None where there are none."""
    made = F.col(f"last.{loading.created}") if loading.created else F.lit(None).cast("timestamp")
    is_there = F.col(f"last.{CHANGE}").isin(*COMES)
    gone = net.where(~is_there | F.coalesce(F.col("was") > made, F.lit(False)))
    keys = gone.select(*loading.keys).distinct()
    return None if keys.isEmpty() else keys


def restore(keys: DataFrame, loading: Loading, bank: Bank, spark: SparkSession, *, field: bytes, number: int) -> Sent:
    """Give keys the newest row that the table has of them, or none, whatever the store holds."""
    every = loading.named(lake.at_version(spark, loading.uri, loading.version))
    span = loading.within(loading.since_us, loading.until_us)
    rows = keys.join(loading.newest(every.where(span)), on=loading.keys, how="left")
    return write(rows, loading, bank, field=field, number=number, script=scripts.RESTORE)
