"""The online store brought back: to an earlier audited version, or filled anew from the tables."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from feast import FeatureStore, FeatureView
from pyspark.sql import SparkSession

from lineage.recorder import Recorder, Run
from online import names
from online.applying import publish_plan, warn_of_eviction
from online.marks import Mark
from online.record import micros
from spark_jobs import lake
from spark_jobs.engine import declare_view, delta_source, loading_of, note, opened, table_read, version_to_load
from spark_jobs.errors import NothingToRollBackError
from spark_jobs.materialize import Loaded, refresh, roll_back
from spark_jobs.sending import Loading, Progress, now_us


@dataclass(frozen=True, slots=True)
class Restoring:
    """What bringing views back needs: Feast's store, a session and the recorder."""

    store: FeatureStore
    spark: SparkSession
    recorder: Recorder

    def rebuild(self, view: FeatureView, told: Progress) -> Loaded:
        """Fill a view anew from the newest audited version of its table, whatever the store holds; reads go on meanwhile.

        What was loaded before is loaded again: the times that Feast's registry has as materialized, or else all.
        """
        since, until = loaded_times(view)
        nominal = (since, until) if since and until else None
        span = (micros(since), micros(until)) if since and until else (0, now_us())
        with self.recorder.run("rebuild", view.name, nominal=nominal) as run, opened(self.store.config) as bank:
            loading = self.loading(view, version_to_load(view, delta_source(view), self.spark), span)
            warn_of_eviction(bank)
            memories = bank.memories()
            done = refresh(loading, bank, self.spark, run_id=run.id, told=told)
            mark = bank.mark(view.name)
            bank.set_baseline(names.field(view.name, 0 if mark is None else mark.generation), memories)
            self.record(view, loading, done, run)
            publish_plan(self.store.config, bank)
        return done

    def rollback(self, view: FeatureView, told: Progress, *, to: int | None) -> tuple[int, Loaded]:
        """Bring a view back to the last audited version before the one that is served, or to version `to`; returns which.

        Raises:
            NothingToRollBackError: there is no such version.
        """
        with opened(self.store.config) as bank, self.recorder.run("rollback", view.name) as run:
            mark = bank.mark(view.name)
            version = self.version_before(view, mark, to)
            since, until = (mark.since_us, mark.until_us) if mark else (None, None)
            loading = self.loading(view, version, (since or 0, until or now_us()))
            done = roll_back(loading, bank, self.spark, run_id=run.id, told=told)
            self.record(view, loading, done, run)
        return version, done

    def version_before(self, view: FeatureView, mark: Mark | None, to: int | None) -> int:
        """The version to go back to.

        Raises:
            NothingToRollBackError: there is none.
        """
        if mark is None or mark.version is None:
            raise NothingToRollBackError(view.name, "nothing was loaded of it")
        version = to if to is not None else lake.audited_before(self.spark, delta_source(view).path, mark.version)
        if version is None or version >= mark.version:
            raise NothingToRollBackError(view.name, f"there is no audited version before {mark.version}")
        return version

    def loading(self, view: FeatureView, version: int, span: tuple[int, int]) -> Loading:
        """A version of a view's table on its way into the store."""
        skew = self.store.config.online_store.future_skew_seconds
        return loading_of(view, delta_source(view), version, since_us=span[0], until_us=span[1], skew_seconds=skew)

    def record(self, view: FeatureView, loading: Loading, done: Loaded, run: Run) -> None:
        """Say in a run's record what it read and wrote."""
        source = delta_source(view)
        run.reads(table_read(view, source, loading.version))
        note(run, done)
        declare_view(view, source, self.store.project, self.store.config.online_store.connection_string, run)


def loaded_times(view: FeatureView) -> tuple[datetime | None, datetime | None]:
    """The times that Feast's registry has as materialized; None where there are none."""
    intervals = view.materialization_intervals
    if not intervals:
        return None, None
    return min(start for start, _ in intervals), max(end for _, end in intervals)
