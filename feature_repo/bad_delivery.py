"""The bad delivery that the demo plants: the flights of the slice with delays in seconds where minutes are due."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime

import pandas as pd

from feature_repo.landing import landing_folder
from feature_repo.sources import FLIGHTS
from pedigree.jobs.build.build import Jobs
from pedigree.jobs.build.lineage_datasets import source_dataset
from pedigree.jobs.sources.reader import read

SECONDS_PER_MINUTE = 60


@contextmanager
def delays_in_seconds(jobs: Jobs, *, since: datetime) -> Iterator[None]:
    """Within the block the landed flights have departure and arrival delays in seconds, from `since` on.

    The good file is put back at the end, whatever happens, so no later build reads the bad one.
    """
    file = landing_folder(jobs.repository.settings.landing) / FLIGHTS.file
    good = file.with_suffix(".good")
    file.rename(good)
    try:
        corrupted(pd.read_csv(good, dtype=str, keep_default_na=False), since).to_csv(file, index=False)
        declare(jobs)
        yield
    finally:
        good.replace(file)


def corrupted(flights: pd.DataFrame, since: datetime) -> pd.DataFrame:
    """The flights of days from `since` on, with delays sixty times what they were; all else as it came, nulls too."""
    recent = flights[pd.to_datetime(flights[["year", "month", "day"]].astype(int), utc=True) >= since]
    delays = {column: in_seconds(recent[column]) for column in ("dep_delay", "arr_delay")}
    return recent.assign(**delays)


def in_seconds(minutes: pd.Series[str]) -> pd.Series[str]:
    """Numbers times sixty; `NA` stays."""
    return minutes.where(minutes == "NA", (pd.to_numeric(minutes, errors="coerce") * SECONDS_PER_MINUTE).astype(str))


def declare(jobs: Jobs) -> None:
    """Record the bad file as the delivery that it is, so that the failed build's input has an origin."""
    with jobs.recorder.run("plant", FLIGHTS.name, description="A delivery with delays in seconds") as run:
        there = read(jobs.spark, FLIGHTS, jobs.repository)
        run.writes(source_dataset(there, rows=there.rows.count()))
