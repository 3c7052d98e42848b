"""Declared windows, compiled to tiles, against DuckDB, which sees the events themselves."""

from __future__ import annotations

import math
import random
from collections.abc import Iterable
from datetime import datetime, timedelta

import pandas as pd
import pytest
from feast.types import Array, String
from hypothesis import HealthCheck, Phase, assume, given, settings
from hypothesis import strategies as st
from pyspark.sql import SparkSession
from pyspark.sql import functions as F

from pedigree.features.windows import DAY, HOUR, MINUTE, SECOND, Aggregation, Kind, Operation, Windows
from pedigree.jobs.intervals import Interval
from pedigree.jobs.windows.tiles import gathered
from pedigree.jobs.windows.window_features import featured

from .asked_of_duckdb import answers

SCHEMA = "case_id INT, known_at TIMESTAMP, amount DOUBLE, place STRING"
START = datetime(2013, 3, 1)
EVER = Interval(0, 2**40)
SHAPES = [
    (HOUR, HOUR, Kind.SLIDING),
    (HOUR, 6 * HOUR, Kind.SLIDING),
    (HOUR, 60 * HOUR, Kind.SLIDING),
    (HOUR, 7 * DAY, Kind.SLIDING),
    (HOUR, 20 * DAY, Kind.SLIDING),
    (HOUR, 365 * DAY, Kind.SLIDING),
    (MINUTE, 2 * HOUR, Kind.SLIDING),
    (SECOND, 90 * SECOND, Kind.SLIDING),
    (DAY, 3 * DAY, Kind.SLIDING),
    (HOUR, 6 * HOUR, Kind.TUMBLING),
    (HOUR, 7 * DAY, Kind.TUMBLING),
    (MINUTE, HOUR, Kind.SAWTOOTH),
    (HOUR, 2 * DAY, Kind.SAWTOOTH),
    (HOUR, 30 * DAY, Kind.SAWTOOTH),
]


def every_operation(every: timedelta, over: timedelta, kind: Kind) -> Windows:
    """All operations over one shape of window, on numbers and where it makes sense on words."""
    plain = [op for op in Operation if op not in (Operation.PERCENTILE, Operation.TOP_K)]
    numbers = [Aggregation("amount", operation, over, kind=kind) for operation in plain]
    percentiles = [Aggregation("amount", Operation.PERCENTILE, over, kind=kind, argument=at) for at in (0, 50, 95, 100)]
    words = [
        Aggregation("place", operation, over, kind=kind, dtype=String)
        for operation in (Operation.COUNT, Operation.MIN, Operation.MAX, Operation.FIRST, Operation.LAST)
    ]
    tops = [Aggregation("place", Operation.TOP_K, over, kind=kind, argument=k, dtype=Array(String)) for k in (1, 3)]
    distinct = Aggregation("place", Operation.DISTINCT_COUNT, over, kind=kind)
    return Windows(("case_id",), every, (*numbers, *percentiles, *words, *tops, distinct))


def moments(every: timedelta, over: timedelta) -> st.SearchStrategy[datetime]:
    """Instants on and off the edges of tiles and of windows, over some three windows."""
    steps = 3 * over // every
    on_edge = st.integers(0, steps).map(lambda step: START + step * every)
    near = st.integers(-1, 1).map(lambda micros: timedelta(microseconds=micros))
    return st.builds(lambda at, off: at + off, on_edge, near) | on_edge.map(lambda at: at + every / 3)


def case(every: timedelta, over: timedelta) -> st.SearchStrategy[list[tuple[datetime, float | None, str | None]]]:
    """The events of one key: repeated instants and values, nulls, NaN, and numbers far from zero."""
    amounts = st.none() | st.just(math.nan) | st.integers(-3, 3).map(float) | st.floats(1e6, 1e6 + 1)
    return st.lists(
        st.tuples(moments(every, over), amounts, st.none() | st.sampled_from("abcd")), min_size=1, max_size=40
    )


@pytest.mark.parametrize(("every", "over", "kind"), SHAPES, ids=lambda part: str(part))
def test_windows_equal_those_of_duckdb(spark: SparkSession, every: timedelta, over: timedelta, kind: Kind) -> None:
    """Every operation over every kind and length of window equals DuckDB's over the events of the window's bounds."""
    windows = every_operation(every, over, kind)

    @settings(
        max_examples=1, deadline=None, phases=[Phase.generate], suppress_health_check=list(HealthCheck), database=None
    )
    @given(st.lists(case(every, over), min_size=40, max_size=60))
    def holds(cases: list[list[tuple[datetime, float | None, str | None]]]) -> None:
        assume(len({len(case) for case in cases}) > 5)  # the first that is drawn is the simplest, with one event each
        events = [(number, *event) for number, events in enumerate(cases) for event in events]
        rows = featured(gathered(spark.createDataFrame(events, SCHEMA), windows), windows, EVER)
        found = rows.orderBy("case_id", "event_at").toPandas()
        frame = pd.DataFrame(events, columns=["case_id", "known_at", "amount", "place"])
        expected = answers(frame.astype({"amount": "float64"}), windows)
        assert_same(found, expected)

    holds()


def assert_same(found: pd.DataFrame, expected: pd.DataFrame) -> None:
    """The same rows and values; numbers to a billionth."""
    lists = [name for name in found.columns if "_top" in str(name)]
    for frame in (found, expected):
        for name in lists:
            frame[name] = frame[name].map(lambda value: ",".join(value) if isinstance(value, Iterable) else None)
    pd.testing.assert_frame_equal(found, expected, check_dtype=False, rtol=1e-9, atol=1e-9)


def test_a_deviation_far_from_zero_is_right(spark: SparkSession) -> None:
    """Values of a billion and a bit, in tiles far apart, keep the deviation that they have, which squares would lose."""
    windows = Windows(("case_id",), HOUR, (Aggregation("amount", Operation.STDDEV, 7 * DAY),))
    values = [1e9 + offset for offset in (1.0, 2.0, 4.0, 8.0, 16.0)]
    events = [(1, START + number * 20 * HOUR, value, None) for number, value in enumerate(values)]
    rows = featured(gathered(spark.createDataFrame(events, SCHEMA), windows), windows, EVER)
    [last] = rows.where(F.col("event_at") == F.lit(events[-1][1] + HOUR)).collect()
    assert last["amount_stddev_7d"] == pytest.approx(pd.Series([1.0, 2.0, 4.0, 8.0, 16.0]).std(), rel=1e-7)


MIXED = Windows(
    ("case_id",),
    HOUR,
    (
        Aggregation("amount", Operation.COUNT, HOUR),
        Aggregation("amount", Operation.SUM, 6 * HOUR),
        Aggregation("amount", Operation.COUNT, 3 * DAY),
        Aggregation("amount", Operation.MAX, 60 * HOUR),
        Aggregation("amount", Operation.COUNT, 2 * DAY, kind=Kind.SAWTOOTH),
        Aggregation("amount", Operation.COUNT, 6 * HOUR, kind=Kind.TUMBLING),
    ),
)


@pytest.mark.parametrize("seed", [1, 2])
def test_the_newest_row_is_right_at_any_instant(spark: SparkSession, seed: int) -> None:
    """Whatever the instant, the newest row of a key holds what its windows hold at the last end of a tile: a count falls."""
    chance = random.Random(seed)
    events = [
        (number, START + timedelta(seconds=chance.randrange(216) * 3600 + chance.choice([0, 1, 3599])), amount, "a")
        for number in range(30)
        for amount in chance.choices([None, 1.0, 2.5], k=chance.randrange(1, 40))
    ]
    rows = featured(gathered(spark.createDataFrame(events, SCHEMA), MIXED), MIXED, EVER).toPandas()
    seconds = [chance.randrange(12 * 86400) for _ in range(600)]
    instants = [(place % 30, START + timedelta(seconds=second)) for place, second in enumerate(seconds)]
    asked = pd.DataFrame(instants, columns=["case_id", "asked_at"]).astype({"case_id": "int32"}).sort_values("asked_at")
    found = pd.merge_asof(
        asked, rows.sort_values("event_at"), left_on="asked_at", right_on="event_at", by="case_id"
    ).dropna(subset=["event_at"])
    frame = pd.DataFrame(events, columns=["case_id", "known_at", "amount", "place"]).astype({"amount": "float64"})
    expected = answers(frame, MIXED, at=found[["case_id", "asked_at"]])
    columns = ["case_id", "asked_at", *MIXED.names]
    assert len(found) > 50
    assert_same(
        found[columns].sort_values(["case_id", "asked_at"], ignore_index=True),
        expected[columns].sort_values(["case_id", "asked_at"], ignore_index=True),
    )
