"""A table of purchases, and what a load of it needs."""

from __future__ import annotations

import random
from datetime import UTC, datetime, timedelta

import pandas as pd

from pedigree.jobs.materialize.redis_writer import Loading
from pedigree.online.records.record import Schema, micros

DAY = timedelta(days=1)
START = datetime(2026, 1, 1, tzinfo=UTC)
EVENTS = [START + number * DAY for number in range(30)]
SCHEMA = Schema.of([("spend", "DOUBLE"), ("items", "INT64"), ("shop", "STRING")])


START_US = micros(START)
LOADING = Loading(
    view="purchases",
    uri="",
    version=0,
    schema=SCHEMA,
    join_keys=(("customer", "INT64"),),
    event="event_at",
    created="created_at",
    renamed=(),
    since_us=START_US,
    until_us=micros(EVENTS[-1] + DAY),
    latest_us=micros(datetime(2098, 1, 1, tzinfo=UTC)),
    published=0,
)


def rows_at(count: int, *, customers: int, seed: int) -> pd.DataFrame:
    """Purchases at random days; the first ones see to it that every customer has one, and no two are made at one instant."""
    rng = random.Random(seed)
    return pd.DataFrame(
        {
            "customer": [number if number < customers else rng.randrange(customers) for number in range(count)],
            "event_at": [rng.choice(EVENTS) for _ in range(count)],
            "created_at": [START + timedelta(days=40 + seed, seconds=number) for number in range(count)],
            "spend": [round(rng.random() * 100, 2) for _ in range(count)],
            "items": [rng.randrange(300) for _ in range(count)],
            "shop": [rng.choice(["north", "south", None]) for _ in range(count)],
        }
    )
