"""A slice of time: what one build is for."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from pyspark.sql import Column
from pyspark.sql import functions as F

from pedigree.jobs.errors import JobError


class NaiveInstantError(JobError):
    """An instant without a time zone was given."""

    def __init__(self, instant: datetime) -> None:
        super().__init__(f"{instant.isoformat()} has no time zone. Write it as {instant.isoformat()}+00:00.")


class EmptySliceError(JobError):
    """A slice ends where it starts, or before."""

    def __init__(self, start_at: datetime, end_at: datetime) -> None:
        super().__init__(
            f"A slice must end after it starts, and this one is from {start_at.isoformat()} to {end_at.isoformat()}. Nothing was "
            "started. Give the earlier instant as the start."
        )


@dataclass(frozen=True, slots=True)
class TimeSlice:
    """Event times from `start_at` (included) to `end_at` (excluded), both aware."""

    start_at: datetime
    end_at: datetime

    def __post_init__(self) -> None:
        for instant in (self.start_at, self.end_at):
            if instant.tzinfo is None:
                raise NaiveInstantError(instant)
        if self.end_at <= self.start_at:
            raise EmptySliceError(self.start_at, self.end_at)

    def before(self, span: timedelta) -> TimeSlice:
        """The slice of length `span` that ends where this one starts."""
        return TimeSlice(self.start_at - span, self.start_at)

    def holds(self, event_at: Column) -> Column:
        """True where an event time lies in this slice; null where it is null."""
        return (event_at >= F.lit(self.start_at)) & (event_at < F.lit(self.end_at))

    def predicate(self, column: str) -> str:
        """The same as SQL, for Delta's `replaceWhere`."""
        start, end = (
            instant.astimezone(UTC).strftime("%Y-%m-%d %H:%M:%S.%f") for instant in (self.start_at, self.end_at)
        )
        return f"{column} >= TIMESTAMP '{start}' AND {column} < TIMESTAMP '{end}'"

    def __str__(self) -> str:
        return f"{self.start_at:%Y-%m-%d %H:%M}…{self.end_at:%Y-%m-%d %H:%M}"
