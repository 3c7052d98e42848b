"""Delta: one commit per slice, all or nothing; rejected rows are kept beside the table."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from delta.tables import DeltaTable
from pyspark.sql import Column, DataFrame, Row, SparkSession
from pyspark.sql import functions as F

from feature_repo.sources import EVENT_AT
from spark_jobs.conform import differences
from spark_jobs.errors import SchemaBrokenError, UnbuiltTableError
from spark_jobs.timeslice import TimeSlice

RUN_ID = "run_id"
SLICE_AT = "slice_at"
PUBLISHED = "published"
FORM_ONLY = frozenset({"OPTIMIZE", "VACUUM START", "VACUUM END", "SET TBLPROPERTIES", "UPGRADE PROTOCOL", "REORG"})
"""Operations of Delta's that change no row."""

CHANGE_FEED = "delta.enableChangeDataFeed"
"""The property of a table that tells what changed between its versions; every table that we make has it."""

RECENT = 50
"""How many commits back a write looks for its own, behind those of concurrent writers."""


@dataclass(frozen=True, slots=True)
class Commit:
    """What a write left: the table's version after it, and the rows it wrote by Delta's own count."""

    version: int
    rows: int


def current_version(spark: SparkSession, uri: str) -> int | None:
    """The newest version of the table at `uri`, or None where there is no table."""
    if not DeltaTable.isDeltaTable(spark, uri):
        return None
    return int(DeltaTable.forPath(spark, uri).history(1).select("version").collect()[0][0])


def built_version(spark: SparkSession, uri: str, table: str) -> int:
    """The newest version of a table that must be there.

    Raises:
        UnbuiltTableError: nothing was ever published to it.
    """
    version = current_version(spark, uri)
    if version is None:
        raise UnbuiltTableError(table, uri)
    return version


def at_version(spark: SparkSession, uri: str, version: int) -> DataFrame:
    """The rows of a table as they stood at a version."""
    return spark.read.format("delta").option("versionAsOf", version).load(uri)


def publish(rows: DataFrame, uri: str, *, table: str, time_slice: TimeSlice, run_id: str) -> Commit:
    """Replace the table's slice by `rows` in one commit that carries the run's id.

    Raises:
        SchemaBrokenError: the table that is there has other columns or types.
    """
    refuse_another_schema(rows, uri, table=table)
    return replace(rows, uri, predicate=time_slice.predicate(EVENT_AT), run_id=run_id)


def quarantine(rows: DataFrame, uri: str, *, time_slice: TimeSlice, run_id: str, published: bool) -> Commit:
    """Keep rejected rows, in place of those of an earlier build of the slice.

    A slice of which nothing was rejected writes no rows, so that every table has its quarantine, empty or not.

    Args:
        rows: the rejected rows, with `broken_facts`.
        published: whether the rest of the slice was published. Rows of a slice that the gate stopped stand beside those
            of the slice that is visible, and neither replaces the other. Rows without an event time count to the slice's start.
    """
    slice_at = F.coalesce(EVENT_AT, F.lit(time_slice.start_at).cast("timestamp"))
    kept = quarantined(rows, slice_at, run_id=run_id, published=published)
    predicate = f"{time_slice.predicate(SLICE_AT)} AND {PUBLISHED} = {str(published).lower()}"
    return replace(kept, uri, predicate=predicate, run_id=run_id)


def quarantined(rows: DataFrame, slice_at: Column, *, run_id: str, published: bool) -> DataFrame:
    """Rejected rows with the columns that a quarantine adds."""
    return rows.select("*", slice_at.alias(SLICE_AT), F.lit(run_id).alias(RUN_ID), F.lit(published).alias(PUBLISHED))


def replace(rows: DataFrame, uri: str, *, predicate: str, run_id: str) -> Commit:
    """Replace what `predicate` selects by `rows`. Where nothing is replaced by nothing, Delta makes no commit."""
    write = rows.write.format("delta").mode("overwrite")
    write.option("replaceWhere", predicate).option("userMetadata", run_id).option(CHANGE_FEED, "true").save(uri)
    return commit_of(rows.sparkSession, uri, run_id)


def append(rows: DataFrame, uri: str, *, run_id: str) -> Commit:
    """Add rows in one commit that carries the run's id."""
    rows.write.format("delta").mode("append").option("userMetadata", run_id).save(uri)
    return commit_of(rows.sparkSession, uri, run_id)


def start_over(rows: DataFrame, uri: str, *, partition: str, run_id: str) -> Commit:
    """Replace all of a table, columns and all, or make it; its files are apart by the column `partition`."""
    write = rows.write.format("delta").mode("overwrite").option("overwriteSchema", "true").partitionBy(partition)
    write.option("userMetadata", run_id).save(uri)
    return commit_of(rows.sparkSession, uri, run_id)


def commit_of(spark: SparkSession, uri: str, run_id: str) -> Commit:
    """The newest commit of a run to a table; of no rows, where it made none."""
    written = metric("numOutputRows") - metric("numCopiedRows")
    commits = DeltaTable.forPath(spark, uri).history(RECENT)
    newest_first = commits.select("version", "userMetadata", written.alias("rows")).orderBy(F.desc("version")).collect()
    ours = (Commit(commit["version"], commit["rows"]) for commit in newest_first if commit["userMetadata"] == run_id)
    return next(ours, Commit(newest_first[0]["version"], 0))


def metric(name: str) -> Column:
    """A count of Delta's history, 0 where a commit has none. Rows that were moved into a new file count as copied."""
    return F.coalesce(F.col("operationMetrics")[name].cast("long"), F.lit(0))


def refuse_another_schema(rows: DataFrame, uri: str, *, table: str) -> None:
    """Raise where the table at `uri` exists with other columns or types than `rows` has."""
    spark = rows.sparkSession
    if not DeltaTable.isDeltaTable(spark, uri):
        return
    there = {field.name: field.dataType for field in DeltaTable.forPath(spark, uri).toDF().schema}
    problems = differences(there, {field.name: field.dataType for field in rows.schema})
    if problems:
        raise SchemaBrokenError(table, [f"{problem} by the table at {uri}" for problem in problems])


def changes(spark: SparkSession, uri: str, *, since: int, until: int) -> DataFrame:
    """What was inserted, updated and deleted by the versions from `since` to `until`, with Delta's `_change_type`."""
    feed = spark.read.format("delta").option("readChangeFeed", "true")
    return feed.option("startingVersion", since).option("endingVersion", until).load(uri)


def tells_changes(spark: SparkSession, uri: str, *, since: int) -> bool:
    """True where Delta tells what changed from version `since` on."""
    properties = DeltaTable.forPath(spark, uri).detail().select("properties").collect()[0][0]
    if properties.get(CHANGE_FEED) != "true":
        return False
    commits = DeltaTable.forPath(spark, uri).history().select("version", "operation", "operationParameters").collect()
    oldest = min(commit["version"] for commit in commits)
    began = [
        commit["version"]
        for commit in commits
        if commit["operation"] in ("SET TBLPROPERTIES", "CREATE TABLE")
        and CHANGE_FEED in str(commit["operationParameters"])
    ]
    return bool(since >= max([oldest, *(version + 1 for version in began)]))


@dataclass(frozen=True, slots=True)
class Audited:
    """The newest version that only audited runs brought about, and the newer ones that nobody audited."""

    version: int
    unaudited: tuple[int, ...]


def audited_version(spark: SparkSession, uri: str, table: str) -> Audited:
    """The newest version of a table that may be served: written by a run that passed its gate, or changed in form only.

    Raises:
        UnbuiltTableError: nothing was ever published to it.
    """
    if not DeltaTable.isDeltaTable(spark, uri):
        raise UnbuiltTableError(table, uri)
    commits = DeltaTable.forPath(spark, uri).history(RECENT).select("version", "operation", "userMetadata").collect()
    newest_first = sorted(commits, key=lambda commit: -commit["version"])
    for place, commit in enumerate(newest_first):
        if commit["userMetadata"]:
            return Audited(*settled(newest_first[:place], commit["version"]))
    raise UnbuiltTableError(table, uri)


def audited_before(spark: SparkSession, uri: str, version: int) -> int | None:
    """The last version before one that an audited run wrote; None where there is none that Delta still tells of."""
    commits = DeltaTable.forPath(spark, uri).history().select("version", "userMetadata").collect()
    earlier = [commit["version"] for commit in commits if commit["version"] < version and commit["userMetadata"]]
    return max(earlier, default=None)


def settled(newer: Sequence[Row], version: int) -> tuple[int, tuple[int, ...]]:
    """How far a version reaches over newer ones of no run: over those that changed the table's form and no row of it."""
    unaudited = [commit["version"] for commit in newer if commit["operation"] not in FORM_ONLY]
    reach = min(unaudited, default=(newer[0]["version"] + 1) if newer else version + 1) - 1
    return reach, tuple(sorted(unaudited))
