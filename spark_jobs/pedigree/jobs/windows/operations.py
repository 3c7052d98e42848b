"""What each declared operation needs of tiles, and how its value comes out of them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from pyspark.sql import Column
from pyspark.sql import functions as F

from pedigree.features.windows import Aggregation, Operation, Windows
from pedigree.jobs.windows.partial_aggregates import Partial, PartialKind, let

Merged = Mapping[PartialKind, Column]
"""The partials of a window, by kind."""


@dataclass(frozen=True, slots=True)
class Finishing:
    """The partials that an operation needs, and how it makes one value of them, given its argument."""

    needs: tuple[PartialKind, ...]
    finish: Callable[[Merged, float], Column]


def partials_of(feature: Aggregation) -> tuple[Partial, ...]:
    """What tiles must remember for a feature."""
    return tuple(Partial(feature.column, kind) for kind in OPERATIONS[feature.operation].needs)


def partials_for(windows: Windows) -> tuple[Partial, ...]:
    """What tiles must remember for all features, each once."""
    return tuple(sorted({partial for feature in windows.features for partial in partials_of(feature)}))


def finished(feature: Aggregation, merged: Merged) -> Column:
    """The feature's value from the partials of its window."""
    return OPERATIONS[feature.operation].finish(merged, feature.argument or 0).alias(feature.name)


def count(merged: Merged, _argument: float) -> Column:
    """How many values there are; 0 where there is none."""
    return F.coalesce(merged[PartialKind.COUNT], F.lit(0).cast("long"))


def mean(merged: Merged, _argument: float) -> Column:
    """The sum by the count; null where there is no value."""
    number = merged[PartialKind.COUNT]
    return merged[PartialKind.SUM] / F.when(number > 0, number)


def deviation(merged: Merged, _argument: float) -> Column:
    """The standard deviation of a sample; null for fewer than two values."""
    found = merged[PartialKind.MOMENTS]
    return F.sqrt(found["m2"] / F.when(found["n"] > 1, found["n"] - 1))


def distinct(merged: Merged, _argument: float) -> Column:
    """How many different values there are; 0 where there is none."""
    return F.coalesce(F.size(merged[PartialKind.VALUES]), F.lit(0)).cast("long")


def percentile(merged: Merged, percentage: float) -> Column:
    """The value at a share of the way through the sorted values, interpolated between the two neighbours."""
    share = percentage / 100
    return let(merged[PartialKind.VALUES], lambda values: F.when(values.isNotNull(), at_share(values, share)))


def at_share(values: Column, share: float) -> Column:
    """The interpolated value at a share of the way through values with counts, in ascending order."""
    total = F.aggregate(values, F.lit(0).cast("long"), lambda sum_, each: sum_ + each["n"])
    return let(
        (total - 1) * F.lit(share),
        lambda place: let(
            F.struct(ranked(values, F.floor(place)).alias("low"), ranked(values, F.ceil(place)).alias("high")),
            lambda near: near["low"] + (near["high"] - near["low"]) * (place - F.floor(place)),
        ),
    )


def ranked(values: Column, rank: Column) -> Column:
    """The value at a rank, from 0, among values with counts."""
    start = F.struct(F.lit(0).cast("long").alias("seen"), F.lit(None).cast("double").alias("value"))

    def step(state: Column, each: Column) -> Column:
        holds = (state["seen"] <= rank) & (rank < state["seen"] + each["n"])
        value = F.when(holds, each["value"].cast("double")).otherwise(state["value"])
        return F.struct((state["seen"] + each["n"]).alias("seen"), value.alias("value"))

    return F.aggregate(values, start, step)["value"]


def top(merged: Merged, how_many: float) -> Column:
    """The most frequent values, the most frequent first; of equally frequent ones the smaller first."""
    by_rank = F.array_sort(
        F.transform(merged[PartialKind.VALUES], lambda each: F.struct((-each["n"]).alias("less"), each["value"]))
    )
    best = F.slice(by_rank, 1, int(how_many))
    return F.transform(best, lambda each: each["value"])


OPERATIONS = {
    Operation.COUNT: Finishing((PartialKind.COUNT,), count),
    Operation.SUM: Finishing((PartialKind.SUM,), lambda merged, _argument: merged[PartialKind.SUM]),
    Operation.AVG: Finishing((PartialKind.COUNT, PartialKind.SUM), mean),
    Operation.SHARE: Finishing((PartialKind.COUNT, PartialKind.SUM), mean),
    Operation.MIN: Finishing((PartialKind.MIN,), lambda merged, _argument: merged[PartialKind.MIN]),
    Operation.MAX: Finishing((PartialKind.MAX,), lambda merged, _argument: merged[PartialKind.MAX]),
    Operation.STDDEV: Finishing((PartialKind.MOMENTS,), deviation),
    Operation.FIRST: Finishing((PartialKind.FIRST,), lambda merged, _argument: merged[PartialKind.FIRST]["value"]),
    Operation.LAST: Finishing((PartialKind.LAST,), lambda merged, _argument: merged[PartialKind.LAST]["value"]),
    Operation.DISTINCT_COUNT: Finishing((PartialKind.VALUES,), distinct),
    Operation.PERCENTILE: Finishing((PartialKind.VALUES,), percentile),
    Operation.TOP_K: Finishing((PartialKind.VALUES,), top),
}
