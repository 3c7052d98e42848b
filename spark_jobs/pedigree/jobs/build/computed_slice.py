"""A slice of a table that is computed and not yet checked."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any

from pyspark.sql import DataFrame

from pedigree.features.columns import created_column, event_column
from pedigree.features.table import FeatureTable
from pedigree.jobs.build.build_report import BuildReport
from pedigree.jobs.build.row_reconciliation import NO_EVENTS, EventCounts
from pedigree.jobs.conform import promised
from pedigree.jobs.errors import RowsUnaccountedError
from pedigree.jobs.sources.reader import SourceRead
from pedigree.jobs.time_slice import TimeSlice

Computing = Callable[..., AbstractContextManager["ComputedSlice"]]
"""`(table, time_slice, jobs, report, *, created_at)`: a slice that can be read as long as the context is open."""


EVERYTHING = "true"
"""The predicate of all rows."""


def nothing_kept(_run_id: str) -> None:
    """Nothing is kept beside the table."""


@dataclass(frozen=True, slots=True)
class ComputedSlice:
    """A computed slice on its way to the gate.

    Attributes:
        rows: what the view promises, with the created time.
        expected: how many rows it must have; None where nothing says so.
        events: where the events are that it was made of.
        keep: keeps what later slices look back on, once the slice is published. It is given the run's id.
        checked: columns that the contract looks at; those that the view does not promise are not published.
        is_whole: it stands for the whole table, not for the rows of its time.
        made_from: what tells the state that it was made from from every other, where the commit has to remember it.
    """

    table: FeatureTable
    time_slice: TimeSlice
    rows: DataFrame
    expected: int | None = None
    events: EventCounts = NO_EVENTS
    keep: Callable[[str], Any] = nothing_kept
    is_whole: bool = False
    checked: frozenset[str] = frozenset()
    made_from: str | None = None

    @property
    def event(self) -> str:
        """The column with the event time."""
        return event_column(self.table.view)

    @property
    def unpublished(self) -> list[str]:
        """The columns that are there for the contract alone."""
        return sorted(self.checked - set(promised(self.table.view)) - {created_column(self.table.view)})

    @property
    def replaced(self) -> str:
        """The part of the table that it stands for, as a predicate in SQL."""
        return EVERYTHING if self.is_whole else self.time_slice.predicate(self.event)


def count_sources(sources: Iterable[SourceRead], report: BuildReport) -> None:
    """Report what is read, and how many rows each source has."""
    reads = {read.source.name: read for read in sources}
    report.sources = reads
    report.source_rows = {name: read.rows.count() for name, read in reads.items()}


def expect(table: str, step: str, *, expected: int, found: int) -> None:
    """Raise where rows went missing or appeared."""
    if expected != found:
        raise RowsUnaccountedError(table, step, expected=expected, found=found)
