"""Feast's Spark engine with our session, reading one Delta version, inside a recorded run.

Named in `feature_store.yaml` as `batch_engine: {type: spark_jobs.engine.PedigreeSparkEngine}`, so that the stock
`feast materialize` and `FeatureStore.materialize` are recorded like everything else.
"""

from __future__ import annotations

import copy
import dataclasses
from typing import Any

from feast import FeatureView
from feast.infra.common.materialization_job import MaterializationJob, MaterializationTask
from feast.infra.compute_engines.spark.compute import SparkComputeEngine, SparkComputeEngineConfig
from feast.infra.offline_stores.contrib.spark_offline_store.spark_source import SparkSource
from feast.infra.online_stores.redis import RedisOnlineStoreConfig
from feast.infra.registry.base_registry import BaseRegistry
from feast.table_format import DeltaFormat

from lineage.dataset import Dataset, Origin
from lineage.naming import DatasetName, at_path, redis_view
from lineage.recorder import Recorder, Run
from lineage.settings import lineage_settings
from spark_jobs.errors import UnsupportedSourceError
from spark_jobs.lake import built_version
from spark_jobs.provenance import view_fields
from spark_jobs.session import open_session
from spark_jobs.settings import job_settings


class PedigreeSparkEngineConfig(SparkComputeEngineConfig):  # type: ignore[misc]  # Feast has no types
    """Nothing beside Feast's own options; the session's settings are the offline store's `spark_conf`."""

    type: str = "spark_jobs.engine.PedigreeSparkEngine"


class PedigreeSparkEngine(SparkComputeEngine):  # type: ignore[misc]  # Feast has no types
    """Materializes one audited Delta version, and says which."""

    def _materialize_one(
        self, registry: BaseRegistry, task: MaterializationTask, from_offline_store: bool = False, **kwargs: Any
    ) -> MaterializationJob:
        view = task.feature_view
        spark = open_session(job_settings())
        nominal = (task.start_time, task.end_time)
        settings = lineage_settings()
        with Recorder.open(settings) as recorder, recorder.run("materialize", view.name, nominal=nominal) as run:
            source = delta_source(view)
            version = built_version(spark, source.path, view.name)
            run.reads(table_read(view, source, version))
            pinned = dataclasses.replace(task, feature_view=pin(view, source, version))
            job: MaterializationJob = super()._materialize_one(registry, pinned, from_offline_store, **kwargs)
            failure = job.error()
            if failure:
                raise failure
            self.declare_view(task, source, run)
        return job

    def declare_view(self, task: MaterializationTask, source: SparkSource, run: Run) -> None:
        """Tell the run what it wrote: the view in Redis, as of the Delta version that it read."""
        store = self.repo_config.online_store
        if not isinstance(store, RedisOnlineStoreConfig):
            raise UnsupportedSourceError(task.feature_view.name, f"its online store is {store.type}", "Use redis.")
        name = redis_view(store.connection_string, project=task.project, view=task.feature_view.name)
        run.writes(view_written(task.feature_view, name, at_path(source.path), run_id=run.id))


def delta_source(view: FeatureView) -> SparkSource:
    """The view's source.

    Raises:
        UnsupportedSourceError: it is not a Delta table with a path.
    """
    source = view.batch_source
    if not (isinstance(source, SparkSource) and source.path and isinstance(source.table_format, DeltaFormat)):
        raise UnsupportedSourceError(
            view.name, "its source is no Delta path", "Declare it with `delta_table` of feature_repo/sources.py."
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
