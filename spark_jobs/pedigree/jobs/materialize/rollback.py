"""The online store brought back: to an earlier audited version, or filled anew from the tables."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from datetime import datetime

from feast import FeatureStore, FeatureView
from pyspark.sql import SparkSession

from pedigree.jobs.audited_versions import may_be_named, version_before
from pedigree.jobs.errors import LoadOvertakenError, NothingToRollBackError
from pedigree.jobs.gate_mark import Audited
from pedigree.jobs.materialize.compute_engine import (
    declare_view,
    delta_source,
    loading_of,
    note,
    opened,
    table_read,
    version_to_load,
)
from pedigree.jobs.materialize.file_copy import over_its_table, over_the_lake
from pedigree.jobs.materialize.load import Loaded, refresh, roll_back
from pedigree.jobs.materialize.redis_writer import Loading, Progress, now_us
from pedigree.lineage.recorder import Recorder, Run
from pedigree.online.apply import publish_plan, warn_of_eviction
from pedigree.online.feast_plugin import address_of
from pedigree.online.plans.view_definitions import prefix_of
from pedigree.online.records.record import micros
from pedigree.online.store.load_state import LoadState
from pedigree.online.store.load_state_repair import mend
from pedigree.online.store.redis_store import RedisStore

TRIES = 3
"""How often a rollback is tried that loads get in the way of."""

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class StoreRecovery:
    """What bringing views back needs: Feast's store, a session and the recorder."""

    store: FeatureStore
    spark: SparkSession
    recorder: Recorder

    def rebuild(self, view: FeatureView, progress: Progress, *, includes_withheld: bool = False) -> Loaded:
        """Fill a view anew from the newest audited version of its table, whatever the store holds; reads go on meanwhile.

        A view whose mark is damaged is not read until it is full again. What was loaded before is loaded again: what the
        store says is loaded, the times that Feast's registry has as materialized, or else all. After a rollback it is the
        version that is served, until a newer one is published.

        Args:
            includes_withheld: take a version that was rolled back after all.
        Raises:
            LoadOvertakenError: somebody else changed what is loaded meanwhile, and that stands.
        """
        view = over_the_lake(view, self.store.config, self.spark, self.recorder)
        since, until = loaded_times(view)
        nominal = (since, until) if since and until else None
        span = (micros(since), micros(until)) if since and until else (0, now_us())
        with self.recorder.run("rebuild", view.name, nominal=nominal) as run, opened(self.store.config) as redis_store:
            mend(redis_store, view.name, prefix_of(redis_store.project, view))
            warn_of_eviction(redis_store)
            audited = version_to_load(view, delta_source(view), self.spark)
            mark = None if includes_withheld else redis_store.mark(view.name)
            version, published = version_to_rebuild(audited, mark)
            loading = self.loading(view, version, span, published=published)
            done = refresh(
                loading, redis_store, self.spark, run_id=run.id, progress=progress, includes_withheld=includes_withheld
            )
            self.record(view, loading, done, run)
            publish_plan(self.store.config, redis_store)
        return done

    def rollback(self, view: FeatureView, progress: Progress, *, to: int | None) -> tuple[int, Loaded]:
        """Bring a view back to the last audited version before the one that is served, or to version `to`; returns which.

        Where a load ends meanwhile, what it loaded is rolled back too.

        Raises:
            NothingToRollBackError: there is no such version.
            LoadOvertakenError: others change what is loaded all the time.
        """
        view = over_its_table(view, self.store.config)
        with opened(self.store.config) as redis_store, self.recorder.run("rollback", view.name) as run:
            mark = redis_store.mark(view.name)
            version = self.version_before(view, mark, to)
            since, until = (mark.since_us, mark.until_us) if mark else (None, None)
            loading = self.loading(view, version, (since or 0, until or now_us()), published=version)
            done = self.rolled_back(loading, redis_store, run, progress)
            self.record(view, loading, done, run)
        return version, done

    def rolled_back(self, loading: Loading, redis_store: RedisStore, run: Run, progress: Progress) -> Loaded:
        """Roll back, again where a load ended meanwhile."""
        for _ in range(TRIES - 1):
            try:
                return roll_back(loading, redis_store, self.spark, run_id=run.id, progress=progress)
            except LoadOvertakenError as overtaken:
                log.warning("%s The rollback is tried again.", overtaken)
        return roll_back(loading, redis_store, self.spark, run_id=run.id, progress=progress)

    def version_before(self, view: FeatureView, mark: LoadState | None, to: int | None) -> int:
        """The version to go back to.

        Raises:
            NothingToRollBackError: there is none.
        """
        if mark is None or mark.version is None:
            raise NothingToRollBackError(view.name, "nothing was loaded of it")
        path = delta_source(view).path
        if to is None:
            version = version_before(self.spark, path, mark.version, view.name)
            if version is None:
                raise NothingToRollBackError(view.name, f"there is no audited version before {mark.version}")
            return version
        if to >= mark.version:
            raise NothingToRollBackError(view.name, f"version {mark.version} is served, which is not after {to}")
        if not may_be_named(self.spark, path, to, view.name):
            raise NothingToRollBackError(
                view.name, f"version {to} was written by no audited run, or is no longer there"
            )
        return to

    def loading(self, view: FeatureView, version: int, span: tuple[int, int], *, published: int) -> Loading:
        """A version of a view's table on its way into the store."""
        skew = self.store.config.online_store.future_skew_seconds
        return loading_of(
            view,
            delta_source(view),
            version,
            published=published,
            since_us=span[0],
            until_us=span[1],
            skew_seconds=skew,
        )

    def record(self, view: FeatureView, loading: Loading, done: Loaded, run: Run) -> None:
        """Say in a run's record what it read and wrote."""
        source = delta_source(view)
        run.reads(table_read(view, source, loading.version))
        note(run, done)
        declare_view(view, source, self.store.project, str(address_of(self.store.config.online_store)), run)


def version_to_rebuild(audited: Audited, mark: LoadState | None) -> tuple[int, int]:
    """The version to load anew, and that of the audited commit whose rows it has: not one that was rolled back."""
    if mark is None or mark.withheld is None or mark.version is None or audited.published > mark.withheld:
        return audited.version, audited.published
    return mark.version, mark.version


def loaded_times(view: FeatureView) -> tuple[datetime | None, datetime | None]:
    """The times that Feast's registry has as materialized; None where there are none."""
    intervals = view.materialization_intervals
    if not intervals:
        return None, None
    return min(start for start, _ in intervals), max(end for _, end in intervals)
