"""A slice of windows over events: events into tiles, tiles into windows, and what the author's transform adds."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from pedigree.features.columns import EVENT_AT, event_column
from pedigree.features.table import Table
from pedigree.jobs.build.build_report import BuildReport, Tiles
from pedigree.jobs.build.computed_slice import ComputedSlice, count_sources, expect
from pedigree.jobs.build.jobs import Jobs
from pedigree.jobs.build.lineage_datasets import fields_of
from pedigree.jobs.build.row_reconciliation import account_for
from pedigree.jobs.cache import cached
from pedigree.jobs.conform import conform
from pedigree.jobs.contention import contended
from pedigree.jobs.sources.reader import SourceRead, read, refuse_changed, told_when_broken
from pedigree.jobs.time_slice import TimeSlice
from pedigree.jobs.windows.tile_plan import TilePlan
from pedigree.jobs.windows.tiles import with_event_time


@contextmanager
def window_slice(
    table: Table, time_slice: TimeSlice, jobs: Jobs, report: BuildReport, *, created_at: datetime
) -> Iterator[ComputedSlice]:
    """A slice of a table of windows. Its columns and types are checked before any row is computed."""
    table.refuse_missing_columns()
    jobs.progress("reading")
    plan = TilePlan.of(table, time_slice, jobs.spark, jobs.repository.lake)
    sources = read_sources(table, plan, jobs)
    events = with_event_time(jobs.events.of(table.events, sources), table.windows)
    with cached(plan.folded(events)) as folded:
        tiles = plan.completed(folded)
        rows = conform(transformed(plan, tiles, None, sources), table.view, created_at=created_at)
        with told_when_broken(source.uri for source in sources.values()):
            counts = account_for(events, table, time_slice)
        count_sources(sources.values(), report)
        refuse_changed(sources.values(), jobs.spark)
        read_rows = report.source_rows[table.sources[0].name]
        expect(table.name, "before publishing, the events", expected=read_rows, found=counts.total)
        jobs.progress(f"transforming {counts.used:,} events")
        undated = undated_rows(table, events) if counts.undated else None
        if undated is not None:
            rows = conform(transformed(plan, tiles, undated, sources), table.view, created_at=created_at)
        expect(table.name, "in the slice, the tiles", expected=counts.used, found=plan.count_events(folded))
        expected = plan.count_rows(tiles) + (0 if undated is None else undated.count())
        report.tiles = Tiles(table, plan.store.uri, fields_of(tiles.schema))
        if plan.reads_tiles:
            report.tiles_read = plan.store.version

        def keep(run_id: str) -> None:
            name = f"the tiles of {table.name}"
            kept = contended(lambda: plan.publish(tiles, sources, run_id=run_id), name)
            report.tiles_written = kept.version

        yield ComputedSlice(table, time_slice, rows, expected, counts, keep)


def read_sources(table: Table, plan: TilePlan, jobs: Jobs) -> dict[str, SourceRead]:
    """The table's sources; those of events for no more time than the slice needs, where they can be read so."""
    events = {source.name: read(jobs.spark, source, jobs.repository, plan.extent) for source in table.events.sources}
    return events | {source.name: read(jobs.spark, source, jobs.repository) for source in table.joined}


def transformed(
    plan: TilePlan, tiles: DataFrame, undated: DataFrame | None, sources: Mapping[str, SourceRead]
) -> DataFrame:
    """The table's columns for the slice; events without a time have a row without one, so that the contract names it."""
    rows, event = plan.features(tiles), event_column(plan.table.view)
    every = rows if undated is None else rows.unionByName(undated, allowMissingColumns=True)
    added = plan.table.transform(every, {name: source.rows for name, source in sources.items()})
    return added.withColumnRenamed(EVENT_AT, event)


def undated_rows(table: Table, events: DataFrame) -> DataFrame:
    """One row per key that has used events of which nobody knows when they were known."""
    undated = events.where(F.col(EVENT_AT).isNull() & F.col("outcome").isin(*table.used))
    return undated.select(*table.windows.keys, EVENT_AT).distinct()
