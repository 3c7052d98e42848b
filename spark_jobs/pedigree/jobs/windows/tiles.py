"""Tiles: events folded by key and by a short span of time, and tiles folded into longer ones."""

from __future__ import annotations

from datetime import timedelta

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F
from pyspark.sql.types import DoubleType, FloatType

from pedigree.features.columns import EVENT_AT
from pedigree.features.events import KNOWN_AT
from pedigree.features.windows import Windows
from pedigree.jobs.intervals import Interval, whole
from pedigree.jobs.time_slice import TimeSlice
from pedigree.jobs.windows.operations import partials_for

TILE_AT = "tile_at"
"""The start of a tile, in seconds since the epoch."""

SECONDS = "tile_seconds"
"""The length of a tile."""

EVENTS = "events"
"""How many events a tile was made of."""


def tile_start(known_at: str, length: int) -> Column:
    """The start of the tile that holds an instant: tiles are `[start, start + length)`, counted from the epoch."""
    return (F.floor(F.unix_seconds(known_at) / length) * length).cast("long")


def tile_end(known_at: str, every: timedelta) -> Column:
    """The end of the tile that holds an instant: the event time of the first row that may see what was known then."""
    return F.timestamp_seconds(tile_start(known_at, whole(every)) + whole(every))


def with_event_time(events: DataFrame, windows: Windows) -> DataFrame:
    """The events with the event time of the row that first holds each; null where it is not known when an event was known."""
    return events.withColumn(EVENT_AT, tile_end(KNOWN_AT, windows.every))


def row_tiles(time_slice: TimeSlice, every: timedelta) -> Interval:
    """The starts of the tiles whose ends are the rows of a slice."""
    length = whole(every)
    start, end = (-(-int(at.timestamp()) // length) * length for at in (time_slice.start_at, time_slice.end_at))
    return Interval(start - length, end - length)


def gathered(events: DataFrame, windows: Windows) -> DataFrame:
    """The fine tiles of events.

    Args:
        events: one row per event, with `known_at` and the columns that the windows are of.
    Returns:
        the keys, `tile_at`, `tile_seconds`, `events` and one column per partial.
    """
    length = whole(windows.every)
    types = {field.name: field.dataType for field in events.schema}
    values = [value(name, is_float=isinstance(types[name], DoubleType | FloatType)) for name in windows.columns]
    placed = events.select(
        *windows.keys, KNOWN_AT, tile_start(KNOWN_AT, length).alias(TILE_AT), *(each for each in values)
    )
    parts = [partial.gathered() for partial in partials_for(windows)]
    tiles = placed.groupBy(*windows.keys, TILE_AT).agg(F.count(F.lit(1)).alias(EVENTS), *parts)
    return in_order(tiles.withColumn(SECONDS, F.lit(length).cast("long")), windows)


def value(column: str, *, is_float: bool) -> Column:
    """A column's values as windows see them: NaN is no value, and there is one zero."""
    if not is_float:
        return F.col(column)
    return F.when(~F.isnan(column), F.col(column) + F.lit(0.0)).alias(column)


def folded(tiles: DataFrame, windows: Windows, length: int) -> DataFrame:
    """Tiles of `length` seconds out of finer ones."""
    start = (F.floor(F.col(TILE_AT) / length) * length).cast("long").alias(TILE_AT)
    parts = [partial.folded(partial.name).alias(partial.name) for partial in partials_for(windows)]
    coarse = tiles.groupBy(*windows.keys, start).agg(F.sum(EVENTS).alias(EVENTS), *parts)
    return in_order(coarse.withColumn(SECONDS, F.lit(length).cast("long")), windows)


def in_order(tiles: DataFrame, windows: Windows) -> DataFrame:
    """Exactly the columns of a tile."""
    return tiles.select(*tile_columns(windows))


def tile_columns(windows: Windows) -> tuple[str, ...]:
    """The columns of a tile: keys, place, count of events, partials."""
    return (*windows.keys, TILE_AT, SECONDS, EVENTS, *(partial.name for partial in partials_for(windows)))
