"""A long slice in chunks, one after the other: what is published stays, so a backfill that was stopped goes on where it was."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta

from pedigree.features.table import FeatureTable, Table
from pedigree.jobs import delta_tables
from pedigree.jobs.build.jobs import Jobs
from pedigree.jobs.sources.reader import read
from pedigree.jobs.time_slice import TimeSlice
from pedigree.jobs.windows.tile_plan import built_from, open_store
from pedigree.jobs.windows.tiles import row_tiles


def chunks(time_slice: TimeSlice, length: timedelta) -> Iterator[TimeSlice]:
    """The slice in parts of a length, in order; the last may be shorter."""
    start_at: datetime = time_slice.start_at
    while start_at < time_slice.end_at:
        end_at = min(start_at + length, time_slice.end_at)
        yield TimeSlice(start_at, end_at)
        start_at = end_at


def pending(table: FeatureTable, parts: Sequence[TimeSlice], jobs: Jobs) -> Sequence[TimeSlice]:
    """The parts that are not yet published from the sources and the declarations as they are now; all, but for tables of windows.

    Raises:
        SourceMissingError: a source is not there.
    """
    if not isinstance(table, Table):
        return parts  # what a transform or somebody else's table is made from is not remembered
    if delta_tables.current_version(jobs.spark, jobs.repository.lake.table(table.name)) is None:
        return parts
    sources = {source.name: read(jobs.spark, source, jobs.repository) for source in table.sources}
    store, origin = open_store(table, jobs.spark, jobs.repository.lake), built_from(table, sources)
    every = table.windows.every
    return [part for part in parts if not store.is_built(row_tiles(part, every), origin)]
