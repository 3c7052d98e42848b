"""The main job, end to end on real flights: `python -m feature_repo.demo [--keep]`.

Build, check, apply, materialize, train, serve, explain, in six steps.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import click
import pandas as pd
from feast import FeatureStore
from rich.console import Console
from rich.table import Table

from feature_repo import model
from feature_repo.bad_delivery import delays_in_seconds
from feature_repo.landing import land_samples
from feature_repo.tables import carrier_delays
from pedigree.cli import local_stack
from pedigree.cli.checkout import enter
from pedigree.cli.console import ENGINE_LOG, Stopwatch, engines_to_log
from pedigree.cli.errors import PedigreeError
from pedigree.cli.jobs.building import build_slices, open_jobs
from pedigree.cli.jobs.feast_commands import feast
from pedigree.cli.jobs.loading import materialize
from pedigree.cli.main import run_command
from pedigree.cli.online.explain import drawn, explain
from pedigree.cli.online.online_client import Served, ask, shown
from pedigree.features.table import FeatureTable
from pedigree.jobs.build.build import Built, Jobs, build
from pedigree.jobs.errors import QualityGateFailedError
from pedigree.jobs.time_slice import TimeSlice
from pedigree.lineage.delivery.outbox import Outbox
from pedigree.lineage.settings import lineage_settings
from pedigree.serving.settings import serving_settings

SERVICE = "late_arrival"
SPLIT_AT = datetime(2013, 11, 1, tzinfo=UTC)
YEAR = TimeSlice(datetime(2013, 1, 1, tzinfo=UTC), datetime(2014, 1, 2, tzinfo=UTC))
"""Every flight of the sample: its last one lands on New Year's Day, UTC."""

WEEK = TimeSlice(datetime(2013, 12, 1, tzinfo=UTC), datetime(2013, 12, 8, tzinfo=UTC))
SERVED_AT = datetime(2013, 12, 30, 17, tzinfo=UTC)
"""What the server takes for now: the sample is of 2013, and against today's clock every value would be past its ttl."""

ONE_IN = 5

EXPLAINED = "carrier_delays__arrival_delay_avg_7d"


class DemoFailedError(PedigreeError):
    """A step of the demo did not end as it must."""


@dataclass(slots=True)
class DemoState:
    """What the steps hand on to each other."""

    console: Console
    jobs: Jobs
    started: ExitStack
    flight: dict[str, str] = field(default_factory=dict)

    def store(self) -> FeatureStore:
        """The feature store, as training code opens it."""
        return FeatureStore(fs_yaml_file=self.jobs.repository.settings.feature_store_yaml)


def run(console: Console, since: Stopwatch, *, keep: bool) -> None:
    """Run the six steps; leaves nothing running unless `keep`.

    Raises:
        an error of the step that failed; what it started is stopped.
    """
    with ExitStack() as started:
        for service in (local_stack.redis(), local_stack.lineage_backend()):
            bring_up(service, started)
        with open_jobs() as jobs:
            tour = DemoState(console, jobs, started)
            console.print(
                f"  Spark {jobs.spark.version}, Redis and the lineage backend are up  ({since.so_far():.1f} s)"
            )
            for number, (title, step) in enumerate(STEPS, start=1):
                console.print(f"\n[bold]{number}/{len(STEPS)} {title}[/bold]")
                watch = Stopwatch()
                step(tour)
                console.print(f"  [dim]{watch.so_far():.1f} s[/dim]")
        console.print(f"\n[bold]Done in {since.so_far():.0f} s.[/bold]")
        say_what_next(console, tour, keep=keep)
        if keep:
            started.pop_all()


def bring_up(service: local_stack.LocalService, started: ExitStack) -> None:
    """Start a service, to be stopped with the rest unless it was up before."""
    if local_stack.start(service):
        started.callback(local_stack.stop, service)


def build_step(tour: DemoState) -> None:
    """Land the sample and build every table."""
    land(tour.jobs, tour.console)
    built = build_slices(tuple(tour.jobs.repository.tables.values()), YEAR, tour.jobs, tour.console)
    tour.console.print(totals(built))
    tour.console.print(
        "  source rows = events used + set aside, and computed = published + quarantined, for each table."
    )


def land(jobs: Jobs, console: Console) -> None:
    """Put the sample data where sources are read from, and say what was new."""
    landed = land_samples(jobs)
    for source, rows in landed.items():
        console.print(f"  landed {source}: {rows:,} rows")
    if not landed:
        console.print("  landed nothing new: the sample data is there")


def totals(built: list[Built]) -> Table:
    """What became of every row, table by table.

    Raises:
        DemoFailedError: the counts of a table do not add up.
    """
    columns = ("table", "source rows", "events used", "set aside", "computed", "published", "quarantined")
    table = Table(*columns, box=None, padding=(0, 2))
    for one in built:
        rows, events = one.rows, one.rows.events
        aside = sum(events.set_aside.values())
        if events.used + aside != events.total or rows.published + rows.quarantined != rows.computed:
            raise DemoFailedError(f"The rows of {one.table} do not add up: {rows}.")
        counts = (events.total, events.used, aside, rows.computed, rows.published, rows.quarantined)
        table.add_row(one.table, *(f"{count:,}" for count in counts))
    return table


def check_step(tour: DemoState) -> None:
    """Plant a bad delivery and see it stopped; then the good one replaces its own slice."""
    table, jobs = carrier_delays, tour.jobs
    since = WEEK.start_at - table.lookback - timedelta(days=1)
    tour.console.print(
        f"  planted: the flights from {since:%Y-%m-%d} on, delivered with delays in seconds instead of minutes"
    )
    with delays_in_seconds(jobs, since=since):
        try:
            build(table, WEEK, jobs)
        except QualityGateFailedError as stopped:
            tour.console.print("  [bold]stopped at the gate[/bold], because these rules did not hold:")
            for reason in stopped.broken:
                tour.console.print(f"    {reason}")
            tour.console.print(
                f"  the table stays at version {stopped.version}; all {stopped.rows:,} rows of the slice are kept,"
            )
            tour.console.print(f"  with the names of the rules they broke, in {stopped.quarantine}")
        else:
            raise DemoFailedError("The gate let the planted bad delivery pass.")
    tour.console.print("  the good delivery is back; its week is built again and replaces itself:")
    before = rows_of(table, jobs)
    build_slices([table], WEEK, jobs, tour.console)
    if rows_of(table, jobs) != before:
        raise DemoFailedError(f"Building a week again changed the number of rows: {before} before.")
    tour.console.print(f"  the table has {before:,} rows, as before")


def rows_of(table: FeatureTable, jobs: Jobs) -> int:
    """How many rows a table has."""
    return int(jobs.spark.read.format("delta").load(jobs.repository.lake.table(table.name)).count())


def apply_step(tour: DemoState) -> None:
    """Stock `feast apply`, then Redis through Feast."""
    watch = Stopwatch()
    feast("apply")
    objects = ", ".join(sorted(view.name for view in tour.store().list_feature_views()))
    tour.console.print(f"  feast apply: {objects}; service {SERVICE}  ({watch.lap():.1f} s)")
    materialize([], tour.console, start_at=YEAR.start_at, end_at=SERVED_AT)


def train_step(tour: DemoState) -> None:
    """Point-in-time features for real flights, and what they are worth."""
    store, labelled = tour.store(), model.flights(tour.jobs)
    flights = model.sampled(labelled, one_in=ONE_IN)
    with tour.jobs.recorder.run("train", SERVICE, description="Predicts a late arrival") as run:
        train = model.made(store, SERVICE, flights, run)
        if len(train) != len(flights):
            raise DemoFailedError(f"{len(flights)} flights went in, {len(train)} training rows came out.")
        scores = model.score(train.to_pandas(), train.features, split_at=SPLIT_AT)
        run.note("scores", {"without": scores.without_features, "with": scores.with_features, "rows": len(train)})
    tour.console.print(
        f"  training set {SERVICE}@{train.manifest.short_id}: {len(train):,} flights × {len(train.features)} features, each as of"
        f" {model.LEAD // timedelta(hours=1)} hours before its departure"
    )
    tour.console.print(
        f"  trained on {scores.trained_on:,} flights before {SPLIT_AT:%B}, tested on {scores.tested_on:,} later ones: ROC AUC"
        f" {scores.without_features:.3f} with the schedule only, [bold]{scores.with_features:.3f}[/bold] with the features"
    )


def serve_step(tour: DemoState) -> None:
    """The vector of one flight over gRPC, beside its offline value at the same instant."""
    bring_up(local_stack.server(clock=SERVED_AT.isoformat()), tour.started)
    chosen = model.next_flight(model.flights(tour.jobs), after=SERVED_AT)
    tour.flight = {key: str(chosen[key].iloc[0]) for key in model.KEYS}
    address = serving_settings().address
    vector = ask(address, SERVICE, tour.flight)
    asked = chosen.assign(**{model.INSTANT: pd.Timestamp(SERVED_AT)})
    offline = model.historical(tour.store(), SERVICE, asked).iloc[0]
    keys = " ".join(f"{key}={value}" for key, value in tour.flight.items())
    tour.console.print(f"  {address} asked as a stock Feast client at {SERVED_AT:%Y-%m-%d %H:%M} UTC: {keys}")
    tour.console.print(vector_table(vector, offline))
    differing = [name for name, served in vector.items() if not same(served.value, offline[name])]
    if differing:
        raise DemoFailedError(f"Online and offline differ in {', '.join(differing)}.")
    minutes = chosen["minutes_late"].iloc[0]
    tour.console.print(
        f"  online equals offline in all {len(vector)} features. That flight landed "
        f"{abs(minutes):.0f} minutes {'late' if minutes > 0 else 'early'}."
    )


def vector_table(vector: dict[str, Served], offline: pd.Series) -> Table:
    """Each feature as it is served, with the offline value beside it."""
    table = Table("feature", "served", "status", "event time (UTC)", "offline", box=None, padding=(0, 2))
    for name, served in vector.items():
        at = f"{served.event_at:%Y-%m-%d %H:%M}" if served.event_at else ""
        table.add_row(name, shown(served.value), served.status, at, shown(offline[name]))
    return table


def same(online: Any, offline: Any) -> bool:
    """True where both stores hold the same value; pandas writes null as NaN."""
    if online is None or pd.isna(offline):
        return online is None and bool(pd.isna(offline))
    return bool(online == offline)


def explain_step(tour: DemoState) -> None:
    """The way back from one value, read from the lineage backend."""
    settings = lineage_settings()
    Outbox.open(settings).flush()
    tour.console.print(drawn(explain(serving_settings().address, SERVICE, EXPLAINED, tour.flight)))
    tour.console.print(f"  read from {settings.url}")


def say_what_next(console: Console, tour: DemoState, *, keep: bool) -> None:
    """What a newcomer would try next."""
    keys = " ".join(f"{key}={value}" for key, value in tour.flight.items())
    if not keep:
        console.print("Nothing is left running. To look around, bring it back:")
        console.print("  source .venv/bin/activate            for the commands below")
        console.print("  pedigree up                          Redis and the lineage backend")
        console.print(f"  PEDIGREE_CLOCK={SERVED_AT.isoformat()} pedigree serve")
    else:
        console.print(
            f"Redis, the lineage backend ({lineage_settings().url}) and the server ({serving_settings().address}) stay up:"
        )
        console.print("  pedigree down                        stops them")
    console.print("Then try:")
    console.print("  pedigree lineage                     the graph in the terminal")
    console.print("  pedigree dataset list                the training set by its id")
    console.print(f"  pedigree explain {SERVICE} plane_usage__seats {keys}")
    console.print("  feast -f feature_repo/feature_store.yaml feature-views list")
    console.print(
        "README.md says how to bring your own table, and how to point all of this at a real Redis, Spark, S3 and Marquez."
    )


STEPS: tuple[tuple[str, Callable[[DemoState], None]], ...] = (
    ("build: four Delta feature tables, behind their quality gates", build_step),
    ("check: a bad delivery is stopped at the gate", check_step),
    ("apply and materialize: stock Feast, into Redis", apply_step),
    ("train: point-in-time features for real flights", train_step),
    ("serve: gRPC, checked against the offline store", serve_step),
    ("explain: the way back from one served value", explain_step),
)


@click.command()
@click.option("--keep", is_flag=True, help="Leave Redis, the lineage backend and the server running.")
def demo(*, keep: bool) -> None:
    """Run the main job end to end on real flights, in six steps."""
    enter()
    since = Stopwatch()
    with engines_to_log() as console:
        console.print(
            f"[bold]Pedigree[/bold]: every flight out of New York City in 2013. Engines talk into {ENGINE_LOG}."
        )
        run(console, since, keep=keep)


if __name__ == "__main__":
    run_command(demo)
