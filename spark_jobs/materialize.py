"""Rows of one audited table version into the online store: the newest of each key, encoded by column on the executors.

A first load reads every row of its time; every later one only what changed between two versions of the table (Delta's change
data feed) and what its time adds. It may be broken off and run again at any point: the newest wins inside Redis, and what is
loaded is said last.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from online import names, scripts
from online.bank import Bank
from online.marks import Load, Mark, State
from spark_jobs import lake
from spark_jobs.errors import NothingToRollBackError
from spark_jobs.sending import Loading, Progress, micros, now_us, telling, write

CHANGE = "_change_type"
COMES = ("insert", "update_postimage")
"""Changes after which a row is there."""


@dataclass(frozen=True, slots=True)
class Loaded:
    """What a load did: how it read the table, the rows it had, and those that the store took as newer than its own."""

    load: int
    how: str
    rows: int
    written: int
    newest_us: int | None


def load(loading: Loading, bank: Bank, spark: SparkSession, *, run_id: str, told: Progress) -> Loaded:
    """Bring the store to the table's version for a span of time. Until the first load of a view ends, nobody reads it.

    Args:
        told: is told how many rows are done, from time to time.
    """
    before = bank.mark(loading.view) or Mark(State.DECLARED)
    bank.register(loading.schema)
    number = bank.begin(Load(loading.view, run_id, loading.uri, loading.version))
    if not before.readable:
        bank.set_mark(loading.view, replace(before, state=State.LOADING))
    field = names.field(loading.view, before.generation)
    how, rows = changed(loading, before, spark)
    with telling(bank, number, told):
        script = scripts.WRITE if loading.join_keys else scripts.RESTORE
        done, written = write(loading.newest(rows), loading, bank, field=field, number=number, script=script)
        gone = removed(loading, before, spark) if how == "changes" else None
        if gone is not None:
            more, restored = restore(gone, loading, bank, spark, field=field, number=number)
            done, written = done + more, written + restored
    newest = newest_us(rows, loading) or before.newest_us
    bank.set_mark(loading.view, after(loading, before, number=number, newest_us=newest, rows=done, how=how))
    return Loaded(number, how, done, written, newest)


def refresh(loading: Loading, bank: Bank, spark: SparkSession, *, run_id: str, told: Progress) -> Loaded:
    """Load everything anew beside what is read, then have it read instead: no read is refused, or half answered, at any moment.

    Rows that were pushed meanwhile, or that no table has, come along.
    """
    before = bank.mark(loading.view)
    if before is None or not before.readable:
        return load(loading, bank, spark, run_id=run_id, told=told)
    bank.register(loading.schema)
    number = bank.begin(Load(loading.view, run_id, loading.uri, loading.version))
    prefix = names.entity_prefix(bank.project, [name for name, _ in loading.join_keys])
    old, new = (names.field(loading.view, before.generation + step) for step in (0, 1))
    bank.forget(new, prefix)  # what a refresh left that broke off
    rows = loading.named(lake.at_version(spark, loading.uri, loading.version))
    rows = rows.where(loading.within(loading.since_us, loading.until_us))
    with telling(bank, number, told):
        done, written = write(loading.newest(rows), loading, bank, field=new, number=number, script=scripts.WRITE)
    bank.move(old, new, prefix, ends=False)
    newest = newest_us(rows, loading)
    first = Mark(State.DECLARED, generation=before.generation + 1)
    bank.set_mark(loading.view, after(loading, first, number=number, newest_us=newest, rows=done, how="full"))
    bank.move(old, new, prefix, ends=True)
    return Loaded(number, "full", done, written, newest)


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
    keys = loading.named(changes).select(*(name for name, _ in loading.join_keys)).distinct()
    with telling(bank, number, told):
        done, written = restore(keys, loading, bank, spark, field=field, number=number)
    withheld = max(before.version, before.withheld or 0)
    bank.set_mark(
        loading.view, replace(before, load=number, version=loading.version, withheld=withheld, loaded_us=now_us())
    )
    return Loaded(number, "rollback", done, written, before.newest_us)


def newest_us(rows: DataFrame, loading: Loading) -> int | None:
    """The newest event time of rows."""
    [newest] = rows.agg(F.max(loading.event)).collect()[0]
    return None if newest is None else micros(newest)


def after(loading: Loading, before: Mark, *, number: int, newest_us: int | None, rows: int, how: str) -> Mark:
    """What is loaded once a load has ended."""
    grown = before.state is State.LOADED and before.version is not None
    return Mark(
        state=State.LOADED,
        generation=before.generation,
        load=number,
        version=loading.version,
        since_us=min(loading.since_us, before.since_us or loading.since_us) if grown else loading.since_us,
        until_us=max(loading.until_us, before.until_us or loading.until_us) if grown else loading.until_us,
        newest_us=max(newest_us or before.newest_us or 0, before.newest_us or newest_us or 0) or None,
        loaded_us=now_us(),
        rows=before.rows if how == "changes" else rows,
    )


def changed(loading: Loading, before: Mark, spark: SparkSession) -> tuple[str, DataFrame]:
    """The rows that may be news to the store, and how they were found: `full`, `changes` or `nothing`."""
    every = loading.named(lake.at_version(spark, loading.uri, loading.version))
    if not follows(loading, before, spark):
        return "full", every.where(loading.within(loading.since_us, loading.until_us))
    since, until = before.since_us or 0, before.until_us or 0
    parts = []
    if loading.until_us > until:
        parts.append(every.where(loading.within(max(until + 1, loading.since_us), loading.until_us)))
    if loading.since_us < since:
        parts.append(every.where(loading.within(loading.since_us, min(since - 1, loading.until_us))))
    if loading.version > (before.version or 0):
        news = (
            net_changes(loading, before, spark)
            .where(F.col(f"last.{CHANGE}").isin(*COMES))
            .select("last.*")
            .select(*every.columns)
        )
        parts.append(news.where(loading.within(min(since, loading.since_us), max(until, loading.until_us))))
    if not parts:
        return "nothing", every.limit(0)
    rows = parts[0]
    for part in parts[1:]:
        rows = rows.unionByName(part)
    return "changes", rows


def follows(loading: Loading, before: Mark, spark: SparkSession) -> bool:
    """True where the store holds an earlier version of the table, and Delta tells what changed since."""
    if before.state is not State.LOADED or before.version is None or before.version > loading.version:
        return False
    if not loading.join_keys:
        return False  # one row in all: it is read and written anew
    if loading.until_us < (before.since_us or 0) or loading.since_us > (before.until_us or 0) + 1:
        return False
    return before.version == loading.version or lake.tells_changes(spark, loading.uri, since=before.version + 1)


def net_changes(loading: Loading, before: Mark, spark: SparkSession) -> DataFrame:
    """What became of each key and event time since the version that the store holds: the last change of its row, and `was`.

    `was` is the newest created time of the rows that went, where there is one.
    """
    feed = lake.changes(spark, loading.uri, since=(before.version or 0) + 1, until=loading.version)
    changes = loading.named(feed)
    at = [*(name for name, _ in loading.join_keys), loading.event]
    is_insert = F.col(CHANGE).isin(*COMES)
    last = F.max_by(F.struct(*changes.columns), F.struct("_commit_version", is_insert.alias("comes")))
    made = F.col(loading.created) if loading.created else F.lit(None).cast("timestamp")
    return changes.groupBy(*at).agg(last.alias("last"), F.max(F.when(~is_insert, made)).alias("was"))


def removed(loading: Loading, before: Mark, spark: SparkSession) -> DataFrame | None:
    """The keys of rows that are gone, or were replaced by one that was made earlier; None where there are none."""
    if loading.version == before.version:
        return None
    made = F.col(f"last.{loading.created}") if loading.created else F.lit(None).cast("timestamp")
    is_there = F.col(f"last.{CHANGE}").isin(*COMES)
    gone = net_changes(loading, before, spark).where(~is_there | F.coalesce(F.col("was") > made, F.lit(False)))
    keys = gone.select(*(name for name, _ in loading.join_keys)).distinct()
    return None if keys.isEmpty() else keys


def restore(
    keys: DataFrame, loading: Loading, bank: Bank, spark: SparkSession, *, field: bytes, number: int
) -> tuple[int, int]:
    """Give keys the newest row that the table has of them, or none, whatever the store holds."""
    every = loading.named(lake.at_version(spark, loading.uri, loading.version))
    span = loading.within(loading.since_us, loading.until_us)
    columns_of_key = [name for name, _ in loading.join_keys]
    rows = keys.join(loading.newest(every.where(span)), on=columns_of_key, how="left")
    return write(rows, loading, bank, field=field, number=number, script=scripts.RESTORE)
