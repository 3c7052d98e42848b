"""What a build read, wrote and counted, gathered as it goes and told to its run in one place, however the build ends."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field

from pedigree.features.table import FeatureTable, Table
from pedigree.jobs.build import lineage_datasets
from pedigree.jobs.build.row_reconciliation import RowCounts
from pedigree.jobs.build.verdict import Verdict
from pedigree.jobs.delta_tables import Commit
from pedigree.jobs.sources.reader import SourceRead
from pedigree.lineage.dataset import Field
from pedigree.lineage.recorder import Run


@dataclass(frozen=True, slots=True)
class Tiles:
    """The tiles of a table's windows: where they are kept, and their columns."""

    table: Table
    uri: str
    fields: tuple[Field, ...]


@dataclass(slots=True)
class BuildReport:
    """A build so far.

    Attributes:
        table: what is built, and `uri` where.
        sources: what was read, and `source_rows` how many rows of each.
        tiles: what windows are made of, where there are windows, and `tiles_read` and `tiles_written` in which versions.
        audited: the version of somebody else's table that was looked at.
        verdict: what the gate said.
        quarantined, published: the commits.
        rows: how many rows became what.
    """

    table: FeatureTable
    uri: str
    quarantine: str
    sources: Mapping[str, SourceRead] = field(default_factory=dict)
    source_rows: Mapping[str, int] = field(default_factory=dict)
    tiles: Tiles | None = None
    tiles_read: int | None = None
    tiles_written: int | None = None
    audited: int | None = None
    verdict: Verdict | None = None
    quarantined: Commit | None = None
    published: Commit | None = None
    rows: RowCounts | None = None

    def tell(self, run: Run) -> None:
        """Tell the run everything that happened."""
        for dataset in lineage_datasets.read_by(self):
            run.reads(dataset)
        for dataset in lineage_datasets.written_by(self):
            run.writes(dataset)
        if self.rows is not None:
            run.note("rows", lineage_datasets.rows_note(self.rows))


@contextmanager
def reporting(report: BuildReport, run: Run) -> Iterator[BuildReport]:
    """Within the block the report is filled; at its end, or when it fails, the run is told."""
    try:
        yield report
    finally:
        report.tell(run)
