"""Which rows of a table are news to the store: all of a version, or what changed since the version that is loaded."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace

from py4j.protocol import Py4JJavaError
from pyspark.errors import PySparkException
from pyspark.sql import Column, DataFrame, SparkSession
from pyspark.sql import functions as F

from pedigree.jobs import delta_tables
from pedigree.jobs.cache import cached
from pedigree.jobs.column_names import all_named, named, quoted
from pedigree.jobs.errors import ChangesUntoldError, SchemaBrokenError
from pedigree.jobs.materialize.redis_writer import Loading
from pedigree.online.store.load_state import LoadState

CHANGE = "_change_type"
COMES = ("insert", "update_postimage")
"""Changes after which a row is there."""


def dated(loading: Loading, spark: SparkSession) -> Loading:
    """The same with the table's id and the time of its version's commit, which are looked up before any row is read."""
    return replace(
        loading,
        table_id=delta_tables.table_id(spark, loading.uri),
        committed_us=delta_tables.committed_us(spark, loading.uri, loading.version),
    )


def whole(loading: Loading, spark: SparkSession) -> DataFrame:
    """All rows of the time.

    Raises:
        SchemaBrokenError: the table lacks a column of the view.
    """
    every = loaded_version(loading, spark)
    return every.where(loading.within(loading.since_us, loading.until_us))


def loaded_version(loading: Loading, spark: SparkSession) -> DataFrame:
    """The rows of the version, under the features' names.

    Raises:
        SchemaBrokenError: the table lacks a column of the view.
    """
    rows = loading.named(delta_tables.at_version(spark, loading.uri, loading.version))
    missing = [name for name in (*loading.keys, *loading.others) if name not in rows.columns]
    if missing:
        place = f"version {loading.version} of {loading.uri}"
        raise SchemaBrokenError(loading.view, [f"{name} is missing in {place}" for name in missing])
    return rows


def changed(loading: Loading, before: LoadState, spark: SparkSession, net: DataFrame | None) -> DataFrame | None:
    """The rows that may be news to the store; None where there are none.

    Args:
        net: what changed in the table, where it is not the version that is loaded.
    """
    every = loaded_version(loading, spark)
    since, until = before.since_us or 0, before.until_us or 0
    parts = []
    if loading.until_us > until:
        parts.append(every.where(loading.within(max(until + 1, loading.since_us), loading.until_us)))
    if loading.since_us < since:
        parts.append(every.where(loading.within(loading.since_us, min(since - 1, loading.until_us))))
    if net is not None:
        news = net.where(F.col("last").isNotNull()).select("last.*").select(*all_named(every.columns))
        parts.append(news.where(loading.within(min(since, loading.since_us), max(until, loading.until_us))))
    if not parts:
        return None
    rows = parts[0]
    for part in parts[1:]:
        rows = rows.unionByName(part)
    return rows


def obstacle(loading: Loading, before: LoadState, spark: SparkSession) -> str | None:
    """Why what is loaded cannot be brought up to date by what changed in the table since; None where it can.

    It can where the store holds this version or an earlier one of this very table, by this definition of the view, and Delta
    tells what changed.
    """
    if before.definition is None or before.table_id is None:
        return "the release that loaded it did not note by which definition"
    if before.definition != loading.definition:
        return "its features, types, keys or columns have changed"
    if not is_same_table(loading, before, spark):
        return f"{loading.uri} was made anew, or is another table"
    if before.version is None or before.version > loading.version:
        return f"version {before.version} is loaded, which is later than {loading.version}"
    if before.version != loading.version and not delta_tables.tells_changes(
        spark, loading.uri, since=before.version + 1
    ):
        return f"{loading.uri} does not tell what changed since version {before.version}"
    return None


def is_same_table(loading: Loading, before: LoadState, spark: SparkSession) -> bool:
    """True where the version that is loaded is one of this table, not of one that was there before it was made anew or copied."""
    if before.version is None or before.committed_us is None or before.table_id != loading.table_id:
        return False
    if before.version == loading.version:
        return before.committed_us == loading.committed_us
    return before.committed_us == delta_tables.committed_us(spark, loading.uri, before.version)


@contextmanager
def net_changes(loading: Loading, before: LoadState, spark: SparkSession) -> Iterator[DataFrame]:
    """What became of each key and event time since the version that the store holds, computed once within the block.

    `last` is the newest made of the rows that came, as it is now, and `was` the newest created time of those that went; each is
    null where there is none.

    Raises:
        ChangesUntoldError: the feed cannot be read for these versions.
    """
    since = (before.version or 0) + 1
    with told_when_unreadable(loading, since):
        feed = delta_tables.changes(spark, loading.uri, since=since, until=loading.version)
    changes = loading.named(feed)
    at = all_named([*loading.keys, loading.event])
    row = [*at, named(loading.created)] if loading.created else at
    newest_change = F.struct("_commit_version", F.col(CHANGE).isin(*COMES))
    rows = changes.groupBy(*row).agg(F.max_by(F.struct(*all_named(changes.columns)), newest_change).alias("last"))
    comes = F.col(f"last.{CHANGE}").isin(*COMES)
    made = created(loading)
    last = F.max_by("last", F.when(comes, F.struct(made, "last._commit_version"))).alias("last")
    net = rows.groupBy(*at).agg(last, F.max(F.when(~comes, made)).alias("was"))
    with read_whole(net, loading, since) as read:
        yield read


@contextmanager
def told_when_unreadable(loading: Loading, since: int) -> Iterator[None]:
    """Within the block, what Spark says of the feed's files, columns or versions is told as a feed that cannot be read.

    Raises:
        ChangesUntoldError: it cannot.
    """
    try:
        yield
    except (PySparkException, Py4JJavaError) as error:
        reason = error.java_exception.toString() if isinstance(error, Py4JJavaError) else str(error)
        raise ChangesUntoldError(loading.uri, since=since, reason=reason) from error


def created(loading: Loading) -> Column:
    """When the last row of a net change was made; null where a view has no such column."""
    return F.col(f"last.{quoted(loading.created)}") if loading.created else F.lit(None).cast("timestamp")


def removed(loading: Loading, net: DataFrame) -> DataFrame | None:
    """The keys of rows that are gone, or were replaced by one that was made earlier; None where there are none."""
    made = created(loading)
    is_older = F.col("was").isNotNull() & (made.isNull() | (F.col("was") > made))
    keys = net.where(F.col("last").isNull() | is_older).select(*all_named(loading.keys)).distinct()
    return None if keys.isEmpty() else keys


@contextmanager
def changed_keys(loading: Loading, before: LoadState, spark: SparkSession) -> Iterator[DataFrame]:
    """The keys whose rows may differ between the version that is served and an earlier one, computed once within the block.

    Where Delta does not tell what changed, all keys of both versions may.

    Raises:
        ChangesUntoldError: neither the feed nor the versions can be read.
    """
    since, until = loading.version + 1, before.version or 0
    with told_when_unreadable(loading, since):
        if delta_tables.tells_changes(spark, loading.uri, since=since):
            changes = delta_tables.changes(spark, loading.uri, since=since, until=until)
        else:
            tables = (delta_tables.at_version(spark, loading.uri, version) for version in (loading.version, until))
            changes = next(tables).unionByName(next(tables), allowMissingColumns=True)
        keys = loading.named(changes).select(*all_named(loading.keys)).distinct()
    with read_whole(keys, loading, since) as read:
        yield read


@contextmanager
def read_whole(rows: DataFrame, loading: Loading, since: int) -> Iterator[DataFrame]:
    """Rows of the feed, all of them read before anything is written by them, and kept within the block.

    Raises:
        ChangesUntoldError: the feed cannot be read.
    """
    with ExitStack() as kept:
        with told_when_unreadable(loading, since):
            read = kept.enter_context(cached(rows))
            read.count()
        yield read
