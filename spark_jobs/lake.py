"""Delta: one commit per slice, all or nothing; rejected rows are kept beside the table."""

from __future__ import annotations

from dataclasses import dataclass

from delta.tables import DeltaTable
from pyspark.sql import Column, DataFrame, SparkSession
from pyspark.sql import functions as F

from feature_repo.sources import EVENT_AT
from spark_jobs.conform import differences
from spark_jobs.errors import SchemaBrokenError, UnbuiltTableError
from spark_jobs.timeslice import TimeSlice

RUN_ID = "run_id"
SLICE_AT = "slice_at"
PUBLISHED = "published"
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
    write.option("replaceWhere", predicate).option("userMetadata", run_id).save(uri)
    return commit_of(run_id, rows.sparkSession, uri)


def append(rows: DataFrame, uri: str, *, run_id: str) -> Commit:
    """Add rows in one commit that carries the run's id."""
    rows.write.format("delta").mode("append").option("userMetadata", run_id).save(uri)
    return commit_of(run_id, rows.sparkSession, uri)


def commit_of(run_id: str, spark: SparkSession, uri: str) -> Commit:
    """The newest commit of a run; the newest of all, with no rows, where the run wrote none."""
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
