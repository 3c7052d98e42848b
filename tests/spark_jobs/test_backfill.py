"""Which parts of a backfill are still to be built."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from feature_repo.settings import repo_settings
from pedigree.features.windows import DAY
from pedigree.jobs.build.backfill import chunks, pending
from pedigree.jobs.build.build import Jobs, build
from pedigree.jobs.tables import TABLES

from .sample import MARCH


@pytest.fixture(autouse=True)
def lake(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Each test has a lake of its own."""
    monkeypatch.setenv("PEDIGREE_LAKE", (tmp_path / "lake").as_uri())
    repo_settings.cache_clear()
    yield
    repo_settings.cache_clear()


def test_chunks_are_consecutive_and_end_where_the_slice_does() -> None:
    """Ten days in threes are three of three days and one of one."""
    parts = list(chunks(MARCH, 3 * DAY))
    assert [part.start_at for part in parts] == [MARCH.start_at + number * 3 * DAY for number in range(4)]
    assert [part.end_at for part in parts[:-1]] == [part.start_at for part in parts[1:]]
    assert parts[-1].end_at == MARCH.end_at


def test_what_is_built_from_the_same_is_not_pending(jobs: Jobs) -> None:
    """A built chunk is left out; with another delivery of a source or another declaration it is pending again."""
    table, parts = TABLES["origin_weather"], list(chunks(MARCH, 5 * DAY))
    assert pending(table, parts, jobs) == parts
    build(table, parts[0], jobs)
    assert pending(table, parts, jobs) == parts[1:]
    fewer = replace(table, windows=replace(table.windows, features=table.windows.features[1:]))
    assert pending(fewer, parts, jobs) == parts
    landed = Path(jobs.settings.landing.removeprefix("file://"), "weather.csv")
    landed.write_bytes(landed.read_bytes().replace(b",NA", b",1", 1))
    assert pending(table, parts, jobs) == parts
