"""Weather as events: what was observed in an hour, known as the hour ends."""

from __future__ import annotations

from pyspark.sql import DataFrame, Window, WindowSpec
from pyspark.sql import functions as F

from feature_repo.flights import NEW_YORK, clock
from feature_repo.sources import WEATHER
from pedigree.features.events import KNOWN_AT, EventSet, Inputs

MEASURES = ("temp", "wind_speed", "precip", "visib", "pressure")
OBSERVED_HOUR = ("year", "month", "day", "hour")
OBSERVED = frozenset({"observed"})


def derive(inputs: Inputs) -> DataFrame:
    """One row per observation; an hour's weather is known as the hour ends, so the row at its end holds it.

    The night the clocks go back has the local hour 01:00 twice. The first is taken as daylight saving time and the second
    as standard time, in the order in which the file has them, so that no observation is lost or doubled.
    """
    rows = inputs[WEATHER.name].select("*", F.monotonically_increasing_id().alias("line"))
    local = clock(F.make_date("year", "month", "day"), F.col("hour") * 100)
    started = F.to_utc_timestamp(local, NEW_YORK)
    repeat = F.row_number().over(repeated_hour()) - 1
    last_second = F.timestamp_seconds(F.unix_timestamp(started) + (1 + repeat) * 3600 - 1)
    return rows.select("origin", *MEASURES, F.lit("observed").alias("outcome"), last_second.alias(KNOWN_AT))


def repeated_hour() -> WindowSpec:
    """Observations of one airport under one local hour, in the file's order."""
    return Window.partitionBy("origin", *OBSERVED_HOUR).orderBy("line")


WEATHER_EVENTS = EventSet(
    name="weather",
    sources=(WEATHER,),
    derive=derive,
    columns={name: ((WEATHER.name, name),) for name in ("origin", *MEASURES)}
    | {KNOWN_AT: tuple((WEATHER.name, column) for column in OBSERVED_HOUR)},
)
