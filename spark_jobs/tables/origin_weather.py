"""Weather at the origin, hour by hour."""

from __future__ import annotations

from pyspark.sql import DataFrame, Window, WindowSpec
from pyspark.sql import functions as F

from feature_repo import views
from spark_jobs.facts import FactSet, Inputs
from spark_jobs.flights import NEW_YORK, clock
from spark_jobs.sources import WEATHER
from spark_jobs.table import FeatureTable
from spark_jobs.windows import DAY, EVENT_AT, HOUR, Operation, Rolling, longest, roll

KEYS = ("origin",)
FEATURES = (
    Rolling("temperature", Operation.AVG, over=6 * HOUR, of="temp"),
    Rolling("wind_speed", Operation.MAX, over=6 * HOUR, of="wind_speed"),
    Rolling("precipitation", Operation.SUM, over=6 * HOUR, of="precip"),
    Rolling("visibility", Operation.MIN, over=6 * HOUR, of="visib"),
    Rolling("pressure", Operation.AVG, over=DAY, of="pressure"),
)
OBSERVED_HOUR = ("year", "month", "day", "hour")
OBSERVED = frozenset({"observed"})


def derive(inputs: Inputs) -> DataFrame:
    """One row per observation; an hour's weather is known when the hour is over.

    The night the clocks go back has the local hour 01:00 twice. The first is taken as daylight saving time and the second
    as standard time, in the order in which the file has them, so that no observation is lost or doubled.
    """
    rows = inputs[WEATHER.name].select("*", F.monotonically_increasing_id().alias("line"))
    local = clock(F.make_date("year", "month", "day"), F.col("hour") * 100)
    started = F.to_utc_timestamp(local, NEW_YORK)
    repeat = F.row_number().over(repeated_hour()) - 1
    event_at = F.timestamp_seconds(F.unix_timestamp(started) + (1 + repeat) * 3600)
    columns = sorted({feature.of for feature in FEATURES})
    return rows.select(*KEYS, *columns, F.lit("observed").alias("outcome"), event_at.alias(EVENT_AT))


def repeated_hour() -> WindowSpec:
    """Observations of one airport under one local hour, in the file's order."""
    return Window.partitionBy("origin", *OBSERVED_HOUR).orderBy("line")


def transform(facts: DataFrame, inputs: Inputs) -> DataFrame:
    """Rolling windows over the observations at an airport."""
    return roll(facts, KEYS, FEATURES)


TABLE = FeatureTable(
    view=views.origin_weather,
    facts=FactSet(name="weather", sources=(WEATHER,), derive=derive),
    used=OBSERVED,
    transform=transform,
    lookback=longest(FEATURES),
    columns={
        "origin": ((WEATHER.name, "origin"),),
        EVENT_AT: tuple((WEATHER.name, column) for column in OBSERVED_HOUR),
        **{feature.name: ((WEATHER.name, feature.of),) for feature in FEATURES},
    },
)
