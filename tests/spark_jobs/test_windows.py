"""Rolling windows against DuckDB, which sees the facts themselves and no hours."""

from __future__ import annotations

import random
from datetime import UTC, datetime, timedelta

import duckdb
import pandas as pd
import pytest
from pyspark.sql import SparkSession

from spark_jobs.windows import DAY, HOUR, Operation, Rolling, longest, roll

FEATURES = [
    Rolling("delay", operation, over=span, of="delay")
    for operation in (Operation.COUNT, Operation.SUM, Operation.AVG, Operation.MIN, Operation.MAX)
    for span in (HOUR, 6 * HOUR, 7 * DAY)
]
SQL = {"count": "count", "sum": "sum", "avg": "avg", "min": "min", "max": "max"}


def facts(seed: int) -> pd.DataFrame:
    """Facts of five keys over a month: many in one hour, long gaps, nulls, and hours with nulls only."""
    chance = random.Random(seed)
    start = datetime(2013, 3, 1, tzinfo=UTC)
    rows = [
        {
            "carrier": chance.choice(["AA", "B6", "UA", "WN", "9E"]),
            "event_at": start + timedelta(hours=min(chance.randrange(24 * 30), chance.randrange(24 * 30))),
            "delay": None if chance.random() < 0.2 else float(chance.randrange(-30, 300)),
        }
        for _ in range(1500)
    ]
    return pd.DataFrame(rows)


@pytest.mark.parametrize("seed", [1, 2])
def test_windows_equal_those_of_duckdb(spark: SparkSession, seed: int) -> None:
    """Every operation over every span equals an aggregate over the facts of `(t - span, t]`, nulls left out."""
    frame = facts(seed)
    database = duckdb.connect()
    database.register("facts", frame.assign(event_at=frame["event_at"].dt.tz_localize(None)))
    columns = ", ".join(
        f"(SELECT {SQL[feature.operation]}(f.delay) FROM facts f WHERE f.carrier = h.carrier"
        f" AND f.event_at <= h.event_at AND f.event_at > h.event_at - INTERVAL {int(feature.over / HOUR)} HOUR)"
        f" AS {feature.name}"
        for feature in FEATURES
    )
    expected = database.sql(
        f"SELECT *, {columns} FROM (SELECT DISTINCT carrier, event_at FROM facts) h ORDER BY carrier, event_at"
    ).df()
    found = roll(spark.createDataFrame(frame), ("carrier",), FEATURES).orderBy("carrier", "event_at").toPandas()
    pd.testing.assert_frame_equal(found, expected, check_dtype=False, rtol=1e-12)
    assert len(found) > 500


def test_a_feature_names_itself() -> None:
    """A feature is named by what it is, how it is folded, and over how long."""
    assert Rolling("arrival_delay", Operation.AVG, over=7 * DAY, of="x").name == "arrival_delay_avg_7d"
    assert Rolling("visibility", Operation.MIN, over=6 * HOUR, of="x").name == "visibility_min_6h"


def test_the_lookback_is_the_longest_window() -> None:
    """A slice's first row needs facts from one longest window before it."""
    assert longest(FEATURES) == 7 * DAY
