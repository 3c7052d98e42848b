"""Feast's compute engine for this store: one audited Delta version, by column into Redis, inside a recorded run.

Named in `feature_store.yaml` as `batch_engine: {type: pedigree.jobs.materialize.compute_engine.PedigreeSparkEngine}`, so that
the stock `feast materialize` and `FeatureStore.materialize` are recorded like everything
else. A view that transforms as it is read goes Feast's own way, row by row.
"""

from __future__ import annotations

import copy
import dataclasses
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from feast import FeatureView
from feast.feature_view import DUMMY_ENTITY_ID
from feast.infra.common.materialization_job import MaterializationJob, MaterializationJobStatus, MaterializationTask
from feast.infra.compute_engines.spark.compute import SparkComputeEngine, SparkComputeEngineConfig
from feast.infra.compute_engines.spark.job import SparkMaterializationJob
from feast.infra.offline_stores.contrib.spark_offline_store.spark_source import SparkSource
from feast.infra.registry.base_registry import BaseRegistry
from feast.table_format import DeltaFormat
from pyspark.sql import SparkSession

from pedigree.jobs.audited_versions import audited_version
from pedigree.jobs.build.lineage_datasets import view_fields
from pedigree.jobs.errors import UnsupportedSourceError
from pedigree.jobs.gate_mark import Audited
from pedigree.jobs.materialize.file_copy import over_the_lake
from pedigree.jobs.materialize.load import Loaded, load
from pedigree.jobs.materialize.redis_writer import Loading, now_us
from pedigree.jobs.settings import job_settings
from pedigree.jobs.spark.session import open_session
from pedigree.lineage.dataset import Dataset, Origin
from pedigree.lineage.naming import DatasetName, at_path, redis_view
from pedigree.lineage.recorder import Recorder, Run
from pedigree.lineage.settings import lineage_settings
from pedigree.online.apply import is_file_registry, publish_plan, warn_of_eviction
from pedigree.online.feast_plugin import PedigreeOnlineStoreConfig, address_of, open_redis_store
from pedigree.online.plans.view_definitions import refuse_unstorable, schema_of, type_of_field
from pedigree.online.records.record import micros
from pedigree.online.store.redis_store import RedisStore

log = logging.getLogger(__name__)


class PedigreeSparkEngineConfig(SparkComputeEngineConfig):  # type: ignore[misc]  # Feast has no types
    """Nothing beside Feast's own options; the session's settings are the offline store's `spark_conf`."""

    type: str = "pedigree.jobs.materialize.compute_engine.PedigreeSparkEngine"


class PedigreeSparkEngine(SparkComputeEngine):  # type: ignore[misc]  # Feast has no types
    """Materializes one audited Delta version, and says which."""

    def _materialize_one(
        self, registry: BaseRegistry, task: MaterializationTask, from_offline_store: bool = False, **kwargs: Any
    ) -> MaterializationJob:
        spark = open_session(job_settings())
        with Recorder.open(lineage_settings()) as recorder:
            view = over_the_lake(task.feature_view, self.repo_config, spark, recorder)
            self.record(registry, dataclasses.replace(task, feature_view=view), recorder, from_offline_store, **kwargs)
        name = f"{view.name}-{task.start_time}-{task.end_time}"
        return SparkMaterializationJob(job_id=name, status=MaterializationJobStatus.SUCCEEDED)

    def record(
        self,
        registry: BaseRegistry,
        task: MaterializationTask,
        recorder: Recorder,
        from_offline_store: bool = False,
        **kwargs: Any,
    ) -> None:
        """Load a view in a recorded run."""
        view, spark = task.feature_view, open_session(job_settings())
        with recorder.run("materialize", view.name, nominal=(task.start_time, task.end_time)) as run:
            source = delta_source(view)
            audited = version_to_load(view, source, spark)
            version = audited.version
            run.reads(table_read(view, source, version))
            if getattr(view, "feature_transformation", None) or not isinstance(
                self.repo_config.online_store, PedigreeOnlineStoreConfig
            ):
                pinned = dataclasses.replace(task, feature_view=pin(view, source, version))
                job: MaterializationJob = super()._materialize_one(registry, pinned, from_offline_store, **kwargs)
                if job.error():
                    raise job.error()
            else:
                self.load(task, source, audited, run)
            self.declare_view(task, source, run)

    def load(self, task: MaterializationTask, source: SparkSource, audited: Audited, run: Run) -> None:
        """Bring the online store to a version of the view's table, with a progress bar."""
        spark = open_session(job_settings())
        loading = loading_of(
            task.feature_view,
            source,
            audited.version,
            published=audited.published,
            since_us=micros(task.start_time),
            until_us=micros(task.end_time),
            skew_seconds=self.repo_config.online_store.future_skew_seconds,
        )
        with opened(self.repo_config) as redis_store:
            warn_of_eviction(redis_store)
            bar = task.tqdm_builder(None) if task.tqdm_builder else None
            progress = bar.update if bar is not None else lambda _rows: None
            try:
                done = load(loading, redis_store, spark, run_id=run.id, progress=progress)
            finally:
                if bar is not None:
                    bar.close()
            if is_file_registry(self.repo_config):
                publish_plan(self.repo_config, redis_store)  # what `feast apply` could not read yet
        note(run, done)

    def declare_view(self, task: MaterializationTask, source: SparkSource, run: Run) -> None:
        """Tell the run what it wrote: the view in Redis, as of the Delta version that it read."""
        online_store = self.repo_config.online_store
        if getattr(online_store, "connection_string", None) is None:
            raise UnsupportedSourceError(
                task.feature_view.name, f"its online store is {online_store.type}", "Use Redis."
            )
        declare_view(task.feature_view, source, task.project, str(address_of(online_store)), run)


def version_to_load(view: FeatureView, source: SparkSource, spark: SparkSession) -> Audited:
    """The newest audited version of a view's table; what came after it is told of, and not loaded."""
    audited = audited_version(spark, source.path, view.name)
    if audited.unaudited:
        log.warning(
            "versions %s of %s were written by no audited run; version %s is loaded",
            audited.unaudited,
            source.path,
            audited.version,
        )
    if audited.beneath:
        log.warning(
            "versions %s of %s were written by no audited run, and version %s, which is loaded, stands on them: it has what they "
            "left of their rows. Build the slices that they changed again",
            audited.beneath,
            source.path,
            audited.version,
        )
    return audited


def note(run: Run, done: Loaded) -> None:
    """Say in a run's record what its load did."""
    run.note("load", {"number": done.load, "how": done.how, "rows": done.rows, "written": done.written})


@contextmanager
def opened(config: Any) -> Iterator[RedisStore]:
    """The online store, for as long as the block runs."""
    redis_store = open_redis_store(config)
    try:
        yield redis_store
    finally:
        redis_store.close()


def loading_of(
    view: FeatureView,
    source: SparkSource,
    version: int,
    *,
    published: int,
    since_us: int,
    until_us: int,
    skew_seconds: float,
) -> Loading:
    """A view on its way into the store.

    Args:
        published: the version of the audited commit whose rows `version` has.
        skew_seconds: how far ahead of the clock a row may be.
    Raises:
        UnstorableViewError: its name or its types cannot be stored.
    """
    refuse_unstorable(view)
    keys = sorted((column.name, type_of_field(column)) for column in view.entity_columns)
    mapping = {there: here for there, here in (source.field_mapping or {}).items() if there != here}
    return Loading(
        view=view.name,
        uri=source.path,
        version=version,
        schema=schema_of(view),
        join_keys=tuple(pair for pair in keys if pair[0] != DUMMY_ENTITY_ID),
        event=mapping.get(source.timestamp_field, source.timestamp_field),
        created=mapping.get(source.created_timestamp_column, source.created_timestamp_column) or None,
        renamed=tuple(mapping.items()),
        since_us=since_us,
        until_us=until_us,
        latest_us=now_us() + int(skew_seconds * 1e6),
        published=published,
    )


def delta_source(view: FeatureView) -> SparkSource:
    """The view's source.

    Raises:
        UnsupportedSourceError: it is not a Delta table with a path.
    """
    source = view.batch_source
    if not (isinstance(source, SparkSource) and source.path and isinstance(source.table_format, DeltaFormat)):
        raise UnsupportedSourceError(
            view.name, "its source is no Delta path", "Declare it with `delta_table` of pedigree.features."
        )
    return source


def pin(view: FeatureView, source: SparkSource, version: int) -> FeatureView:
    """The view over one version of its table, so that what is read is what is recorded."""
    pinned = copy.copy(view)
    pinned.batch_source = SparkSource(
        name=source.name,
        path=source.path,
        table_format=DeltaFormat(properties={"versionAsOf": str(version)}),
        timestamp_field=source.timestamp_field,
        created_timestamp_column=source.created_timestamp_column,
        field_mapping=source.field_mapping,
    )
    return pinned


def declare_view(view: FeatureView, source: SparkSource, project: str, connection: str, run: Run) -> None:
    """Tell a run that it wrote a view to the online store."""
    name = redis_view(connection, project=project, view=view.name)
    run.writes(view_written(view, name, at_path(source.path), run_id=run.id))


def table_read(view: FeatureView, source: SparkSource, version: int) -> Dataset:
    """The Delta table in the version that is read."""
    return Dataset(name=at_path(source.path), fields=view_fields(view), version=str(version))


def view_written(view: FeatureView, name: DatasetName, table: DatasetName, *, run_id: str) -> Dataset:
    """The view in the online store; its version is the run that filled it."""
    return Dataset(
        name=name,
        fields=view_fields(view),
        version=run_id,
        origins={field.name: (Origin(table, field.name, "identity"),) for field in view_fields(view)},
        description=view.description,
    )
