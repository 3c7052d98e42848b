"""Declared windows, compiled: from tiles to one row per key and tile at whose end the content of a window is another.

That is where events come, and where they leave a window: there an empty tile stands for the row, and the frames below find what
is left. The tiles of a key are laid in order of time and repartitioned by key once; every frame below runs within that order. A
kept day may stand for its fine tiles wherever no row needs them: see `WindowFrame.fine`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from pyspark.sql import Column, DataFrame, Window, WindowSpec
from pyspark.sql import functions as F

from pedigree.features.columns import EVENT_AT
from pedigree.features.windows import Aggregation, Kind, Windows
from pedigree.jobs.intervals import Interval, held, whole
from pedigree.jobs.windows.operations import finished, partials_of
from pedigree.jobs.windows.partial_aggregates import Partial
from pedigree.jobs.windows.tiles import EVENTS, SECONDS, TILE_AT
from pedigree.jobs.windows.window_frames import WindowFrame, shape_of

HAS_EVENTS = "has_events"
"""Whether a row stands for events of its own tile."""

Wanted = dict[WindowFrame, list[Partial]]
"""The partials that are needed of each shape of window."""


def featured(tiles: DataFrame, windows: Windows, rows: Interval) -> DataFrame:
    """One row per fine tile of a slice with events, and where events leave a window.

    Args:
        tiles: the fine tiles of the rows and everything before them that their windows see, or cease to see, as `gathered` and
            `folded` make them; any second of a key is in one tile at most.
        rows: the starts of the slice's own tiles.
    Returns:
        columns `keys`, `event_at` (the tile's end) and one per feature.
    """
    shapes = {feature: shape_of(feature, windows.every, rows) for feature in windows.features}
    wanted = partials_wanted(shapes)
    lines = with_empty_tiles(tiles, windows, rows).repartition(*windows.keys)
    for unit in sorted({shape.unit for shape in wanted if is_cut(shape)}):
        needed = sorted(
            {partial for shape in wanted if is_cut(shape) and shape.unit == unit for partial in wanted[shape]}
        )
        lines = with_units(lines, windows.keys, unit, needed)
    merged = [
        merged_over(shape, partial, windows.keys).alias(merged_name(shape, partial))
        for shape in sorted(wanted)
        for partial in wanted[shape]
    ]
    own = held(F.col(TILE_AT), [rows]) & (F.col(SECONDS) == whole(windows.every))
    found = lines.select(*windows.keys, TILE_AT, SECONDS, *merged).where(own)
    values = [value_of(feature, shape) for feature, shape in shapes.items()]
    return found.select(*windows.keys, end_of_tile().alias(EVENT_AT), *values)


def row_places(tiles: DataFrame, windows: Windows, rows: Interval) -> DataFrame:
    """The keys and tiles of a slice that have a row, each once: columns `keys`, `tile_at` and `has_events`."""
    shapes = sorted({shape_of(feature, windows.every, rows) for feature in windows.features})
    changes = [change.cast("long") for shape in shapes for change in shape.changes(F.col(TILE_AT))]
    own = F.when(F.col(SECONDS) == whole(windows.every), F.col(TILE_AT))
    placed = F.explode(F.array_distinct(F.array(*(place(own, True), *(place(change, False) for change in changes)))))
    every = tiles.select(*windows.keys, placed.alias("place")).select(*windows.keys, "place.*")
    return (
        every.where(held(F.col(TILE_AT), [rows]))
        .groupBy(*windows.keys, TILE_AT)
        .agg(F.bool_or(HAS_EVENTS).alias(HAS_EVENTS))
    )


def place(tile_at: Column, has_events: bool) -> Column:
    """Where a row stands, and whether that is for events of its own."""
    return F.struct(tile_at.alias(TILE_AT), F.lit(has_events).alias(HAS_EVENTS))


def with_empty_tiles(tiles: DataFrame, windows: Windows, rows: Interval) -> DataFrame:
    """The tiles, and for each row of the slice without events an empty one."""
    types = {field.name: field.dataType for field in tiles.schema}
    parts = [name for name in types if name not in (*windows.keys, TILE_AT, SECONDS, EVENTS)]
    nothing = [F.lit(None).cast(types[name]).alias(name) for name in parts]
    length = F.lit(whole(windows.every)).cast("long").alias(SECONDS)
    without = row_places(tiles, windows, rows).where(~F.col(HAS_EVENTS))
    empty = without.select(*windows.keys, TILE_AT, length, F.lit(0).cast("long").alias(EVENTS), *nothing)
    return tiles.unionByName(empty)


def partials_wanted(shapes: Mapping[Aggregation, WindowFrame]) -> Wanted:
    """What has to be merged over which windows, each once."""
    wanted: dict[WindowFrame, set[Partial]] = {}
    for feature, shape in shapes.items():
        wanted.setdefault(shape, set()).update(partials_of(feature))
    return {shape: sorted(partials) for shape, partials in wanted.items()}


def value_of(feature: Aggregation, shape: WindowFrame) -> Column:
    """A feature's value out of merged partials."""
    return finished(feature, {part.kind: F.col(merged_name(shape, part)) for part in partials_of(feature)})


def is_cut(shape: WindowFrame) -> bool:
    """True for windows of a head, whole units and a rest."""
    return shape.unit > 0 and shape.kind is not Kind.TUMBLING


def merged_name(shape: WindowFrame, partial: Partial) -> str:
    """The column of a partial over a window."""
    return f"{partial.name}__{shape.name}"


def part_name(part: str, unit: int, partial: Partial | None = None) -> str:
    """The column of a part of a unit: its number, its head, its rest or its whole."""
    return f"{part}_{unit}" + (f"__{partial.name}" if partial else "")


def end_of_tile() -> Column:
    """The end of a tile, the event time of its row."""
    return F.timestamp_seconds(F.col(TILE_AT) + F.col(SECONDS))


def with_units(lines: DataFrame, keys: Sequence[str], unit: int, partials: Sequence[Partial]) -> DataFrame:
    """Adds, for units of one length: which one a tile is in, the unit up to the tile, from it on, and (at its last) all of it."""
    number = part_name("unit", unit)
    numbered = lines.withColumn(number, F.floor(F.col(TILE_AT) / unit))
    within = Window.partitionBy(*keys, number).orderBy(TILE_AT)
    until = within.rowsBetween(Window.unboundedPreceding, Window.currentRow)
    since = within.rowsBetween(Window.currentRow, Window.unboundedFollowing)
    is_last = F.lead(F.lit(1)).over(within).isNull().alias("is_last")
    heads = [partial.folded(partial.name, until).alias(part_name("head", unit, partial)) for partial in partials]
    rests = [partial.folded(partial.name, since).alias(part_name("rest", unit, partial)) for partial in partials]
    parted = numbered.select("*", *heads, *rests, is_last)
    totals = [
        F.when(F.col("is_last"), F.col(part_name("head", unit, partial))).alias(part_name("whole", unit, partial))
        for partial in partials
    ]
    return parted.select("*", *totals).drop("is_last")


def merged_over(shape: WindowFrame, partial: Partial, keys: Sequence[str]) -> Column:
    """A partial over the window of each row."""
    if shape.kind is Kind.TUMBLING:
        return last_whole_span(shape, partial, keys)
    if not is_cut(shape):
        return partial.folded(partial.name, between(keys, F.col(TILE_AT), -shape.back, 0))
    rest = rest_of_oldest(shape, partial, keys) if shape.kind is Kind.SLIDING else oldest(shape, partial, keys)
    parts = [F.col(part_name("head", shape.unit, partial)), *whole_units(shape, partial, keys), rest]
    return partial.combined(parts)


def last_whole_span(shape: WindowFrame, partial: Partial, keys: Sequence[str]) -> Column:
    """A partial over the last whole span: the one before the row's, or the row's own where the row ends it."""
    span = F.floor(F.col(TILE_AT) / shape.over)
    own, previous = (partial.folded(partial.name, between(keys, span, at, at)) for at in (0, -1))
    return F.when(end_seconds() % shape.over == 0, own).otherwise(previous)


def whole_units(shape: WindowFrame, partial: Partial, keys: Sequence[str]) -> list[Column]:
    """A partial over the units between the window's first and the row's own; none where there are none."""
    units = shape.over // shape.unit
    if units < 2:
        return []
    number = F.col(part_name("unit", shape.unit))
    return [partial.folded(part_name("whole", shape.unit, partial), between(keys, number, 1 - units, -1))]


def oldest(shape: WindowFrame, partial: Partial, keys: Sequence[str]) -> Column:
    """All of the unit in which a sawtooth window begins, unless it begins where a unit does."""
    units, number = shape.over // shape.unit, F.col(part_name("unit", shape.unit))
    total = partial.folded(part_name("whole", shape.unit, partial), between(keys, number, -units, -units))
    return F.when(end_seconds() % shape.unit != 0, total)


def rest_of_oldest(shape: WindowFrame, partial: Partial, keys: Sequence[str]) -> Column:
    """The unit in which a sliding window begins, from there on: what the first tile since then holds of its unit's rest."""
    number, rest = part_name("unit", shape.unit), part_name("rest", shape.unit, partial)
    since = between(keys, F.col(TILE_AT), -shape.back, shape.unit - shape.every - shape.back)
    first = F.first(F.struct(F.col(number).alias("unit"), F.col(rest).alias("rest"))).over(since)
    begins = F.col(TILE_AT) - shape.back
    is_there = (begins % shape.unit != 0) & (first["unit"] == F.floor(begins / shape.unit))
    return F.when(is_there, first["rest"])


def end_seconds() -> Column:
    """The end of a tile in seconds."""
    return F.col(TILE_AT) + F.col(SECONDS)


def between(keys: Sequence[str], order: Column, start: int, end: int) -> WindowSpec:
    """The tiles of a key whose `order` is that of the row, give or take."""
    return Window.partitionBy(*keys).orderBy(order).rangeBetween(start, end)
