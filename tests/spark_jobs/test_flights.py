"""When a flight's fate could be known, against the data's own UTC hour and a clock that is watched minute by minute."""

from __future__ import annotations

import io
from pathlib import Path

import pandas as pd
import pytest
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from feature_repo.flights import flight_events
from feature_repo.sources import AIRPORTS, FLIGHTS

from ..watched_clock import watched, zones
from .sample import whole

CLOCK_CHANGES = ((3, 9), (3, 10), (11, 2), (11, 3))


def read_whole(spark: SparkSession, folder: Path, name: str, schema: str) -> DataFrame:
    path = folder / f"{name}.csv"
    path.write_bytes(whole(name))
    return spark.read.csv(path.as_uri(), schema=schema, header=True, nullValue="NA")


@pytest.fixture(scope="module")
def flights(spark: SparkSession, tmp_path_factory: pytest.TempPathFactory) -> DataFrame:
    return read_whole(spark, tmp_path_factory.mktemp("flights"), "flights", FLIGHTS.schema)


@pytest.fixture(scope="module")
def airports(spark: SparkSession, tmp_path_factory: pytest.TempPathFactory) -> DataFrame:
    return read_whole(spark, tmp_path_factory.mktemp("airports"), "airports", AIRPORTS.schema)


@pytest.mark.slow
def test_every_flight_is_one_fact_with_an_outcome(flights: DataFrame, airports: DataFrame) -> None:
    """No flight is lost or doubled: 327,346 landed, 1,175 were diverted, 8,255 were cancelled, and of each it is known when."""
    events = flight_events(flights, airports)
    outcomes = {row["outcome"]: row["count"] for row in events.groupBy("outcome").count().collect()}
    assert outcomes == {"landed": 327_346, "diverted": 1_175, "cancelled": 8_255}
    assert events.where("known_at IS NULL").count() == 0


@pytest.mark.slow
def test_scheduled_departures_fall_into_the_hour_that_the_data_gives_in_utc(
    flights: DataFrame, airports: DataFrame
) -> None:
    """`time_hour` of the data is the scheduled departure's hour in UTC; ours is in it for all 336,776 flights."""
    ours = flight_events(flights, airports).select(F.date_trunc("hour", "scheduled_departure_at").alias("hour"))
    counts = ours.groupBy("hour").count()
    theirs = flights.groupBy(F.col("time_hour").alias("hour")).count()
    assert counts.exceptAll(theirs).count() == 0
    assert theirs.exceptAll(counts).count() == 0


def test_arrivals_are_when_the_clock_at_the_destination_shows_them(
    spark: SparkSession, airports: DataFrame, tmp_path: Path
) -> None:
    """A watched clock agrees, over midnight, over time zones, and on both nights on which the clocks change."""
    frame = pd.read_csv(io.BytesIO(whole("flights")))
    changing = pd.concat(frame[(frame["month"] == month) & (frame["day"] == day)] for month, day in CLOCK_CHANGES)
    chosen = pd.concat([frame.sample(400, random_state=1), changing.sample(400, random_state=1)])
    chosen = chosen[chosen["arr_delay"].notna()].drop_duplicates()
    zone_of = zones(whole("airports"))
    as_they_came = pd.read_csv(io.BytesIO(whole("flights")), dtype=str, keep_default_na=False).loc[chosen.index]
    as_they_came.to_csv(tmp_path / "few.csv", index=False)
    few = spark.read.csv((tmp_path / "few.csv").as_uri(), schema=FLIGHTS.schema, header=True, nullValue="NA")
    keys = ["carrier", "tail_number", "scheduled_departure_at"]
    found = flight_events(few, airports).select(*keys, "known_at").toPandas()
    expected = pd.DataFrame([watched(flight, zone_of) for flight in chosen.itertuples()])
    pairs = expected.merge(found, on=keys, suffixes=("_watched", "_computed"))
    assert len(pairs) == len(expected) == len(found) > 700
    differing = pairs[pairs["known_at_watched"] != pairs["known_at_computed"]]
    assert differing.empty, differing.to_string()
