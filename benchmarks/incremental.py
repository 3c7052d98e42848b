"""What one more day costs: a year of events in Delta with windows of 7 and 90 days is built whole, then day by day.

The days' values are compared with those of a rebuild of everything, in a lake of its own, before a figure is given. `QUICK=1`
takes fewer keys.
"""

from __future__ import annotations

import json
import os
import statistics
import sys
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path

from feast import Entity, FeatureView, Field, ValueType
from feast.types import String
from pydantic import SecretStr
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from pedigree.features.contract import between, contract
from pedigree.features.delta_source import delta_table
from pedigree.features.events import KNOWN_AT, EventSet
from pedigree.features.repository import Repository
from pedigree.features.settings import RepositorySettings
from pedigree.features.sources import Source
from pedigree.features.table import Table
from pedigree.features.windows import DAY, HOUR, Aggregation, Operation, Windows
from pedigree.jobs.build.build import Jobs, build
from pedigree.jobs.settings import job_settings
from pedigree.jobs.spark.session import open_session
from pedigree.jobs.time_slice import TimeSlice
from pedigree.lineage.recorder import Recorder
from pedigree.lineage.settings import LineageSettings

START = datetime(2025, 1, 1, tzinfo=UTC)
DAYS = 365
ADDED = 3
EVENTS_PER_TILE = 2
TRIPS = Source(
    name="trips",
    file="trips",
    schema="place STRING, known_at TIMESTAMP, amount DOUBLE",
    description="Synthetic: every place has events in every hour",
    format="delta",
    time_column=KNOWN_AT,
)
WINDOWS = Windows(
    keys=("place",),
    every=HOUR,
    features=tuple(
        Aggregation("amount", operation, over)
        for over in (7 * DAY, 90 * DAY)
        for operation in (Operation.COUNT, Operation.AVG, Operation.MAX, Operation.STDDEV)
    ),
)


def day(number: int, days: int = 1) -> TimeSlice:
    """The rows of some days, the first of them number 0."""
    return TimeSlice(START + number * DAY, START + (number + days) * DAY)


def table() -> Table:
    """A table of nothing but windows, over the synthetic events."""
    place = Entity(name="place", join_keys=["place"], value_type=ValueType.STRING)
    view = FeatureView(
        name="place_amounts",
        entities=[place],
        ttl=DAY,
        schema=[Field(name="place", dtype=String), *WINDOWS.fields],
        source=delta_table("place_amounts", description="Amounts by place"),
    )
    events = EventSet(
        name="trips",
        sources=(TRIPS,),
        derive=lambda inputs: inputs[TRIPS.name].select("*", F.lit("seen").alias("outcome")),
        columns={name: ((TRIPS.name, name),) for name in ("place", KNOWN_AT, "amount")},
    )
    not_negative = between("amount_count_7d_is_not_negative", "amount_count_7d", 0, None)
    return Table(view, contract(view, [not_negative]), events, WINDOWS, frozenset({"seen"}))


def add_events(spark: SparkSession, path: Path, time_slice: TimeSlice, *, places: int) -> None:
    """Append the events of which a slice's rows are the first to know, in files of consecutive times."""
    hours = (time_slice.end_at - time_slice.start_at) // HOUR
    numbers = spark.range(hours * places * EVENTS_PER_TILE)
    first = int((time_slice.start_at - HOUR).timestamp())
    hour = F.floor(F.col("id") / (places * EVENTS_PER_TILE))
    seconds = F.lit(first) + hour * 3600 + F.pmod(F.xxhash64("id"), F.lit(3600))
    events = numbers.select(
        F.concat(F.lit("place-"), F.col("id") % places).alias("place"),
        F.timestamp_seconds(seconds).alias(KNOWN_AT),
        (F.pmod(F.xxhash64("id", F.lit(1)), F.lit(100_000)) / 1000).alias("amount"),
    )
    events.write.format("delta").mode("append").save(path.as_uri())


def repository(folder: Path, lake: str) -> Repository:
    """A repository without a file, whose sources are in a folder and whose tables are in a lake of their own there."""
    return Repository(RepositorySettings(folder, "bench", (folder / lake).as_uri(), folder.as_uri()), {}, {})


def seconds_of(time_slice: TimeSlice, jobs: Jobs) -> float:
    """How long the build of a slice takes, the whole way from the sources to the published table."""
    since = time.perf_counter()
    build(table(), time_slice, jobs)
    seconds = time.perf_counter() - since
    jobs.events.clear()
    return seconds


def differing(found: DataFrame, expected: DataFrame) -> int:
    """How many rows are on one side only, or have a value that differs by more than a billionth."""
    keys = ["place", "event_at"]
    far = F.lit(False)
    for name in WINDOWS.names:
        left, right = F.col(f"found.{name}"), F.col(f"expected.{name}")
        near = F.abs(left - right) <= 1e-9 * F.greatest(F.abs(right), F.lit(1.0))
        far = far | ~F.coalesce(near, left.isNull() & right.isNull())
    both = found.alias("found").join(expected.alias("expected"), on=keys, how="inner")
    matched, wrong = both.agg(F.count(F.lit(1)), F.count_if(far)).collect()[0]
    return int(wrong + found.count() + expected.count() - 2 * matched)


def incremental_share(spark: SparkSession, folder: Path, quick: bool) -> dict[str, float]:
    """Seconds of the full build and of a further day, the day's share of the full build, and how many rows differ.

    Args:
        folder: an empty place for events and tables.
        quick: take fewer keys.
    """
    places = 30 if quick else 800
    lineage = LineageSettings("http://127.0.0.1:9", "bench", folder / "outbox", SecretStr("sqlite://"), None)
    add_events(spark, folder / TRIPS.file, day(0, DAYS), places=places)
    with Recorder.open(lineage) as recorder:
        kept, rebuilt = (
            Jobs(spark, repository(folder, lake), recorder, progress=lambda _stage: None)
            for lake in ("lake", "rebuilt")
        )
        full, days = seconds_of(day(0, DAYS), kept), []
        for number in range(DAYS, DAYS + ADDED):
            add_events(spark, folder / TRIPS.file, day(number), places=places)
            days.append(seconds_of(day(number), kept))
        seconds_of(day(0, DAYS + ADDED), rebuilt)
    tables = [
        spark.read.format("delta").load((folder / lake / "place_amounts").as_uri()) for lake in ("lake", "rebuilt")
    ]
    return {
        "rows": tables[0].count(),
        "full_seconds": round(full, 2),
        "first_day_seconds": round(days[0], 2),
        "day_seconds": round(statistics.median(days), 2),
        "first_day_share": round(days[0] / full, 4),
        "incremental_share": round(statistics.median(days) / full, 4),
        "rows_that_differ": differing(*tables),
    }


def main() -> None:
    """Figures as JSON on the last line."""
    spark = open_session(job_settings())
    with tempfile.TemporaryDirectory() as folder:
        figures = incremental_share(spark, Path(folder), quick=bool(os.environ.get("QUICK")))
    sys.stdout.write(json.dumps(figures) + "\n")


if __name__ == "__main__":
    main()
