"""Which rows of a table are news to the store: all of a version, or what changed since the version that is loaded."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

from pyspark.sql import Column, DataFrame, SparkSession
from pyspark.sql import functions as F

from pedigree.jobs import delta_tables
from pedigree.jobs.cache import cached
from pedigree.jobs.materialize.redis_writer import Loading
from pedigree.online.store.load_state import LoadState

CHANGE = "_change_type"
COMES = ("insert", "update_postimage")
"""Changes after which a row is there."""


def dated(loading: Loading, spark: SparkSession) -> Loading:
    """The same with the time of its version's commit, which is looked up before any row is read."""
    return replace(loading, committed_us=delta_tables.committed_us(spark, loading.uri, loading.version))


def whole(loading: Loading, spark: SparkSession) -> DataFrame:
    """All rows of the time."""
    every = loading.named(delta_tables.at_version(spark, loading.uri, loading.version))
    return every.where(loading.within(loading.since_us, loading.until_us))


def changed(loading: Loading, before: LoadState, spark: SparkSession, net: DataFrame | None) -> DataFrame | None:
    """The rows that may be news to the store; None where there are none.

    Args:
        net: what changed in the table, where it is not the version that is loaded.
    """
    every = loading.named(delta_tables.at_version(spark, loading.uri, loading.version))
    since, until = before.since_us or 0, before.until_us or 0
    parts = []
    if loading.until_us > until:
        parts.append(every.where(loading.within(max(until + 1, loading.since_us), loading.until_us)))
    if loading.since_us < since:
        parts.append(every.where(loading.within(loading.since_us, min(since - 1, loading.until_us))))
    if net is not None:
        news = net.where(F.col("last").isNotNull()).select("last.*").select(*every.columns)
        parts.append(news.where(loading.within(min(since, loading.since_us), max(until, loading.until_us))))
    if not parts:
        return None
    rows = parts[0]
    for part in parts[1:]:
        rows = rows.unionByName(part)
    return rows


def follows(loading: Loading, before: LoadState, spark: SparkSession) -> bool:
    """True where the store holds this version of the table or an earlier one, and Delta tells what changed since."""
    if before.version is None or before.version > loading.version:
        return False
    if not is_same_table(loading, before, spark):
        return False
    return before.version == loading.version or delta_tables.tells_changes(spark, loading.uri, since=before.version + 1)


def is_same_table(loading: Loading, before: LoadState, spark: SparkSession) -> bool:
    """True where the version that is loaded is one of this table, not of one that was there before it was made anew or copied."""
    if before.version is None or before.committed_us is None:
        return False
    if before.version == loading.version:
        return before.committed_us == loading.committed_us
    return before.committed_us == delta_tables.committed_us(spark, loading.uri, before.version)


@contextmanager
def net_changes(loading: Loading, before: LoadState, spark: SparkSession) -> Iterator[DataFrame]:
    """What became of each key and event time since the version that the store holds, computed once within the block.

    `last` is the newest made of the rows that came, as it is now, and `was` the newest created time of those that went; each is
    null where there is none.
    """
    feed = delta_tables.changes(spark, loading.uri, since=(before.version or 0) + 1, until=loading.version)
    changes = loading.named(feed)
    at = [*loading.keys, loading.event]
    row = [*at, loading.created] if loading.created else at
    newest_change = F.struct("_commit_version", F.col(CHANGE).isin(*COMES))
    rows = changes.groupBy(*row).agg(F.max_by(F.struct(*changes.columns), newest_change).alias("last"))
    comes = F.col(f"last.{CHANGE}").isin(*COMES)
    made = created(loading)
    last = F.max_by("last", F.when(comes, F.struct(made, "last._commit_version"))).alias("last")
    with cached(rows.groupBy(*at).agg(last, F.max(F.when(~comes, made)).alias("was"))) as net:
        yield net


def created(loading: Loading) -> Column:
    """When the last row of a net change was made; null where a view has no such column."""
    return F.col(f"last.{loading.created}") if loading.created else F.lit(None).cast("timestamp")


def removed(loading: Loading, net: DataFrame) -> DataFrame | None:
    """The keys of rows that are gone, or were replaced by one that was made earlier; None where there are none."""
    made = created(loading)
    is_older = F.col("was").isNotNull() & (made.isNull() | (F.col("was") > made))
    keys = net.where(F.col("last").isNull() | is_older).select(*loading.keys).distinct()
    return None if keys.isEmpty() else keys


def changed_keys(loading: Loading, before: LoadState, spark: SparkSession) -> DataFrame:
    """The keys whose rows may differ between the version that is served and an earlier one; all, where Delta does not tell."""
    since, until = loading.version + 1, before.version or 0
    if delta_tables.tells_changes(spark, loading.uri, since=since):
        changes = delta_tables.changes(spark, loading.uri, since=since, until=until)
    else:
        tables = (delta_tables.at_version(spark, loading.uri, version) for version in (loading.version, until))
        changes = next(tables).unionByName(next(tables), allowMissingColumns=True)
    return loading.named(changes).select(*loading.keys).distinct()
