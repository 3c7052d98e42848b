"""A table of purchases: what a first load of it needs; run as a program, one that a test may kill: `… <table> <redis>`."""

from __future__ import annotations

import random
import sys
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pandas as pd

from online.address import parse
from online.bank import Bank
from online.record import Schema, micros
from spark_jobs.materialize import load
from spark_jobs.sending import Loading
from spark_jobs.session import open_session
from spark_jobs.settings import job_settings

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


def main() -> None:
    """Load the table's first version, a few rows at a time."""
    uri, address = sys.argv[1:]
    spark = open_session(job_settings())
    spark.conf.set("spark.sql.execution.arrow.maxRecordsPerBatch", "200")
    bank = Bank.open("shop", parse(address))
    sys.stdout.write("loading\n")
    sys.stdout.flush()
    load(replace(LOADING, uri=uri), bank, spark, run_id="killed", told=lambda _rows: None)


if __name__ == "__main__":
    main()
