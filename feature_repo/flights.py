"""Flights as events: what became of each flight, and the instant at which that could be known, in UTC.

The data holds local times: of the origin for a departure, of the destination for an arrival. A scheduled departure is local
time of New York turned into UTC; the actual departure is that plus the delay. The arrival is the first moment at which the
clock at the destination shows the arrival time after the plane has flown its time in the air, so flights over midnight, over
time zones and over a change of the clocks come out right.
"""

from __future__ import annotations

from collections.abc import Mapping

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from feature_repo.sources import AIRPORTS, FLIGHTS
from pedigree.features.events import KNOWN_AT, EventSet, Inputs, SourceColumn

LATE = 15
"""Minutes from which a flight counts as late, as the US Department of Transportation counts."""

NEW_YORK = "America/New_York"

UNLISTED_AIRPORTS = {
    "BQN": "America/Puerto_Rico",
    "PSE": "America/Puerto_Rico",
    "SJU": "America/Puerto_Rico",
    "STT": "America/St_Thomas",
}
"""Destinations that airports.csv does not have."""

COLUMNS: Mapping[str, tuple[str, ...]] = {
    "carrier": ("carrier",),
    "origin": ("origin",),
    "dest": ("dest",),
    "tail_number": ("tailnum",),
    "flight": ("dep_time", "arr_delay"),
    "departure_delay": ("dep_delay",),
    "arrival_delay": ("arr_delay",),
    "late_arrival": ("arr_delay",),
    "cancellation": ("dep_time",),
    "air_time": ("air_time",),
    KNOWN_AT: (
        *("year", "month", "day", "sched_dep_time", "sched_arr_time"),
        *("dep_time", "dep_delay", "arr_time", "air_time", "dest"),
    ),
}
"""The columns of flights.csv that each column of an event is made of."""

FLOWN = frozenset({"landed", "diverted"})
ALL_OUTCOMES = FLOWN | {"cancelled"}


def source_columns() -> dict[str, tuple[SourceColumn, ...]]:
    """The columns of all sources that each column of an event is made of."""
    columns = {name: tuple((FLIGHTS.name, column) for column in parts) for name, parts in COLUMNS.items()}
    return columns | {KNOWN_AT: (*columns[KNOWN_AT], (AIRPORTS.name, "faa"), (AIRPORTS.name, "tzone"))}


def flight_events(flights: DataFrame, airports: DataFrame) -> DataFrame:
    """One row per flight.

    Args:
        flights: as in flights.csv.
        airports: as in airports.csv.
    Returns:
        the flight's keys, `outcome` (landed, diverted or cancelled), its delays and times in minutes,
        `scheduled_departure_at` and `known_at` (UTC).
    """
    zones = airports.select(F.col("faa").alias("dest"), F.col("tzone").alias("listed_zone"))
    placed = flights.join(F.broadcast(zones), on="dest", how="left").select("*", zone().alias("dest_zone"))
    timed = with_departure(placed)
    cancelled = F.col("dep_time").isNull()
    landed = F.col("arr_delay").isNotNull()
    outcome = F.when(cancelled, "cancelled").when(landed, "landed").otherwise("diverted")
    known_at = F.when(cancelled, F.col("scheduled_departure_at")).otherwise(arrival())
    return timed.select(
        "carrier",
        "origin",
        "dest",
        F.col("tailnum").alias("tail_number"),
        outcome.alias("outcome"),
        F.lit(1).alias("flight"),
        F.col("dep_delay").alias("departure_delay"),
        F.col("arr_delay").alias("arrival_delay"),
        (F.col("arr_delay") >= LATE).cast("int").alias("late_arrival"),
        F.when(cancelled, 1).alias("cancellation"),
        "air_time",
        "scheduled_departure_at",
        known_at.alias(KNOWN_AT),
    )


def zone() -> Column:
    """The time zone of the destination."""
    unlisted = F.create_map(*(F.lit(part) for pair in UNLISTED_AIRPORTS.items() for part in pair))
    return F.coalesce("listed_zone", unlisted[F.col("dest")])


def with_departure(flights: DataFrame) -> DataFrame:
    """Adds the scheduled and the actual departure (null for a cancelled flight), in UTC."""
    day = F.make_date("year", "month", "day")
    scheduled = F.to_utc_timestamp(clock(day, F.col("sched_dep_time")), NEW_YORK)
    timed = flights.select("*", scheduled.alias("scheduled_departure_at"))
    return timed.select("*", later("scheduled_departure_at", F.col("dep_delay")).alias("departed_at"))


def arrival() -> Column:
    """When a flight that departed was over, in UTC.

    A diverted flight may have no arrival time; that it did not arrive could be known when it should have.
    """
    minutes_flown = F.coalesce("air_time", F.lit(0.0))
    shown = F.coalesce("arr_time", "sched_arr_time")
    return first_shown(later("departed_at", minutes_flown), shown, F.col("dest_zone"))


def first_shown(since: Column, hhmm: Column, zone: Column) -> Column:
    """The first instant, not before `since`, at which a clock in `zone` shows `hhmm` (830 is half past eight)."""
    local_day = F.to_date(F.from_utc_timestamp(since, zone))
    same_day = F.to_utc_timestamp(clock(local_day, hhmm), zone)
    next_day = F.to_utc_timestamp(clock(F.date_add(local_day, 1), hhmm), zone)
    return F.when(same_day >= since, same_day).otherwise(next_day)


def clock(day: Column, hhmm: Column) -> Column:
    """The local time `hhmm` of `day`; 2400 is the end of the day. A time that the clocks skip in spring becomes an hour later."""
    minutes = F.floor(hhmm / 100) * 60 + hhmm % 100
    return F.timestamp_seconds(F.unix_timestamp(day.cast("timestamp")) + minutes * 60)


def later(instant: str, minutes: Column) -> Column:
    """`instant` and `minutes` after it; null where either is."""
    return F.timestamp_seconds(F.unix_timestamp(instant) + minutes * 60)


def derive(inputs: Inputs) -> DataFrame:
    """`flight_events` of sources by name."""
    return flight_events(inputs[FLIGHTS.name], inputs[AIRPORTS.name])


FLIGHT_EVENTS = EventSet(name="flights", sources=(FLIGHTS, AIRPORTS), derive=derive, columns=source_columns())
