"""The point-in-time join against a loop over all rows, and against DuckDB's ASOF join."""

from __future__ import annotations

import random
from datetime import datetime, timedelta
from typing import Any

import duckdb
import pandas as pd
import pytest
from pyspark.sql import SparkSession

from pedigree.jobs.historical.pointintime_spark import TimeLine, as_of

START = datetime(2013, 3, 1)
FACTS = "carrier STRING, flight BIGINT, event_at TIMESTAMP, created_at TIMESTAMP, delay DOUBLE, gate STRING"
LABELS = "row BIGINT, airline STRING, number INT, at TIMESTAMP"


def instant(chance: random.Random) -> datetime:
    """One of few instants, so that ties and exact boundaries are common."""
    return START + timedelta(hours=chance.randrange(60))


def facts(seed: int, count: int = 600) -> list[dict[str, Any]]:
    """Feature rows with repeated instants, corrections of the same event, null keys, null features and no event time."""
    chance = random.Random(seed)
    return [
        {
            "carrier": chance.choice(["AA", "B6", "UA", None]),
            "flight": chance.choice([1, 2, 11, 12, None]),
            "event_at": None if chance.random() < 0.02 else instant(chance),
            "created_at": instant(chance) + timedelta(minutes=number, seconds=chance.randrange(60)),
            "delay": chance.choice([None, float(number)]),
            "gate": chance.choice([None, f"G{number}"]),
        }
        for number in range(count)
    ]


def labels(seed: int, count: int = 1000) -> list[dict[str, Any]]:
    """Labels with duplicates, null keys, keys that no row has, and instants before the first row."""
    chance = random.Random(-seed)
    return [
        {
            "row": number,
            "airline": chance.choice(["AA", "B6", "UA", "XX", None]),
            "number": chance.choice([1, 2, 11, 12, 99, None]),
            "at": instant(chance) - timedelta(hours=5),
        }
        for number in range(count)
    ]


def by_hand(
    label: dict[str, Any], rows: list[dict[str, Any]], ttl: timedelta, *, knowledge_time: bool
) -> tuple[Any, Any]:
    """Look at every row, and keep the newest that may be seen."""
    seen = [
        row
        for row in rows
        if row["carrier"] is not None
        and (row["carrier"], row["flight"]) == (label["airline"], label["number"])
        and row["event_at"] is not None
        and row["event_at"] <= label["at"]
        and (not ttl or row["event_at"] >= label["at"] - ttl)
        and (not knowledge_time or row["created_at"] <= label["at"])
        and row["flight"] is not None
    ]
    newest = max(seen, key=lambda row: (row["event_at"], row["created_at"]), default={"delay": None, "gate": None})
    return newest["delay"], newest["gate"]


def line(spark: SparkSession, rows: list[dict[str, Any]], ttl: timedelta) -> TimeLine:
    return TimeLine(
        rows=spark.createDataFrame(rows, FACTS),
        keys={"carrier": "airline", "flight": "number"},
        event_at="event_at",
        created_at="created_at",
        features={"delays__delay": "delay", "delays__gate": "gate"},
        ttl=ttl,
    )


@pytest.mark.parametrize("knowledge_time", [True, False], ids=["known by then", "true by then"])
@pytest.mark.parametrize("ttl", [timedelta(0), timedelta(hours=6), timedelta(hours=48)], ids=str)
@pytest.mark.parametrize("seed", [1, 2])
def test_each_label_gets_what_a_loop_over_all_rows_finds(
    spark: SparkSession, seed: int, ttl: timedelta, knowledge_time: bool
) -> None:
    """Ties, corrections, boundaries of the ttl, nulls and duplicates: each of a thousand labels once, with the same values."""
    rows, asked = facts(seed), labels(seed)
    found = as_of(
        spark.createDataFrame(asked, LABELS), line(spark, rows, ttl), instant="at", knowledge_time=knowledge_time
    )
    assert found.columns == ["row", "airline", "number", "at", "delays__delay", "delays__gate"]
    answers = {row["row"]: (row["delays__delay"], row["delays__gate"]) for row in found.collect()}
    assert len(answers) == found.count() == len(asked)
    expected = {label["row"]: by_hand(label, rows, ttl, knowledge_time=knowledge_time) for label in asked}
    assert answers == expected
    assert sum(value is not None for pair in expected.values() for value in pair) > 100


def test_the_newest_row_is_that_of_duckdbs_asof_join(spark: SparkSession) -> None:
    """Without ties, over ten thousand labels, the values are those of DuckDB's ASOF join."""
    chance = random.Random(5)
    moments = chance.sample(range(1_000_000), 5_000)
    rows = [
        {**row, "event_at": START + timedelta(seconds=moment)}
        for row, moment in zip(facts(5, 5_000), moments, strict=True)
    ]
    asked = [{**label, "at": START + timedelta(seconds=chance.randrange(1_000_000))} for label in labels(5, 10_000)]
    found = as_of(
        spark.createDataFrame(asked, LABELS), line(spark, rows, timedelta(0)), instant="at", knowledge_time=False
    )
    database = duckdb.connect()
    database.register("facts", pd.DataFrame(rows).astype({"flight": "Int64"}))
    database.register("asked", pd.DataFrame(asked).astype({"number": "Int64"}))
    query = "SELECT a.row, f.delay, f.gate FROM asked a ASOF LEFT JOIN facts f"
    query += " ON a.airline = f.carrier AND a.number = f.flight AND a.at >= f.event_at ORDER BY a.row"
    expected: pd.DataFrame = database.sql(query).df()
    ours = found.select("row", "delays__delay", "delays__gate").orderBy("row").toPandas()
    ours.columns = expected.columns
    pd.testing.assert_frame_equal(ours, expected, check_dtype=False)


def test_a_key_that_is_not_a_number_sees_nothing(spark: SparkSession) -> None:
    """NaN equals nothing, not even NaN."""
    rows = spark.createDataFrame(
        [(float("nan"), START, 1.0), (2.0, START, 2.0)], "key DOUBLE, event_at TIMESTAMP, x DOUBLE"
    )
    asked = spark.createDataFrame([(float("nan"), START), (2.0, START)], "key DOUBLE, at TIMESTAMP")
    nan_line = TimeLine(rows, {"key": "key"}, "event_at", None, {"x": "x"}, timedelta(0))
    found = as_of(asked, nan_line, instant="at", knowledge_time=False).collect()
    assert sorted((str(row["key"]), row["x"]) for row in found) == [("2.0", 2.0), ("nan", None)]
