"""A computed slice at the gate: good rows go into the table and the others into quarantine, or all of it into quarantine."""

from __future__ import annotations

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from pedigree.jobs import delta_tables
from pedigree.jobs.build.build_report import BuildReport
from pedigree.jobs.build.computed_slice import ComputedSlice, expect
from pedigree.jobs.build.jobs import Built, Jobs
from pedigree.jobs.build.quality_gate import judge
from pedigree.jobs.build.row_reconciliation import RowCounts
from pedigree.jobs.build.verdict import BROKEN_RULES, Verdict
from pedigree.jobs.contention import contended, exclusive
from pedigree.jobs.errors import QualityGateFailedError
from pedigree.jobs.sources.reader import refuse_changed


def gate(computed: ComputedSlice, marked: DataFrame, report: BuildReport, jobs: Jobs, *, run_id: str) -> Built:
    """Publish what keeps the contract, or stop the slice.

    Args:
        marked: the slice's rows, each with the names of the rules that it breaks.
    Raises:
        QualityGateFailedError: the table stays as it was, and the whole slice is in quarantine.
        RowsUnaccountedError: rows went missing or appeared; nothing was published.
        SourceChangedError: a source was written to meanwhile; nothing was published.
    """
    name = computed.table.name
    jobs.progress("checking")
    verdict = report.verdict = judge(marked, computed.table.contract)
    refuse_changed(report.sources.values(), jobs.spark)
    if computed.expected is not None:
        expect(name, "after the transform, the slice", expected=computed.expected, found=verdict.rows)
    jobs.progress(f"publishing {verdict.rows:,} rows" if verdict.passed else "stopping")
    with exclusive(report.uri):
        if not verdict.passed:
            stop(computed, marked, verdict, report, run_id=run_id)
        return publish(computed, marked, verdict, report, run_id=run_id)


def publish(computed: ComputedSlice, marked: DataFrame, verdict: Verdict, report: BuildReport, *, run_id: str) -> Built:
    """Write the rejected rows, then the good ones, and account for all of them."""
    name, is_good = computed.table.name, F.size(BROKEN_RULES) == 0
    kept = set_apart(computed, marked.where(~is_good), report, run_id=run_id, published=True)
    good = marked.where(is_good).drop(BROKEN_RULES, *computed.unpublished)
    commit = report.published = contended(
        lambda: delta_tables.publish(
            good,
            report.uri,
            table=name,
            replaced=computed.replaced,
            run_id=run_id,
            passed_rows=verdict.rows - kept,
            made_from=computed.made_from,
        ),
        name,
    )
    expect(name, "after publishing, table and quarantine", expected=verdict.rows, found=commit.rows + kept)
    rows = report.rows = counted(computed, verdict, report, published=commit.rows, quarantined=kept)
    computed.keep(run_id)
    return Built(name, computed.time_slice, run_id, commit.version, rows, verdict)


def stop(computed: ComputedSlice, marked: DataFrame, verdict: Verdict, report: BuildReport, *, run_id: str) -> None:
    """Keep the whole slice in quarantine and end the run with the reason."""
    name = computed.table.name
    kept = set_apart(computed, marked, report, run_id=run_id, published=False)
    expect(name, "at the gate, the quarantined", expected=verdict.rows, found=kept)
    report.rows = counted(computed, verdict, report, published=0, quarantined=kept)
    version = delta_tables.current_version(marked.sparkSession, report.uri)
    raise QualityGateFailedError(name, rows=kept, broken=verdict.reasons, version=version, quarantine=report.quarantine)


def set_apart(
    computed: ComputedSlice, rejected: DataFrame, report: BuildReport, *, run_id: str, published: bool
) -> int:
    """Write rejected rows to the table's quarantine; returns how many."""
    commit = report.quarantined = contended(
        lambda: delta_tables.quarantine(
            rejected,
            report.quarantine,
            event=computed.event,
            time_slice=computed.time_slice,
            is_whole=computed.is_whole,
            run_id=run_id,
            published=published,
        ),
        report.quarantine,
    )
    return commit.rows


def counted(
    computed: ComputedSlice, verdict: Verdict, report: BuildReport, *, published: int, quarantined: int
) -> RowCounts:
    """The build in numbers."""
    return RowCounts(computed.events, report.source_rows, verdict.rows, published, quarantined)
