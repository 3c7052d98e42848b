"""Many training sets, twice as many commits, and every hash is as it was."""

from __future__ import annotations

import os
import random
from collections.abc import Callable
from datetime import timedelta

import pandas as pd
import pytest

from pedigree.jobs.training_sets.manifest import Manifest
from pedigree.jobs.training_sets.retention import clean
from pedigree.jobs.training_sets.service import rebuild
from pedigree.jobs.training_sets.verification import verify

from .conftest import HOUR, START, World, asked, delays

CARRIERS = ("UA", "AA", "B6", "DL", "EV", "WN")
HOURS = 240
COMMITS = int(os.environ.get("PEDIGREE_COMMITS", "24"))
"""How many commits, of which a vacuum comes after each half; a hundred take two and a half minutes on two idle cores."""
SETS = COMMITS // 2


def some_delays(chance: random.Random, count: int, *, learnt: int = 0) -> pd.DataFrame:
    """Rows of any carriers at any hours, one in ten without a value."""
    rows = [
        (chance.choice(CARRIERS), chance.randrange(HOURS), chance.choice([None, *[chance.uniform(-20, 300)] * 9]))
        for _ in range(count)
    ]
    return delays(*rows, learnt=learnt)


def append(world: World, chance: random.Random) -> None:
    """New rows, of which some are as old as those that are there."""
    world.append(some_delays(chance, 20))


def late(world: World, chance: random.Random) -> None:
    """Rows that were learnt weeks after they became true."""
    world.append(some_delays(chance, 20, learnt=chance.randrange(500, 900)))


def grow(world: World, chance: random.Random) -> None:
    """Rows with a column that the table did not have."""
    world.append(some_delays(chance, 5).assign(**{f"more_{chance.randrange(10**6)}": "new"}))


def merge(world: World, chance: random.Random) -> None:
    """A correction and a backfill in one MERGE."""
    world.spark.createDataFrame(
        some_delays(chance, 30).drop_duplicates(["carrier", "event_at"])
    ).createOrReplaceTempView("corrections")
    world.spark.sql(
        f"MERGE INTO delta.`{world.uri()}` t USING corrections s ON t.carrier = s.carrier AND t.event_at = s.event_at "
        "WHEN MATCHED THEN UPDATE SET minutes = s.minutes, created_at = s.created_at "
        "WHEN NOT MATCHED THEN INSERT (carrier, event_at, created_at, minutes) "
        "VALUES (s.carrier, s.event_at, s.created_at, s.minutes)"
    )


def optimize(world: World, _chance: random.Random) -> None:
    """All small files become one."""
    world.spark.sql(f"OPTIMIZE delta.`{world.uri()}`")


def delete(world: World, chance: random.Random) -> None:
    """A tenth of a carrier's rows go."""
    world.spark.sql(
        f"DELETE FROM delta.`{world.uri()}` WHERE carrier = '{chance.choice(CARRIERS)}' AND pmod(xxhash64(event_at), 10) = 0"
    )


def vacuum(world: World) -> None:
    """Everything that may go goes."""
    assert clean(world.spark, world.uri(), world.set_store, retention=timedelta(seconds=-5)).files > 0


COMMIT: tuple[Callable[[World, random.Random], None], ...] = (append, append, late, late, grow, merge, optimize, delete)


def made_at_random(world: World, chance: random.Random) -> Manifest:
    """A set for any rows; one in three with a cut of its own."""
    rows = [(chance.choice((*CARRIERS, "ZZ")), chance.randrange(HOURS + 100)) for _ in range(200)]
    cut = START + chance.randrange(HOURS) * HOUR if chance.random() < 1 / 3 else None
    return world.create(asked(*rows), chance.choice(["lateness", "alone"]), known_by=cut)


@pytest.mark.slow
def test_sets_are_the_same_after_twice_as_many_commits(world: World) -> None:
    """Appends, late data, MERGE, OPTIMIZE, growth, deletes and two vacuums: every set hashes to what it was, on both engines."""
    chance = random.Random(2013)
    world.append(some_delays(chance, 2_000))
    sets = []
    for _ in range(SETS):
        sets.append(made_at_random(world, chance))
        if chance.random() < 0.2:
            append(world, chance)
    assert len({made.id for made in sets}) == len({made.content.hash for made in sets}) == SETS
    for number in range(1, COMMITS + 1):
        chance.choice(COMMIT)(world, chance)
        if number % SETS == 0:
            vacuum(world)
    again = [rebuild(made, world.training_sets) for made in sets]
    assert [each.content.hash for each in again] == [made.content.hash for made in sets]
    assert all(verify(made, world.set_store).is_whole for made in sets)
    world.training_sets.store.config.offline_store.engine = "spark"
    assert all(rebuild(made, world.training_sets).is_same for made in sets[::10])
    assert made_at_random(world, random.Random(1)).content.hash not in {made.content.hash for made in sets}
