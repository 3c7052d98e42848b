"""What became of every row that a build read. Nothing is dropped without a name and a number."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from pedigree.features.columns import EVENT_AT
from pedigree.features.table import Table
from pedigree.jobs.time_slice import TimeSlice


class EventPlace(StrEnum):
    """Where an event stands, seen from a slice."""

    EARLIER = "earlier"
    LOOKBACK = "lookback"
    SLICE = "slice"
    LATER = "later"
    UNDATED = "undated"


@dataclass(frozen=True, slots=True)
class EventCounts:
    """The events of a source by place and outcome, and which outcomes the table uses."""

    counts: Mapping[tuple[EventPlace, str], int]
    used_outcomes: frozenset[str]

    @property
    def total(self) -> int:
        """All events."""
        return sum(self.counts.values())

    def at(self, place: EventPlace) -> int:
        """The events at one place, of any outcome."""
        return sum(count for (there, _), count in self.counts.items() if there is place)

    @property
    def used(self) -> int:
        """The events within the slice that the features of the slice are made of."""
        return sum(count for (place, outcome), count in self.counts.items() if self.counts_in(place, outcome))

    @property
    def undated(self) -> int:
        """The events that would be used if it were known when they were known."""
        return sum(
            count
            for (place, outcome), count in self.counts.items()
            if place is EventPlace.UNDATED and outcome in self.used_outcomes
        )

    @property
    def set_aside(self) -> Mapping[str, int]:
        """The events within the slice that the table leaves out on purpose, by outcome."""
        return {
            outcome: count
            for (place, outcome), count in sorted(self.counts.items())
            if place is EventPlace.SLICE and outcome not in self.used_outcomes
        }

    def counts_in(self, place: EventPlace, outcome: str) -> bool:
        """True for events of the slice that are used."""
        return place is EventPlace.SLICE and outcome in self.used_outcomes


NO_EVENTS = EventCounts({}, frozenset())
"""Of a table without windows."""


@dataclass(frozen=True, slots=True)
class RowCounts:
    """One build in numbers.

    Attributes:
        events: where the events are that it was made of; there are none in a table without windows.
        sources: how many rows each source has.
        computed: the rows that were made of them; each of these was published or quarantined.
    """

    events: EventCounts
    sources: Mapping[str, int]
    computed: int
    published: int
    quarantined: int


def account_for(events: DataFrame, table: Table, time_slice: TimeSlice) -> EventCounts:
    """Count the events by place and outcome, in one pass."""
    counted = events.groupBy(place_of(table, time_slice).alias("place"), "outcome").count().collect()
    return EventCounts(
        counts={(EventPlace(row["place"]), row["outcome"]): row["count"] for row in counted}, used_outcomes=table.used
    )


def place_of(table: Table, time_slice: TimeSlice) -> Column:
    """The place of an event by its event time."""
    event_at = F.col(EVENT_AT)
    return (
        F.when(event_at.isNull(), EventPlace.UNDATED)
        .when(time_slice.holds(event_at), EventPlace.SLICE)
        .when(time_slice.before(table.lookback).holds(event_at), EventPlace.LOOKBACK)
        .when(event_at < F.lit(time_slice.start_at), EventPlace.EARLIER)
        .otherwise(EventPlace.LATER)
    )
