"""Rolling windows: facts are folded into hours, and windows run over the hours.

A feature is named by what it is: `<what>_<operation>_<window>`. The window of a row at `t` holds the hours that end in
`(t - span, t]`, so nothing that was learnt after `t` is ever in it. Building a slice needs facts from one span before it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum

from pyspark.sql import Column, DataFrame, Window, WindowSpec
from pyspark.sql import functions as F

EVENT_AT = "event_at"
HOUR = timedelta(hours=1)
DAY = timedelta(days=1)


class Operation(StrEnum):
    """How the values within a window become one; nulls are left out by each. A share is the mean of a 0/1 column."""

    COUNT = "count"
    SUM = "sum"
    AVG = "avg"
    SHARE = "share"
    MIN = "min"
    MAX = "max"


@dataclass(frozen=True, slots=True)
class Rolling:
    """One feature: `operation` over the column `of`, within the window `over`."""

    what: str
    operation: Operation
    over: timedelta
    of: str

    @property
    def name(self) -> str:
        """The feature's name, such as `arrival_delay_avg_7d`."""
        days, hours = self.over // DAY, self.over // HOUR
        window = f"{days}d" if self.over % DAY == timedelta(0) else f"{hours}h"
        return f"{self.what}_{self.operation}_{window}"


def longest(features: Sequence[Rolling]) -> timedelta:
    """How far before a slice its first row looks."""
    return max(feature.over for feature in features)


def hour_end(instant: Column) -> Column:
    """The end of the hour in which a fact became known: the event time of the row that first holds it."""
    return F.date_trunc("hour", instant) + F.expr("INTERVAL 1 HOUR")


def roll(facts: DataFrame, keys: Sequence[str], features: Sequence[Rolling]) -> DataFrame:
    """One row per key and hour with news.

    Args:
        facts: one row per fact, with `keys`, `event_at` (an end of an hour) and the columns that the features are of.
    Returns:
        columns `keys`, `event_at` and one per feature.
    """
    columns = sorted({feature.of for feature in features})
    parts = [part for column in columns for part in hour_parts(column)]
    hours = facts.groupBy(*keys, EVENT_AT).agg(*parts)
    rolled = [over_window(feature, keys).alias(feature.name) for feature in features]
    return hours.select(*keys, EVENT_AT, *rolled)


def hour_parts(column: str) -> list[Column]:
    """What an hour must remember of a column so that any window over hours can be computed."""
    value = F.col(column)
    parts = {"count": F.count(value), "sum": F.sum(value), "min": F.min(value), "max": F.max(value)}
    return [part.alias(f"{column}__{name}") for name, part in parts.items()]


def over_window(feature: Rolling, keys: Sequence[str]) -> Column:
    """The feature's value for the window that ends at each hour."""
    window = trailing(keys, feature.over)
    count = F.sum(F.col(f"{feature.of}__count")).over(window)
    total = F.sum(F.col(f"{feature.of}__sum")).over(window)
    match feature.operation:
        case Operation.COUNT:
            return count
        case Operation.SUM:
            return total
        case Operation.AVG | Operation.SHARE:
            return total / F.when(count > 0, count)
        case Operation.MIN:
            return F.min(F.col(f"{feature.of}__min")).over(window)
        case Operation.MAX:
            return F.max(F.col(f"{feature.of}__max")).over(window)


def trailing(keys: Sequence[str], span: timedelta) -> WindowSpec:
    """Hours that end in `(t - span, t]`, per key."""
    seconds = int(span.total_seconds())
    return Window.partitionBy(*keys).orderBy(F.unix_timestamp(EVENT_AT)).rangeBetween(1 - seconds, Window.currentRow)
