"""Clean-up beside a training set that is being made: the set is whole and can be made again, or nothing of it is kept."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pyarrow as pa
import pytest
from deltalake import DeltaTable, write_deltalake

from pedigree.cli.jobs.dataset_tables import cleaned
from pedigree.cli.jobs.vacuum import clean_tables
from pedigree.features.repository import current_repository
from pedigree.jobs.training_sets import service
from pedigree.jobs.training_sets.errors import VersionLostError
from pedigree.jobs.training_sets.manifest import Manifest, Pin
from pedigree.jobs.training_sets.retention import FOREVER, HELD, PIN_LASTS, Cleaned, table_properties
from pedigree.jobs.training_sets.service import delete, rebuild
from pedigree.jobs.training_sets.store import TrainingSetStore
from pedigree.jobs.training_sets.verification import verify

from .conftest import World, asked, delays

FLIGHTS = asked(("UA", 3), ("AA", 1))
EARLIER = timedelta(seconds=-5)
"""A retention that even a file of this moment is older than."""


def move_on(world: World) -> None:
    """The table is rewritten, so that no file of the version before is in the current one."""
    write_deltalake(world.folder / "delays", pa.Table.from_pandas(delays(("UA", 1, 1.0))), mode="overwrite")


def vacuum(world: World) -> Cleaned:
    """`pedigree vacuum delays`."""
    repository = current_repository()
    [done] = clean_tables(["delays"], repository, world.set_store, retention=EARLIER, is_dry_run=False)
    return done


def is_whole(manifest: Manifest, world: World) -> bool:
    """True where a set verifies and comes out the same again."""
    found = verify(manifest, world.set_store)
    return found.is_whole and not found.gone and rebuild(manifest, world.training_sets).is_same


@pytest.fixture
def meanwhile(monkeypatch: pytest.MonkeyPatch) -> Callable[[Callable[[], object], str], None]:
    """Lets something happen once while a set is made: before its rows are read, or after, before it is kept."""
    retrieved = service.retrieved

    def plan(work: Callable[[], object], when: str) -> None:
        waiting = [work]

        def patched(*arguments: Any) -> Any:
            if when == "before" and waiting:
                waiting.pop()()
            schema, batches = retrieved(*arguments)
            rows = list(batches)
            if when == "after" and waiting:
                waiting.pop()()
            return schema, iter(rows)

        monkeypatch.setattr(service, "retrieved", patched)

    return plan


@pytest.mark.parametrize("when", ["before", pytest.param("after", marks=pytest.mark.slow)])
def test_a_set_made_beside_a_vacuum_is_whole(
    world: World, meanwhile: Callable[[Callable[[], object], str], None], when: str
) -> None:
    """The table moves on and is cleaned while a set is made of it: what the set reads stays, and the vacuum says for whom."""
    told: list[str] = []

    def clean() -> None:
        move_on(world)
        move_on(world)
        told.extend(cleaned(vacuum(world), is_dry_run=False))

    meanwhile(clean, when)
    made = world.create(FLIGHTS, name="mornings")
    assert world.set_store.table(made.id, "rows")["delays__minutes"].to_pylist() == [7.0, None]
    assert is_whole(made, world)
    assert "freed 1 files" in told[0]
    assert "version 1 is held for mornings, under way since" in told[1]
    assert world.set_store.pins() == []
    assert vacuum(world).files == 0


def test_a_set_begun_while_a_vacuum_looks_is_whole(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """A set that is begun when the vacuum has looked for sets already, of a version that is old when files are removed, stays."""
    world.create(FLIGHTS, "alone")
    move_on(world)
    move_on(world)
    holders, calls = TrainingSetStore.holders, []
    begun: list[Manifest] = []

    def looked(set_store: TrainingSetStore) -> list[Manifest | Pin]:
        found = holders(set_store)
        calls.append(found)
        if len(calls) == 2:  # the first time it was for the tables' names
            begun.append(world.create(FLIGHTS))
            move_on(world)
        return found

    monkeypatch.setattr(TrainingSetStore, "holders", looked)
    vacuum(world)
    assert len(list((world.folder / "delays").glob("*.parquet"))) == 3  # of four: one for each set, and the current one
    assert is_whole(begun[0], world)


@pytest.mark.parametrize(
    ("when", "engine"),
    [
        ("before", "duckdb"),
        ("after", "duckdb"),
        pytest.param("before", "spark", marks=pytest.mark.slow),
        ("after", "spark"),
    ],
)
def test_a_version_that_somebody_removes_meanwhile_is_an_error(
    world: World, meanwhile: Callable[[Callable[[], object], str], None], when: str, engine: str
) -> None:
    """Files removed by force while a set is made of them: one error names them, nothing is kept, and the next try succeeds."""
    world.training_sets.store.config.offline_store.engine = engine

    def remove() -> None:
        move_on(world)
        DeltaTable(world.uri()).vacuum(retention_hours=0, dry_run=False, enforce_retention_duration=False)

    meanwhile(remove, when)
    with pytest.raises(VersionLostError, match=r"1 of 1 files are gone.* Run the same command again") as raised:
        world.create(FLIGHTS)
    assert world.uri() in str(raised.value)
    assert list((world.folder / "datasets").rglob("*.*")) == []
    assert is_whole(world.create(FLIGHTS), world)


def test_a_set_that_fails_leaves_nothing(world: World, meanwhile: Callable[[Callable[[], object], str], None]) -> None:
    """Whatever ends the making of a set, the user too, neither rows nor pins stay."""

    def interrupt() -> None:
        assert len(world.set_store.pins()) == 1
        raise KeyboardInterrupt

    meanwhile(interrupt, "after")
    with pytest.raises(KeyboardInterrupt):
        world.create(FLIGHTS)
    assert list((world.folder / "datasets").rglob("*.*")) == []


@pytest.mark.slow
def test_what_a_killed_run_pinned_is_let_go_after_a_week(world: World) -> None:
    """A pin that nobody took away holds its version, by name, and no longer than a set may take."""
    made = world.create(FLIGHTS)
    pin = Pin("a-run", "mornings", datetime.now(UTC), made.sources)
    world.set_store.pin(pin)
    delete(made, world.training_sets)
    move_on(world)
    assert [each.sets for each in vacuum(world).held] == [(pin,)]
    world.set_store.pin(replace(pin, begun_at=pin.begun_at - PIN_LASTS))
    done = vacuum(world)
    assert (done.files, done.held) == (1, ())


def test_a_table_stays_held_though_another_set_is_let_go_meanwhile(
    world: World, meanwhile: Callable[[Callable[[], object], str], None]
) -> None:
    """The last set of a table is deleted while the next one is made of it: Delta's own VACUUM may not take that one's version."""
    first = world.create(FLIGHTS)
    meanwhile(lambda: delete(first, world.training_sets), "after")
    second = world.create(FLIGHTS)
    assert {name: table_properties(world.uri())[name] for name in HELD} == dict.fromkeys(HELD, FOREVER)
    assert is_whole(second, world)
