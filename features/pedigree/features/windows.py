"""Declared windows: what a feature is an aggregation of, and over how long. `docs/windows.md` is the definition in words.

A declaration is the only place that names a windowed feature. The view's schema, the tiles that jobs keep, the columns that
they compute and the lineage of each are derived from it. Nothing here needs Spark.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum

from feast import Field
from feast.types import Array, FeastType, Float64, Int64, String

SECOND = timedelta(seconds=1)
MINUTE = timedelta(minutes=1)
HOUR = timedelta(hours=1)
DAY = timedelta(days=1)
UNITS = (("d", DAY), ("h", HOUR), ("m", MINUTE), ("s", SECOND))

HOPS = ((12 * DAY, DAY), (12 * HOUR, HOUR), (timedelta(0), 5 * MINUTE))
"""How far the tail of a sawtooth window hops, by the least span for which it does."""


class WindowError(ValueError):
    """A window is declared in a way that cannot be computed; the message says what to write instead."""


class Operation(StrEnum):
    """How the values within a window become one; nulls and NaN are left out by each.

    A share is the mean of a 0/1 column. The last four are exact, and keep every distinct value of a tile.
    """

    COUNT = "count"
    SUM = "sum"
    AVG = "avg"
    SHARE = "share"
    MIN = "min"
    MAX = "max"
    STDDEV = "stddev"
    FIRST = "first"
    LAST = "last"
    DISTINCT_COUNT = "distinct_count"
    PERCENTILE = "percentile"
    TOP_K = "top_k"


class Kind(StrEnum):
    """Which events a row at `t` sees.

    Attributes:
        SLIDING: those of `[t - over, t)`.
        TUMBLING: those of the last whole span before `t`.
        SAWTOOTH: those of `[t - over, t)` and the rest of the hop in which `t - over` lies.
    """

    SLIDING = "sliding"
    TUMBLING = "tumbling"
    SAWTOOTH = "sawtooth"


TYPES: dict[Operation, FeastType] = {
    Operation.COUNT: Int64,
    Operation.DISTINCT_COUNT: Int64,
    Operation.TOP_K: Array(String),
}
"""The types of features whose type is not the double that most are; `dtype` of an aggregation wins."""


@dataclass(frozen=True, slots=True)
class Aggregation:
    """One feature: an operation over a column of events, within a window.

    Attributes:
        what: what the feature is about, the first part of its name.
        over: how long the window is.
        of: the column of the events; by default it is called `what`.
        argument: the percentage of a percentile, or the k of a top-k.
        dtype: the feature's type, where it is not its operation's (a sum of integers, the last value of a string).
    """

    what: str
    operation: Operation
    over: timedelta
    of: str = ""
    kind: Kind = Kind.SLIDING
    argument: float | None = None
    dtype: FeastType | None = None
    description: str = ""

    def __post_init__(self) -> None:
        if self.operation is Operation.PERCENTILE and not (self.argument is not None and 0 <= self.argument <= 100):
            raise WindowError(f"A percentile of {self.what} needs argument=<0 to 100>, such as argument=95.")
        if self.operation is Operation.TOP_K and not (self.argument and self.argument >= 1):
            raise WindowError(f"The top values of {self.what} need argument=<how many>, such as argument=3.")

    @property
    def column(self) -> str:
        """The column of the events."""
        return self.of or self.what

    @property
    def name(self) -> str:
        """The feature's name, `<what>_<operation>_<window>`: `arrival_delay_avg_7d`, `arrival_delay_p95_7d_sawtooth`."""
        window = span_name(self.over) + ("" if self.kind is Kind.SLIDING else f"_{self.kind}")
        return f"{self.what}_{self.operation_name}_{window}"

    @property
    def operation_name(self) -> str:
        """The operation within the name: `avg`, `p95`, `top3`."""
        number = f"{self.argument or 0:g}".replace(".", "_")
        return {Operation.PERCENTILE: f"p{number}", Operation.TOP_K: f"top{number}"}.get(
            self.operation, str(self.operation)
        )

    @property
    def field(self) -> Field:
        """The feature as a view's schema has it."""
        dtype = self.dtype or TYPES.get(self.operation, Float64)
        return Field(name=self.name, dtype=dtype, description=self.description)

    def hop(self, every: timedelta) -> timedelta:
        """How far the tail of a sawtooth window hops, never less than a tile."""
        return max(every, next(hop for least, hop in HOPS if self.over >= least))

    def lookback(self, every: timedelta) -> timedelta:
        """How far before a row its window may start."""
        reach = {Kind.SLIDING: timedelta(0), Kind.TUMBLING: self.over, Kind.SAWTOOTH: self.hop(every)}
        return self.over + reach[self.kind]


@dataclass(frozen=True, slots=True)
class Windows:
    """The windowed features of one view.

    Attributes:
        keys: the columns of the events that say what a row is about.
        every: the length of a tile. Rows stand at its multiples, counted from the Unix epoch.
    Raises:
        WindowError: a window is not made of whole tiles, or two features have one name.
    """

    keys: tuple[str, ...]
    every: timedelta
    features: tuple[Aggregation, ...]

    def __post_init__(self) -> None:
        if self.every < SECOND or self.every % SECOND:
            raise WindowError(f"Tiles are of whole seconds, and not every {self.every}.")
        for feature in self.features:
            self.refuse_broken_tiles(feature)
        names = self.names
        repeated = sorted({name for name in names if names.count(name) > 1})
        if repeated:
            raise WindowError(f"Declared more than once: {', '.join(repeated)}. Give each its own `what` or window.")

    def refuse_broken_tiles(self, feature: Aggregation) -> None:
        """Raise where a window is not made of whole tiles and whole hops."""
        if feature.over <= timedelta(0) or feature.over % self.every:
            raise WindowError(
                f"{feature.name} is not over whole tiles. Choose a multiple of {span_name(self.every)}, or a finer `every`."
            )
        hop = feature.hop(self.every)
        if feature.kind is Kind.SAWTOOTH and (feature.over % hop or hop % self.every):
            raise WindowError(
                f"{feature.name} hops by {span_name(hop)}, which must divide {span_name(feature.over)} and hold whole "
                f"tiles of {span_name(self.every)}. Choose another span or tile, or a sliding window."
            )

    @property
    def names(self) -> tuple[str, ...]:
        """The features' names, in the order in which they were declared."""
        return tuple(feature.name for feature in self.features)

    @property
    def fields(self) -> tuple[Field, ...]:
        """The features as the view's schema has them."""
        return tuple(feature.field for feature in self.features)

    @property
    def columns(self) -> tuple[str, ...]:
        """The columns of the events that features are of."""
        return tuple(sorted({feature.column for feature in self.features}))

    @property
    def lookback(self) -> timedelta:
        """How far before a slice its first row may look."""
        return max(feature.lookback(self.every) for feature in self.features)

    @property
    def digest(self) -> str:
        """What tells this declaration from another."""
        parts = [f"{feature.name}|{feature.column}|{feature.field.dtype}" for feature in self.features]
        return digest([*self.keys, str(self.every), *parts])


def span_name(span: timedelta) -> str:
    """A span in its largest whole unit: `7d`, `36h`, `90s`."""
    letter, unit = next((letter, unit) for letter, unit in UNITS if not span % unit)
    return f"{span // unit}{letter}"


def digest(parts: Sequence[str]) -> str:
    """A short hash of some words."""
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:16]
