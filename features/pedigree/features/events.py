"""Events: one row per thing that happened, with its outcome and the instant at which it could be known."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from pedigree.features.sources import DeclaredSource

if TYPE_CHECKING:
    from pyspark.sql import DataFrame

KNOWN_AT = "known_at"
"""The column of an event with the instant at which it could be known; tiles hold `[start, end)` of it."""

OUTCOME = "outcome"
"""The column of an event that says what became of it; a table uses the events of some outcomes and counts the others."""

HAPPENED = "happened"
"""The outcome of events that have no other."""

Inputs = Mapping[str, "DataFrame"]
"""Rows by the name of their source."""

SourceColumn = tuple[str, str]
"""The name of a source and of one of its columns."""


@dataclass(frozen=True, slots=True)
class EventSet:
    """Events that tables share.

    Attributes:
        name: what they are about.
        sources: what they are made of; each row of the first one is one event.
        derive: turns the sources into events with `known_at` and `outcome`. Pure.
        columns: the source columns that each column of an event is made of.
    """

    name: str
    sources: tuple[DeclaredSource, ...]
    derive: Callable[[Inputs], DataFrame]
    columns: Mapping[str, tuple[SourceColumn, ...]]

    @classmethod
    def of(cls, source: DeclaredSource, *, known_at: str) -> EventSet:
        """Every row of a source as one event, under the names of its columns.

        Args:
            known_at: the timestamp column with the instant at which a row could be known; without a time zone it is UTC.
        """
        columns = {name: ((source.name, name),) for name in source.columns}
        derive = partial(rows_as_events, source=source, known_at=known_at)
        return cls(source.name, (source,), derive, {**columns, KNOWN_AT: ((source.name, known_at),)})


def rows_as_events(inputs: Inputs, *, source: DeclaredSource, known_at: str) -> DataFrame:
    """The rows of a source, each with the outcome `HAPPENED`; an instant without a time zone is UTC."""
    from pyspark.sql import functions as F

    rows, instant = inputs[source.name], F.col(known_at)
    if (known_at, "timestamp_ntz") in rows.dtypes:
        instant = instant.cast("timestamp")  # the session's time zone is UTC
    return rows.select("*", F.lit(HAPPENED).alias(OUTCOME), instant.alias(KNOWN_AT))
