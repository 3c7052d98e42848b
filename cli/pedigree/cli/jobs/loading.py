"""`pedigree materialize`, `rebuild` and `rollback`: the online store, filled from the tables and told about as it goes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime

from feast import FeatureStore, FeatureView
from pyspark.sql import SparkSession
from rich.console import Console

from pedigree.cli.console import Stopwatch, working
from pedigree.cli.errors import NoViewsError, UnknownViewError
from pedigree.jobs.materialize.rollback import StoreRecovery
from pedigree.jobs.settings import job_settings
from pedigree.jobs.spark.session import open_session
from pedigree.lineage.recorder import Recorder
from pedigree.lineage.settings import lineage_settings
from pedigree.online.feast_plugin import address_of


def feast_views(names: Sequence[str]) -> tuple[FeatureStore, list[FeatureView], SparkSession]:
    """Feast's store with a Spark session, and the views with some names, or all.

    Raises:
        UnknownViewError, NoViewsError: a name is no view's, or there is no view.
    """
    settings = job_settings()
    store = FeatureStore(fs_yaml_file=settings.feature_store_yaml)
    views = {view.name: view for view in store.list_feature_views()}
    if not views:
        raise NoViewsError
    unknown = [name for name in names if name not in views]
    if unknown:
        raise UnknownViewError(unknown[0], known=sorted(views))
    return store, [views[name] for name in names or sorted(views)], open_session(settings)


def rebuild(names: Sequence[str], console: Console, *, includes_withheld: bool = False) -> None:
    """Fill the online store anew from the newest audited versions; what is served is served on meanwhile.

    Args:
        includes_withheld: take versions that were rolled back after all.
    Raises:
        UnknownViewError, NoViewsError: a name is no view's, or there is no view.
    """
    watch = Stopwatch()
    store, views, spark = feast_views(names)
    with Recorder.open(lineage_settings()) as recorder, working(console, len(views)) as (say, advance):
        for view in views:
            done = StoreRecovery(store, spark, recorder).rebuild(
                view, tell_rows(say, f"rebuild.{view.name}"), includes_withheld=includes_withheld
            )
            console.print(f"  {view.name:<15} {done.rows:>9,} keys, loaded anew  ({watch.lap():.1f} s)")
            advance()


def rollback(name: str, console: Console, *, to: int | None) -> None:
    """Bring a view in the online store back to an earlier audited version of its table.

    Raises:
        UnknownViewError: the name is no view's.
        NothingToRollBackError: there is no such version.
    """
    watch = Stopwatch()
    store, [view], spark = feast_views([name])
    with Recorder.open(lineage_settings()) as recorder, working(console, 1) as (say, advance):
        version, done = StoreRecovery(store, spark, recorder).rollback(view, tell_rows(say, f"rollback.{name}"), to=to)
        advance()
    console.print(
        f"  {name} is at version {version} again: {done.written:,} of its keys were changed  ({watch.lap():.1f} s)"
    )
    console.print("  Later versions are not loaded until a newer one is published.")


def tell_rows(say: Callable[[str], None], job: str) -> Callable[[int], None]:
    """How many rows a load has done, for the progress bar."""
    done = 0

    def tell(rows: int) -> None:
        nonlocal done
        done += rows
        say(f"{job}: {done:,} rows")

    return tell


def materialize(names: Sequence[str], console: Console, *, start_at: datetime, end_at: datetime) -> None:
    """Fill the online store from the Delta tables through Feast: the newest row of each key in `[start_at, end_at]`.

    Raises:
        UnknownViewError, NoViewsError: a name is no view's, or there is no view.
    """
    watch = Stopwatch()
    store, views, _ = feast_views(names)
    place = address_of(store.config.online_store)
    with working(console, len(views)) as (say, advance):
        for view in views:
            say(f"materialize.{view.name}")
            store.materialize(start_at, end_at, feature_views=[view.name])
            console.print(f"  {view.name:<15} → {place}  ({watch.lap():.1f} s)")
            advance()
