"""`pedigree build`: jobs, told about as they go."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial

from feast import FeatureStore
from rich.console import Console

from pedigree.cli.console import Stopwatch, working
from pedigree.features.lake import current_lake
from pedigree.features.repository import current_repository
from pedigree.features.table import FeatureTable
from pedigree.jobs.build.backfill import pending
from pedigree.jobs.build.build import Built, Jobs, build
from pedigree.jobs.build.row_reconciliation import RowCounts
from pedigree.jobs.settings import job_settings
from pedigree.jobs.spark.session import open_session
from pedigree.jobs.time_slice import TimeSlice
from pedigree.jobs.training_sets.service import TrainingSetService
from pedigree.jobs.training_sets.store import TrainingSetStore
from pedigree.lineage.recorder import Recorder
from pedigree.lineage.settings import lineage_settings


def silent(_stage: str) -> None:
    """Tell nobody."""


@contextmanager
def open_jobs(names: Sequence[str] = ()) -> Iterator[Jobs]:
    """The repository, a Spark session and a recorder; silent until somebody listens to its progress.

    Args:
        names: tables that the repository must have, which is told before Spark starts.
    Raises:
        UnknownTableError: it has not.
    """
    repository = current_repository()
    repository.named(names)
    spark = open_session(job_settings())
    with Recorder.open(lineage_settings()) as recorder:
        jobs = Jobs(spark=spark, repository=repository, recorder=recorder, progress=silent)
        try:
            yield jobs
        finally:
            jobs.events.clear()


def open_training_sets() -> TrainingSetService:
    """Where training sets are made: the configured feature store, and the store of training sets in the lake."""
    store = FeatureStore(fs_yaml_file=job_settings().feature_store_yaml)
    return TrainingSetService(store, TrainingSetStore(current_lake().datasets))


def build_slices(tables: Sequence[FeatureTable], time_slice: TimeSlice, jobs: Jobs, console: Console) -> list[Built]:
    """Build one slice of each table, with one line for each; see `backfill`."""
    return backfill(tables, [time_slice], jobs, console, resume=False)


def backfill(
    tables: Sequence[FeatureTable], parts: Sequence[TimeSlice], jobs: Jobs, console: Console, *, resume: bool
) -> list[Built]:
    """Build consecutive slices of each table, in order, with one line for each.

    Args:
        resume: leave out what is published already from the same sources and declarations, and say so.
    Raises:
        JobError: a build failed; what was built before it stays, and resuming goes on with it.
    """
    built, watch = [], Stopwatch()
    with working(console, len(tables) * len(parts)) as (say, advance):
        for table in tables:
            left = pending(table, parts, jobs) if resume else parts
            if len(left) < len(parts):
                console.print(f"  {table.name:<15} {len(parts) - len(left)} of {len(parts)} slices are already built")
            for part in parts:
                if part in left:
                    built.append(build(table, part, jobs.telling(partial(tell_stage, say, table.name))))
                    console.print(line_of(built[-1], seconds=watch.lap()))
                advance()
    return built


def tell_stage(say: Callable[[str], None], table: str, stage: str) -> None:
    """How far a build is, for the progress bar."""
    say(f"build.{table}: {stage}")


def line_of(built: Built, *, seconds: float) -> str:
    """One build in one line: what became of what it read."""
    rows = built.rows
    return (
        f"  {built.table:<15} {built.time_slice.start_at:%Y-%m-%d}…{built.time_slice.end_at:%Y-%m-%d}"
        f"  {read_by(rows)} → {rows.computed:,} computed = {rows.published:,} published"
        f" + {rows.quarantined:,} quarantined → version {built.version}  ({seconds:.1f} s)"
    )


def read_by(rows: RowCounts) -> str:
    """What a build was made of: the events it used and set aside, or the rows of each source."""
    if not rows.events.counts:
        return ", ".join(f"{count:,} of {source}" for source, count in rows.sources.items())
    aside = "".join(f", {count:,} {outcome} set aside" for outcome, count in rows.events.set_aside.items())
    return f"{rows.events.used:>7,} events{aside}"
