"""The one way in which a slice of a feature table comes to be: compute, conform, check, publish, in one recorded run."""

from __future__ import annotations

from pedigree.features.file_table import FileTable
from pedigree.features.table import ExternalTable, FeatureTable, Table, TransformTable
from pedigree.jobs.build.build_report import BuildReport, reporting
from pedigree.jobs.build.computed_slice import Computing
from pedigree.jobs.build.external_audit import audit
from pedigree.jobs.build.file_slice import file_slice
from pedigree.jobs.build.jobs import Built, Jobs
from pedigree.jobs.build.publication import gate
from pedigree.jobs.build.quality_gate import mark
from pedigree.jobs.build.transform_slice import transform_slice
from pedigree.jobs.build.window_slice import window_slice
from pedigree.jobs.cache import cached
from pedigree.jobs.time_slice import TimeSlice

__all__ = ["Built", "Jobs", "build"]


def build(table: FeatureTable, time_slice: TimeSlice, jobs: Jobs) -> Built:
    """Build one slice of one table; the same slice again replaces itself. A table of somebody else's is audited instead.

    Raises:
        SourceMissingError, SourceBrokenError, SourceChangedError, SchemaBrokenError, ContractError, RowsUnaccountedError: nothing
            was published.
        QualityGateFailedError: the table stays as it was, and the whole slice is in quarantine.
    """
    if isinstance(table, ExternalTable):
        return audit(table, time_slice, jobs)
    nominal, lake = (time_slice.start_at, time_slice.end_at), jobs.repository.lake
    with (
        jobs.recorder.run("build", table.name, nominal=nominal, description=table.view.description) as run,
        reporting(BuildReport(table, lake.table(table.name), lake.quarantine(table.name)), run) as report,
        computing(table)(table, time_slice, jobs, report, created_at=run.started_at) as computed,
        cached(mark(computed.rows, table.contract)) as marked,
    ):
        return gate(computed, marked, report, jobs, run_id=run.id)


def computing(table: FeatureTable) -> Computing:
    """How the slices of a table are computed."""
    ways: dict[type[FeatureTable], Computing] = {
        Table: window_slice,
        TransformTable: transform_slice,
        FileTable: file_slice,
    }
    return ways[type(table)]
