"""The first ten days of March 2013 out of the real data."""

from __future__ import annotations

import io
from datetime import UTC, datetime
from functools import cache

import pandas as pd

from feature_repo.landing import packed_file, unpacked
from feature_repo.sources import FLIGHTS, SOURCES, WEATHER
from pedigree.jobs.time_slice import TimeSlice

MARCH = TimeSlice(datetime(2013, 3, 1, tzinfo=UTC), datetime(2013, 3, 11, tzinfo=UTC))


@cache
def whole(name: str) -> bytes:
    """A sample file as it is in the package."""
    return next(unpacked(packed_file(source)) for source in SOURCES if source.name == name)


@cache
def sample(name: str) -> bytes:
    """A sample file, with only the first ten days of March where it has days."""
    if name not in (FLIGHTS.name, WEATHER.name):
        return whole(name)
    rows = pd.read_csv(io.BytesIO(whole(name)), dtype=str, keep_default_na=False)
    days = rows[(rows["month"] == "3") & (rows["day"].astype(int) <= 10)]
    return days.to_csv(index=False).encode()
