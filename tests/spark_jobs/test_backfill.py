"""Which parts of a backfill are still to be built."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from pedigree.features.table import Table
from pedigree.features.windows import DAY
from pedigree.jobs.build.backfill import chunks, pending
from pedigree.jobs.build.build import Jobs, build

from .sample import MARCH


def test_chunks_are_consecutive_and_end_where_the_slice_does() -> None:
    """Ten days in threes are three of three days and one of one."""
    parts = list(chunks(MARCH, 3 * DAY))
    assert [part.start_at for part in parts] == [MARCH.start_at + number * 3 * DAY for number in range(4)]
    assert [part.end_at for part in parts[:-1]] == [part.start_at for part in parts[1:]]
    assert parts[-1].end_at == MARCH.end_at


def test_what_is_built_from_the_same_is_not_pending(jobs: Jobs) -> None:
    """A built chunk is left out; with another delivery of a source or another declaration it is pending again."""
    table, parts = jobs.repository.tables["origin_weather"], list(chunks(MARCH, 5 * DAY))
    assert isinstance(table, Table)
    assert pending(table, parts, jobs) == parts
    build(table, parts[0], jobs)
    assert pending(table, parts, jobs) == parts[1:]
    fewer = replace(table, windows=replace(table.windows, features=table.windows.features[1:]))
    assert pending(fewer, parts, jobs) == parts
    landed = Path(jobs.repository.settings.landing.removeprefix("file://"), "weather.csv")
    landed.write_bytes(landed.read_bytes().replace(b",NA", b",1", 1))
    assert pending(table, parts, jobs) == parts
