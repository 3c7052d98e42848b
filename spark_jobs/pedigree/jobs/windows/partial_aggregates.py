"""What a tile remembers of a column, so that any window over tiles can be computed: partial aggregates that can be merged.

Each kind is gathered from events, folded over tiles (in a `groupBy` or over a frame of a window), and combined from a few
columns of one row. Everything is a Spark SQL expression. Partials of no values are null, or a count of 0.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import StrEnum

from pyspark.sql import Column, WindowSpec
from pyspark.sql import functions as F

from pedigree.features.events import KNOWN_AT


class PartialKind(StrEnum):
    """What is remembered: numbers, the earliest or latest value with its instant, (n, mean, M2), or values with counts."""

    COUNT = "count"
    SUM = "sum"
    MIN = "min"
    MAX = "max"
    FIRST = "first"
    LAST = "last"
    MOMENTS = "moments"
    VALUES = "values"


@dataclass(frozen=True, slots=True)
class Merging:
    """How partials of a kind come to be and become one.

    Attributes:
        gather: an aggregate over the values of events.
        fold: an aggregate over partials.
        tidy: makes a partial of what `fold` yields.
        combine: makes a partial of several in one row, any of which may be null.
    """

    gather: Callable[[Column], Column]
    fold: Callable[[Column], Column]
    tidy: Callable[[Column], Column]
    combine: Callable[[Sequence[Column]], Column]


@dataclass(frozen=True, slots=True, order=True)
class Partial:
    """What a tile remembers of the column `of`, in a column of its own."""

    of: str
    kind: PartialKind

    @property
    def name(self) -> str:
        """The column of a tile."""
        return f"{self.of}__{self.kind}"

    def gathered(self) -> Column:
        """The partial of a group of events."""
        return MERGING[self.kind].gather(F.col(self.of)).alias(self.name)

    def folded(self, column: str, window: WindowSpec | None = None) -> Column:
        """The partials of `column` as one: of a group of tiles, or of the frame of a window."""
        merging = MERGING[self.kind]
        fold = merging.fold(F.col(column))
        return merging.tidy(fold if window is None else fold.over(window))

    def combined(self, parts: Sequence[Column]) -> Column:
        """The partials of several columns of a row as one."""
        return MERGING[self.kind].combine(parts) if len(parts) > 1 else parts[0]


def as_it_is(column: Column) -> Column:
    """The column."""
    return column


def added(parts: Sequence[Column]) -> Column:
    """The sum of numbers, leaving nulls out."""
    return functools.reduce(lambda left, right: F.coalesce(left + right, left, right), parts)


def dated(value: Column) -> Column:
    """A value with its instant; null where there is no value. Of two at one instant, the smaller value is the earlier."""
    return F.when(value.isNotNull(), F.struct(F.col(KNOWN_AT).alias("at"), value.alias("value")))


def moments(value: Column) -> Column:
    """The number of values, their mean, and the sum of squared distances from it (by Spark's own stable aggregates)."""
    count, number = F.count(value), value.cast("double")
    squares = (F.var_pop(number) * count).alias("m2")
    return F.when(count > 0, F.struct(count.alias("n"), F.avg(number).alias("mean"), squares))


def listed(column: Column) -> Column:
    """The partials that are not null, in a list."""
    return F.collect_list(column)


def pooled(parts: Column) -> Column:
    """A list of moments as one, pair by pair (Chan et al.), so that nothing is lost by subtracting large squares."""
    nothing = F.struct(F.lit(0).cast("long").alias("n"), F.lit(0.0).alias("mean"), F.lit(0.0).alias("m2"))
    return F.when(F.size(parts) > 0, F.aggregate(parts, nothing, paired))


def paired(left: Column, right: Column) -> Column:
    """The moments of two sets of values as those of one; the right one is not empty."""
    n, distance = left["n"] + right["n"], right["mean"] - left["mean"]
    mean = left["mean"] + distance * right["n"] / n
    between = distance * distance * (left["n"].cast("double") * right["n"] / n)
    return F.struct(n.alias("n"), mean.alias("mean"), (left["m2"] + right["m2"] + between).alias("m2"))


def counted(value: Column) -> Column:
    """A value that was seen once."""
    return F.when(value.isNotNull(), F.struct(value.alias("value"), F.lit(1).cast("long").alias("n")))


def tallied(seen: Column) -> Column:
    """A list of values with counts as one in which each value stands once, in ascending order; null where it is empty."""
    return let(F.array_sort(seen), lambda ordered: F.when(F.size(ordered) > 0, runs(ordered)))


def runs(ordered: Column) -> Column:
    """Equal neighbours of a sorted list of values with counts, added up."""
    last = F.size(ordered) - 1
    starts = F.filter(
        F.sequence(F.lit(0), last),
        lambda at: (at == 0) | (F.get(ordered, at)["value"] != F.get(ordered, F.greatest(at - 1, F.lit(0)))["value"]),
    )
    return let(
        starts, lambda first: F.transform(first, lambda start, place: run(ordered, start, F.get(first, place + 1)))
    )


def run(ordered: Column, start: Column, end: Column) -> Column:
    """The value from `start` up to `end` (or the list's end, where that is null), with all its counts."""
    part = F.slice(ordered, start + 1, F.coalesce(end, F.size(ordered)) - start)
    total = F.aggregate(part, F.lit(0).cast("long"), lambda sum_, each: sum_ + each["n"])
    return F.struct(F.get(ordered, start)["value"].alias("value"), total.alias("n"))


def let(value: Column, body: Callable[[Column], Column]) -> Column:
    """`body` of a value that is computed once, however often it is used there."""
    return F.get(F.transform(F.array(value), body), F.lit(0))


def present(parts: Sequence[Column]) -> Column:
    """The parts that are not null, in a list."""
    return F.array_compact(F.array(*parts))


MERGING = {
    PartialKind.COUNT: Merging(F.count, F.sum, as_it_is, added),
    PartialKind.SUM: Merging(F.sum, F.sum, as_it_is, added),
    PartialKind.MIN: Merging(F.min, F.min, as_it_is, lambda parts: F.least(*parts)),
    PartialKind.MAX: Merging(F.max, F.max, as_it_is, lambda parts: F.greatest(*parts)),
    PartialKind.FIRST: Merging(lambda value: F.min(dated(value)), F.min, as_it_is, lambda parts: F.least(*parts)),
    PartialKind.LAST: Merging(lambda value: F.max(dated(value)), F.max, as_it_is, lambda parts: F.greatest(*parts)),
    PartialKind.MOMENTS: Merging(moments, listed, pooled, lambda parts: pooled(present(parts))),
    PartialKind.VALUES: Merging(
        lambda value: tallied(F.collect_list(counted(value))),
        listed,
        lambda lists: tallied(F.flatten(lists)),
        lambda parts: tallied(F.flatten(present(parts))),
    ),
}
