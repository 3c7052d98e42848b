"""Spans of whole seconds since the Unix epoch, half open, and what is left of one when others are taken away."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import reduce

from pyspark.sql import Column
from pyspark.sql import functions as F

EPOCH = datetime.fromtimestamp(0, UTC)
SECOND = timedelta(seconds=1)


@dataclass(frozen=True, slots=True, order=True)
class Interval:
    """From `start` (included) to `end` (excluded)."""

    start: int
    end: int

    def within(self, other: Interval) -> Interval | None:
        """What both have; None where they do not meet."""
        start, end = max(self.start, other.start), min(self.end, other.end)
        return Interval(start, end) if start < end else None

    def without(self, taken: Iterable[Interval]) -> tuple[Interval, ...]:
        """What is left when `taken` are taken away."""
        left, start = [], self.start
        for span in joined(taken):
            if span.end > start and span.start < self.end:
                left += [Interval(start, span.start)] if span.start > start else []
                start = span.end
        return (*left, Interval(start, self.end)) if start < self.end else tuple(left)

    def cut(self, length: int) -> tuple[Interval, ...]:
        """The parts of the span between the multiples of `length`."""
        edges = [*range((self.start // length + 1) * length, self.end, length), self.end]
        return tuple(Interval(start, end) for start, end in zip([self.start, *edges], edges, strict=False))


def joined(spans: Iterable[Interval]) -> tuple[Interval, ...]:
    """The same seconds in as few spans as can be, in order."""
    done: list[Interval] = []
    for span in sorted(spans):
        if done and span.start <= done[-1].end:
            done[-1] = Interval(done[-1].start, max(done[-1].end, span.end))
        else:
            done.append(span)
    return tuple(done)


def held(second: Column, spans: Iterable[Interval]) -> Column:
    """True where a second lies in one of the spans."""
    parts = [(second >= span.start) & (second < span.end) for span in spans]
    return reduce(lambda left, right: left | right, parts, F.lit(False))


def whole(span: timedelta) -> int:
    """A span of time in seconds."""
    return span // SECOND


def instant(second: int) -> datetime:
    """A second since the epoch as an aware instant."""
    return EPOCH + second * SECOND
