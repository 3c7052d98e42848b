"""A slice of time is half open, aware and never empty."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from pyspark.sql import SparkSession
from pyspark.sql import functions as F

from pedigree.jobs.time_slice import EmptySliceError, NaiveInstantError, TimeSlice

START = datetime(2013, 3, 1, tzinfo=UTC)
END = datetime(2013, 3, 2, tzinfo=UTC)


def test_the_start_is_in_and_the_end_is_not(spark: SparkSession) -> None:
    """As a column and as Delta's predicate, a slice holds its start and not its end."""
    instants = [START - timedelta(microseconds=1), START, END - timedelta(microseconds=1), END]
    rows = spark.createDataFrame([(at,) for at in instants], "event_at TIMESTAMP")
    time_slice = TimeSlice(START, END)
    found = rows.select(time_slice.holds(F.col("event_at")), F.expr(time_slice.predicate("event_at"))).collect()
    assert [tuple(row) for row in found] == [(False, False), (True, True), (True, True), (False, False)]


def test_a_naive_instant_is_refused() -> None:
    """Only aware instants cross a border; the message says how to write one."""
    with pytest.raises(NaiveInstantError, match=r"2013-03-01T00:00:00\+00:00"):
        TimeSlice(START.replace(tzinfo=None), END)


def test_a_slice_that_ends_before_it_starts_is_refused() -> None:
    """An empty slice would delete nothing and build nothing, so it is a mistake."""
    with pytest.raises(EmptySliceError):
        TimeSlice(START, START)
