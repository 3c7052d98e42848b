"""Delta: one commit per slice, all or nothing; rejected rows are kept beside the table."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import count, islice

from delta.tables import DeltaTable
from pyspark.sql import Column, DataFrame, SparkSession
from pyspark.sql import functions as F

from pedigree.jobs.conform import differences
from pedigree.jobs.errors import SchemaBrokenError, UnbuiltTableError
from pedigree.jobs.gate_mark import CommitMark, TableCommit, table_name
from pedigree.jobs.time_slice import TimeSlice

RUN_ID = "run_id"
SLICE_AT = "slice_at"
PUBLISHED = "published"
CHANGE_FEED = "delta.enableChangeDataFeed"
"""The property of a table that tells what changed between its versions; every table that we make has it."""

PAGE = 50
"""How many commits of a history are read at first, and among how many a write looks for its own; each further page goes eight
times as far back."""


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


def publish(
    rows: DataFrame,
    uri: str,
    *,
    table: str,
    replaced: str,
    run_id: str,
    passed_rows: int,
    made_from: str | None = None,
) -> Commit:
    """Replace a part of the table by `rows` in one commit that carries the gate's mark.

    Args:
        replaced: a predicate in SQL that selects the part; `rows` lie in it.
        passed_rows: how many rows the gate let through. A commit of another number is not taken for audited.
        made_from: the state of a file that the table is a copy of. Such a table takes the columns of `rows`.
    Raises:
        SchemaBrokenError: the table that is there has other columns or types.
    """
    mark = CommitMark.of_gate(uri, run_id=run_id, rows=passed_rows, made_from=made_from).text()
    if made_from is not None:
        return overwrite(rows, uri, mark=mark)
    refuse_another_schema(rows, uri, table=table)
    return replace_where(rows, uri, replaced, mark=mark)


def overwrite(rows: DataFrame, uri: str, *, mark: str) -> Commit:
    """Replace all of a table, columns and all, or make it."""
    write = rows.write.format("delta").mode("overwrite").option("overwriteSchema", "true")
    write.option("userMetadata", mark).option(CHANGE_FEED, "true").save(uri)
    return commit_of(rows.sparkSession, uri, mark)


def quarantine(
    rows: DataFrame,
    uri: str,
    *,
    event: str,
    time_slice: TimeSlice,
    run_id: str,
    published: bool,
    is_whole: bool = False,
) -> Commit:
    """Keep rejected rows, in place of those of an earlier build of the slice.

    A slice of which nothing was rejected writes no rows, so that every table has its quarantine, empty or not.

    Args:
        rows: the rejected rows, with `broken_rules`.
        event: their column with the event time.
        published: whether the rest of the slice was published. Rows of a slice that the gate stopped stand beside those
            of the slice that is visible, and neither replaces the other. Rows without an event time count to the slice's start.
        is_whole: the slice stands for the whole table: the rows replace those of every earlier build.
    """
    slice_at = F.coalesce(event, F.lit(time_slice.start_at).cast("timestamp"))
    kept = quarantined(rows, slice_at, run_id=run_id, published=published)
    of_slice = "true" if is_whole else time_slice.predicate(SLICE_AT)
    predicate = f"{of_slice} AND {PUBLISHED} = {str(published).lower()}"
    return replace(kept, uri, predicate=predicate, run_id=run_id, adds_columns=True)


def quarantined(rows: DataFrame, slice_at: Column, *, run_id: str, published: bool) -> DataFrame:
    """Rejected rows with the columns that a quarantine adds."""
    return rows.select("*", slice_at.alias(SLICE_AT), F.lit(run_id).alias(RUN_ID), F.lit(published).alias(PUBLISHED))


def replace(
    rows: DataFrame,
    uri: str,
    *,
    predicate: str,
    run_id: str,
    passed_rows: int | None = None,
    adds_columns: bool = False,
) -> Commit:
    """Replace what `predicate` selects by `rows`. Where nothing is replaced by nothing, Delta makes no commit.

    Args:
        passed_rows: how many rows the gate let through; None where no gate looked at them.
        adds_columns: add columns that the table does not have yet; its other rows have null there. See `beside_former_types`.
    """
    mark = mark_of(uri, run_id=run_id, passed_rows=passed_rows)
    return replace_where(rows, uri, predicate, mark=mark, adds_columns=adds_columns)


def replace_where(rows: DataFrame, uri: str, predicate: str, *, mark: str, adds_columns: bool = False) -> Commit:
    """Replace what `predicate` selects by `rows`, in a commit with a mark."""
    rows = beside_former_types(rows, uri) if adds_columns else rows
    write = rows.write.format("delta").mode("overwrite").option("mergeSchema", str(adds_columns).lower())
    write.option("replaceWhere", predicate).option("userMetadata", mark).option(CHANGE_FEED, "true").save(uri)
    return commit_of(rows.sparkSession, uri, mark)


def append(
    rows: DataFrame, uri: str, *, run_id: str, passed_rows: int | None = None, adds_columns: bool = False
) -> Commit:
    """Add rows in one commit that names its run.

    Args:
        passed_rows: how many rows the gate let through; None where no gate looked at them.
        adds_columns: add columns that the table does not have yet; its other rows have null there. See `beside_former_types`.
    """
    mark = mark_of(uri, run_id=run_id, passed_rows=passed_rows)
    rows = beside_former_types(rows, uri) if adds_columns else rows
    write = rows.write.format("delta").mode("append").option("mergeSchema", str(adds_columns).lower())
    write.option("userMetadata", mark).save(uri)
    return commit_of(rows.sparkSession, uri, mark)


def beside_former_types(rows: DataFrame, uri: str) -> DataFrame:
    """The rows, with a column whose type the table at `uri` has otherwise under a name of its own: `price_string`."""
    spark = rows.sparkSession
    if not DeltaTable.isDeltaTable(spark, uri):
        return rows
    there = {
        field.name.lower(): field.dataType.simpleString() for field in DeltaTable.forPath(spark, uri).toDF().schema
    }
    kinds = {field.name: field.dataType.simpleString() for field in rows.schema}
    others = {name: kind for name, kind in kinds.items() if there.get(name.lower(), kind) != kind}
    renamed = {name: f"{name}_{re.sub(r'[^a-z0-9]+', '_', kind).strip('_')}" for name, kind in others.items()}
    return rows.withColumnsRenamed(renamed) if renamed else rows


def start_over(rows: DataFrame, uri: str, *, partition: str, run_id: str) -> Commit:
    """Replace all of a table, columns and all, or make it; its files are apart by the column `partition`."""
    mark = mark_of(uri, run_id=run_id, passed_rows=None)
    write = rows.write.format("delta").mode("overwrite").option("overwriteSchema", "true").partitionBy(partition)
    write.option("userMetadata", mark).save(uri)
    return commit_of(rows.sparkSession, uri, mark)


def mark_of(uri: str, *, run_id: str, passed_rows: int | None) -> str:
    """What a commit to the table at `uri` says of itself."""
    if passed_rows is None:
        return CommitMark(run_id, table_name(uri)).text()
    return CommitMark.of_gate(uri, run_id=run_id, rows=passed_rows).text()


def commit_of(spark: SparkSession, uri: str, mark: str) -> Commit:
    """The newest commit with a mark, behind those of concurrent writers; of no rows, where there is none."""
    newest_first = list(islice(commits(spark, uri), PAGE))
    ours = (Commit(commit.version, commit.rows) for commit in newest_first if commit.metadata == mark)
    return next(ours, Commit(newest_first[0].version, 0))


def commits(spark: SparkSession, uri: str) -> Iterator[TableCommit]:
    """The history of a table, the newest commit first, as far back as Delta tells of it; read page by page."""
    written = (metric("numOutputRows") - metric("numCopiedRows")).alias("rows")
    oldest: int | None = None
    for page in (PAGE * 8**number for number in count()):
        history = DeltaTable.forPath(spark, uri).history(page).orderBy(F.desc("version"))
        rows = history.select("version", "operation", "userMetadata", written, F.unix_micros("timestamp"))
        found = [TableCommit(*row) for row in rows.collect()]
        yield from (commit for commit in found if oldest is None or commit.version < oldest)
        if len(found) < page:
            return
        oldest = found[-1].version


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


def table_id(spark: SparkSession, uri: str) -> str:
    """Delta's own id of a table. A table that is made anew at the same place has another; a copy has the same."""
    return str(DeltaTable.forPath(spark, uri).detail().select("id").collect()[0][0])


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


def committed_us(spark: SparkSession, uri: str, version: int) -> int | None:
    """When a version was committed, in µs of UTC; None where Delta no longer tells. Two tables do not agree in it."""
    older = (commit for commit in commits(spark, uri) if commit.version <= version)
    found = next(older, None)
    return found.at_us if found is not None and found.version == version else None
