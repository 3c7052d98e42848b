"""The audit of a Delta table that somebody else writes: its newest version against the contract, as a whole."""

from __future__ import annotations

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from pedigree.features.columns import created_column, event_column
from pedigree.features.table import ExternalTable
from pedigree.jobs import audit_log, delta_tables
from pedigree.jobs.audit_log import AuditedVersion
from pedigree.jobs.build.build_report import BuildReport, reporting
from pedigree.jobs.build.jobs import Built, Jobs
from pedigree.jobs.build.quality_gate import judge, mark
from pedigree.jobs.build.row_reconciliation import NO_EVENTS, RowCounts
from pedigree.jobs.build.verdict import BROKEN_RULES, Verdict
from pedigree.jobs.cache import cached
from pedigree.jobs.column_names import all_named, named
from pedigree.jobs.conform import differences, promised
from pedigree.jobs.errors import ExternalTableMissingError, SchemaBrokenError, VersionRefusedError
from pedigree.jobs.time_slice import TimeSlice


def audit(table: ExternalTable, time_slice: TimeSlice, jobs: Jobs) -> Built:
    """Look at all rows of the newest version, whatever the slice, and keep the verdict.

    Raises:
        ExternalTableMissingError: there is no Delta table.
        SchemaBrokenError: the table lacks a column of the view, or has it in another type; there is no verdict.
        VersionRefusedError: rows break the contract; the version is not loaded.
    """
    uri, lake = table.uri, jobs.repository.lake
    version = delta_tables.current_version(jobs.spark, uri)
    if version is None:
        raise ExternalTableMissingError(table.name, uri)
    audited = AuditedVersion.of(jobs.spark, uri, version)
    with (
        jobs.recorder.run("audit", table.name, description=table.view.description) as run,
        reporting(BuildReport(table, uri, lake.quarantine(table.name)), run) as report,
        cached(mark(promised_rows(table, version, jobs), table.contract)) as marked,
    ):
        jobs.progress(f"auditing version {version}")
        report.audited = version
        verdict = report.verdict = judge(marked, table.contract)
        broken = marked.where(F.size(BROKEN_RULES) > 0)
        kept = keep_broken(table, broken, report, run_id=run.id)
        report.rows = RowCounts(NO_EVENTS, {table.name: verdict.rows}, verdict.rows, verdict.rows - kept, kept)
        passes = verdict.passed and (table.tolerates or not kept)
        reasons = () if passes else reasons_of(verdict)
        log = lake.audits(table.name)
        audit_log.record(jobs.spark, log, audited, passed=passes, rows=verdict.rows, reasons=reasons, run_id=run.id)
        if not passes:
            stays = max(audit_log.passed_versions(jobs.spark, log, uri), default=None)
            raise VersionRefusedError(
                table.name, uri, version=version, broken=reasons, stays=stays, quarantine=report.quarantine
            )
        return Built(table.name, time_slice, run.id, version, report.rows, verdict)


def promised_rows(table: ExternalTable, version: int, jobs: Jobs) -> DataFrame:
    """The columns of a version that the view promises, and the created time where there is one.

    Raises:
        SchemaBrokenError: one is missing or of another type.
    """
    rows = delta_tables.at_version(jobs.spark, table.uri, version)
    found = {field.name: field.dataType for field in rows.schema}
    expected = promised(table.view, found)
    problems = differences(expected, {name: dtype for name, dtype in found.items() if name in expected})
    if problems:
        raise SchemaBrokenError(table.name, [f"{problem} by {table.uri}" for problem in problems])
    created = created_column(table.view)
    return rows.select(*all_named([*expected, *([created] if created in found else [])]))


def keep_broken(table: ExternalTable, broken: DataFrame, report: BuildReport, *, run_id: str) -> int:
    """Keep the rows that break rules in our quarantine, in place of those of the audit before; returns how many."""
    kept = delta_tables.quarantined(broken, named(event_column(table.view)), run_id=run_id, published=table.tolerates)
    commit = report.quarantined = delta_tables.replace(
        kept, report.quarantine, predicate="true", run_id=run_id, adds_columns=True
    )
    return commit.rows


def reasons_of(verdict: Verdict) -> tuple[str, ...]:
    """Why a version is refused: the rules that do not hold, and those that some rows break."""
    some = (
        f"{rule.name} ({rule.broken_rows:,} of {verdict.rows:,} rows break it)"
        for rule in verdict.rules
        if rule.held and rule.broken_rows
    )
    return (*verdict.reasons, *some)
