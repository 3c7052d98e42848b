"""Verdicts on the versions of tables that somebody else writes, kept as a Delta table of our lake: theirs cannot carry our mark.

A verdict is on one version of one table, known by the table's id and the commit's time: not on one of the same number after the
table was made anew.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from datetime import UTC, datetime

from delta.tables import DeltaTable
from pyspark.sql import SparkSession

from pedigree.jobs import delta_tables

COLUMNS = (
    "table_id STRING, uri STRING, version LONG, committed_us LONG, passed BOOLEAN, rows LONG, reasons ARRAY<STRING>, "
    "run_id STRING, audited_at TIMESTAMP"
)


@dataclass(frozen=True, slots=True)
class AuditedVersion:
    """A version of a table, and how the table and the commit are known again."""

    table_id: str
    uri: str
    version: int
    committed_us: int | None

    @classmethod
    def of(cls, spark: SparkSession, uri: str, version: int) -> AuditedVersion:
        """A version of the table that is at `uri` now."""
        committed_us = delta_tables.committed_us(spark, uri, version)
        return cls(table_id(spark, uri), uri, version, committed_us)


def table_id(spark: SparkSession, uri: str) -> str:
    """The id in a table's metadata, which a table that is made anew does not share."""
    return str(DeltaTable.forPath(spark, uri).detail().select("id").collect()[0][0])


def record(
    spark: SparkSession,
    log: str,
    audited: AuditedVersion,
    *,
    passed: bool,
    rows: int,
    reasons: tuple[str, ...],
    run_id: str,
) -> None:
    """Keep a verdict. A later one on the same version counts for it.

    Args:
        log: the URI of the table's audit log.
    """
    verdict = {
        "passed": passed,
        "rows": rows,
        "reasons": list(reasons),
        "run_id": run_id,
        "audited_at": datetime.now(UTC),
    }
    entry = spark.createDataFrame([{**asdict(audited), **verdict}], COLUMNS)
    delta_tables.append(entry.coalesce(1), log, run_id=run_id)


def passed_versions(spark: SparkSession, log: str, uri: str) -> frozenset[int]:
    """The versions of the table at `uri` whose newest verdict let them pass; none where there is no log."""
    if not DeltaTable.isDeltaTable(spark, log) or not DeltaTable.isDeltaTable(spark, uri):
        return frozenset()
    ours = spark.read.format("delta").load(log).where(f"table_id = '{table_id(spark, uri)}'").orderBy("audited_at")
    newest = {(row["version"], row["committed_us"]): row["passed"] for row in ours.collect()}
    times = {commit.version: commit.at_us for commit in delta_tables.commits(spark, uri)} if newest else {}
    return frozenset(version for (version, at_us), is_good in newest.items() if is_good and times.get(version) == at_us)
