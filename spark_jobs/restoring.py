"""The online store brought back: to an earlier audited version, or filled anew from the tables."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from functools import partial

from feast import FeatureStore, FeatureView
from pyspark.sql import SparkSession

from lineage.recorder import Recorder, Run
from online.bank import Bank
from online.store import publish_plan
from spark_jobs import lake
from spark_jobs.engine import declare_view, delta_source, loading_of, note, opened, table_read, version_to_load
from spark_jobs.errors import NothingToRollBackError
from spark_jobs.materialize import Loaded, Loading, Progress, micros, now_us, refresh, roll_back


def rebuild(view: FeatureView, store: FeatureStore, spark: SparkSession, recorder: Recorder, told: Progress) -> Loaded:
    """Fill a view anew from the newest audited version of its table, whatever the store holds; reads go on meanwhile.

    What was loaded before is loaded again: the times that Feast's registry has as materialized, or else all.
    """
    source = delta_source(view)
    since, until = loaded_times(view)
    with recorder.run("rebuild", view.name, nominal=(since, until) if since and until else None) as run:
        version = version_to_load(view, source, spark)
        since_us, until_us = (micros(since), micros(until)) if since and until else (0, now_us())
        done = brought(view, store, spark, version, since_us, until_us, run, partial(refresh, run_id=run.id, told=told))
        with opened(store.config) as bank:
            publish_plan(store.config, bank)
    return done


def rollback(
    view: FeatureView, store: FeatureStore, spark: SparkSession, recorder: Recorder, told: Progress, *, to: int | None
) -> tuple[int, Loaded]:
    """Bring a view back to the last audited version before the one that is served, or to version `to`; returns which.

    Raises:
        NothingToRollBackError: there is no such version.
    """
    source = delta_source(view)
    with opened(store.config) as bank:
        mark = bank.mark(view.name)
    if mark is None or mark.version is None:
        raise NothingToRollBackError(view.name, "nothing was loaded of it")
    version = to if to is not None else lake.audited_before(spark, source.path, mark.version)
    if version is None or version >= mark.version:
        raise NothingToRollBackError(view.name, f"there is no audited version before {mark.version}")
    with recorder.run("rollback", view.name) as run:
        done = brought(
            view,
            store,
            spark,
            version,
            mark.since_us or 0,
            mark.until_us or now_us(),
            run,
            partial(roll_back, run_id=run.id, told=told),
        )
    return version, done


def brought(
    view: FeatureView,
    store: FeatureStore,
    spark: SparkSession,
    version: int,
    since_us: int,
    until_us: int,
    run: Run,
    work: Callable[[Loading, Bank, SparkSession], Loaded],
) -> Loaded:
    """Bring the online store to a version of a view's table, and record it."""
    source, online = delta_source(view), store.config.online_store
    run.reads(table_read(view, source, version))
    loading = loading_of(
        view, source, version, since_us=since_us, until_us=until_us, skew_seconds=online.future_skew_seconds
    )
    with opened(store.config) as bank:
        done = work(loading, bank, spark)
    note(run, done)
    declare_view(view, source, store.project, online.connection_string, run)
    return done


def loaded_times(view: FeatureView) -> tuple[datetime | None, datetime | None]:
    """The times that Feast's registry has as materialized; None where there are none."""
    intervals = view.materialization_intervals
    if not intervals:
        return None, None
    return min(start for start, _ in intervals), max(end for _, end in intervals)
