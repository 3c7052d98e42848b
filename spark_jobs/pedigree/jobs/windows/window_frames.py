"""How a declared window is cut into frames, so that no row runs over thousands of tiles.

A short sliding window is one frame over fine tiles. A long one is the head (the current unit up to the row), whole units in
the middle, and the rest of the unit in which it begins. A sawtooth window hops by its unit, so it has no such rest.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta

from pyspark.sql import Column
from pyspark.sql import functions as F

from pedigree.features.windows import DAY, HOUR, MINUTE, SECOND, Aggregation, Kind, Operation, Windows
from pedigree.jobs.intervals import Interval, whole

DIRECT = 48
"""Tiles that one frame may always have."""

DIRECT_IN_LONG_SLICES = 200
"""Tiles that one frame may have where the slice is longer than the window, so that its tiles are at hand anyway. Operations whose
partials are gathered in lists stay with the shorter frames.
"""

LISTED = frozenset({Operation.STDDEV, Operation.DISTINCT_COUNT, Operation.PERCENTILE, Operation.TOP_K})

UNITS = tuple(
    whole(unit)
    for unit in (10 * SECOND, MINUTE, 10 * MINUTE, HOUR, 6 * HOUR, DAY, 5 * DAY, 7 * DAY, 10 * DAY, 30 * DAY, 365 * DAY)
)
"""What a long sliding window may be cut into."""


@dataclass(frozen=True, slots=True, order=True)
class WindowFrame:
    """A window in seconds: its kind, its length, its tiles, and the unit that it is cut into (0 where it is not cut)."""

    kind: Kind
    over: int
    every: int
    unit: int

    @property
    def name(self) -> str:
        """Part of the names of the columns that hold its parts."""
        return f"{self.kind}_{self.over}_{self.unit}"

    @property
    def back(self) -> int:
        """From the start of a row's own tile back to the start of a sliding window."""
        return self.over - self.every

    def fine(self, rows: Interval, kept: int) -> Interval | None:
        """Where rows whose own tiles start in `rows` need fine tiles, if units of `kept` seconds are to be had elsewhere.

        The tile that leaves a window at a row is needed as well as those that the window holds.
        """
        if self.kind is Kind.TUMBLING:
            return None if self.over % kept == 0 else Interval(rows.start - 2 * self.over, rows.end)
        if self.unit and self.unit % kept == 0:
            return Interval(rows.start - self.over, rows.end - self.back) if self.kind is Kind.SLIDING else None
        return Interval(rows.start - self.over - self.unit, rows.end)

    def changes(self, tile_at: Column) -> list[Column]:
        """The starts of the tiles at whose ends a tile comes into this window, if that is later than its own, and leaves it.

        Args:
            tile_at: the start of a tile, or of a longer one of which all leaves at once.
        """
        if self.kind is Kind.TUMBLING:
            whole_span = (F.floor(tile_at / self.over) + 1) * self.over - self.every
            return [whole_span, whole_span + self.over]
        if self.kind is Kind.SAWTOOTH:
            return [(F.floor(tile_at / self.unit) + 1) * self.unit + self.back]
        return [tile_at + self.over]


def shape_of(feature: Aggregation, every: timedelta, rows: Interval) -> WindowFrame:
    """The shape of a feature's window, for rows whose own tiles start in `rows`."""
    over, tile = whole(feature.over), whole(every)
    is_cheap = rows.end - rows.start > over and feature.operation not in LISTED
    direct = DIRECT_IN_LONG_SLICES if is_cheap else DIRECT
    sliding = 0 if over <= direct * tile else sliding_unit(over, tile)
    unit = {Kind.SLIDING: sliding, Kind.TUMBLING: over, Kind.SAWTOOTH: whole(feature.hop(every))}
    return WindowFrame(feature.kind, over, tile, unit[feature.kind])


def sliding_unit(over: int, every: int) -> int:
    """The unit that makes a sliding window cheapest, or 0 where none fits.

    A row reads about one unit of tiles and one window of units; days are what tiles are kept by, so they may cost twice as much.
    """
    fitting = [unit for unit in UNITS if every < unit < over and unit % every == 0 and over % unit == 0]
    return min(fitting, default=0, key=lambda unit: (unit / every + over / unit) * (1 if unit % whole(DAY) == 0 else 2))


def kept_unit(windows: Windows) -> int:
    """The length of the coarse tiles that are kept beside the fine ones: a day, where tiles divide it."""
    every = whole(windows.every)
    return whole(DAY) if whole(DAY) % every == 0 and every < whole(DAY) else 24 * every
