"""A long slice in chunks, one after the other: what is published stays, so a backfill that was stopped goes on where it was."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta

from feature_repo.settings import repo_settings
from spark_jobs import lake
from spark_jobs.sources import read
from spark_jobs.spine import Jobs
from spark_jobs.table import FeatureTable
from spark_jobs.tileplan import built_from, open_store
from spark_jobs.tiles import row_tiles
from spark_jobs.timeslice import TimeSlice


def chunks(time_slice: TimeSlice, length: timedelta) -> Iterator[TimeSlice]:
    """The slice in parts of a length, in order; the last may be shorter."""
    start_at: datetime = time_slice.start_at
    while start_at < time_slice.end_at:
        end_at = min(start_at + length, time_slice.end_at)
        yield TimeSlice(start_at, end_at)
        start_at = end_at


def pending(table: FeatureTable, parts: Sequence[TimeSlice], jobs: Jobs) -> Sequence[TimeSlice]:
    """The parts that are not yet published from the sources and the declarations as they are now.

    Raises:
        SourceMissingError: a source is not there.
    """
    if lake.current_version(jobs.spark, repo_settings().table(table.name)) is None:
        return parts
    sources = {source.name: read(jobs.spark, source, jobs.settings) for source in table.sources}
    store, origin = open_store(table, jobs.spark), built_from(table, sources)
    every = table.windows.every
    return [part for part in parts if not store.is_built(row_tiles(part, every), origin)]
