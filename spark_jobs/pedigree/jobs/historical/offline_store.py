"""Feast's Spark offline store with a point-in-time join that is right to the row and linear.

Named in `feature_store.yaml` as `offline_store: {type: pedigree.jobs.historical.offline_store.PedigreeOfflineStore}`.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Any, Literal

import pyarrow as pa
import pyarrow.parquet as pq
from deltalake import write_deltalake
from feast import BatchFeatureView, FeatureView, OnDemandFeatureView, RepoConfig
from feast.data_source import DataSource
from feast.feature_logging import LOG_DATE_FIELD, LoggingConfig, LoggingSource
from feast.infra.offline_stores.contrib.spark_offline_store.spark import SparkOfflineStore, SparkOfflineStoreConfig
from feast.infra.offline_stores.contrib.spark_offline_store.spark_source import SparkSource
from feast.infra.offline_stores.offline_store import RetrievalJob, RetrievalMetadata
from feast.infra.registry.base_registry import BaseRegistry
from feast.table_format import DeltaFormat
from feast.utils import compute_non_entity_date_range
from pydantic import Field, field_validator
from pyspark.sql import DataFrame

from pedigree.features.file_table import spark_source
from pedigree.jobs.delta_tables import built_version
from pedigree.jobs.errors import EngineUnfitError, LogDestinationError
from pedigree.jobs.historical import pointintime_duckdb, pointintime_spark
from pedigree.jobs.historical.arrow_files import Unreadable, is_readable_without_spark
from pedigree.jobs.historical.definitions import RequestedFeatures, Retrieval, histories_of, refuse_clashes
from pedigree.jobs.historical.entity_frame import labels_of
from pedigree.jobs.historical.logging_destination import DeltaLoggingDestination
from pedigree.jobs.historical.pointintime_duckdb import SizeLimits
from pedigree.jobs.historical.retrieval_job import Answer, PointInTimeJob, SmallAnswer, SparkAnswer
from pedigree.jobs.library_logs import quiet_libraries
from pedigree.jobs.settings import completed, job_settings
from pedigree.jobs.spark.session import open_session

log = logging.getLogger(__name__)
quiet_libraries()  # the first of ours that `feast` imports

UNREADABLE = (
    "the source %r is a %s: rows can be pushed to its views, but neither historical features nor a load can read it. "
    "Declare it with `delta_table` of pedigree.features, or with a FileSource"
)


class PedigreeOfflineStoreConfig(SparkOfflineStoreConfig):  # type: ignore[misc]  # Feast has no types
    """Feast's own options, and ours.

    Attributes:
        lake, landing: where the Delta tables and the source files are: URIs, or paths relative to `feature_store.yaml`.
        knowledge_time: whether a label sees only rows that had been created by its instant, so that a backfill never
            changes an old training set. False where the created time says when data was loaded, not when it was learnt.
        engine: what answers; `auto` is DuckDB for small frames over tables on this machine, and Spark for everything else.
        small_labels: the most labels that `auto` gives to DuckDB.
        small_table_bytes: the largest table, in bytes on disk, that `auto` lets DuckDB read.
    """

    type: str = "pedigree.jobs.historical.offline_store.PedigreeOfflineStore"
    spark_conf: dict[str, str] | None = Field(default=None, validate_default=True)
    lake: str | None = None
    landing: str | None = None
    knowledge_time: bool = True
    engine: Literal["auto", "duckdb", "spark"] = "auto"
    small_labels: int = 1_000_000
    small_table_bytes: int = 2 * 1024**3

    @field_validator("spark_conf", mode="before")
    @classmethod
    def with_defaults(cls, conf: dict[str, str] | None) -> dict[str, str]:
        """Feast opens sessions with these settings, too, and they need Delta."""
        return completed(conf or {})


class PedigreeOfflineStore(SparkOfflineStore):  # type: ignore[misc]  # Feast has no types
    """Retrieval by `pedigree.jobs.historical.pointintime_spark`, and writes behind the gate; the rest is Feast's own."""

    @staticmethod
    def get_historical_features(
        config: RepoConfig,
        feature_views: list[FeatureView],
        feature_refs: list[str],
        entity_df: Any,
        registry: BaseRegistry,
        project: str,
        full_feature_names: bool = False,
        filter_by_created_timestamp: bool = False,
        known_by: datetime | None = None,
        **options: Any,
    ) -> RetrievalJob:
        """One row per entity row, in its order, with the features as of its instant.

        Without an entity frame, the entities are all that were seen between `start_date` and `end_date`, as of the latter. A
        view that transforms as it reads goes through Feast's own join.

        Args:
            known_by: an aware instant; rows that were created after it are seen by nobody. The rest is Feast's.
        """
        if any(transforms(view) for view in feature_views):
            open_session(job_settings())
            return SparkOfflineStore.get_historical_features(
                config,
                feature_views,
                feature_refs,
                entity_df,
                registry,
                project,
                full_feature_names,
                filter_by_created_timestamp,
                **options,
            )
        definitions = RequestedFeatures(
            feature_views, feature_refs, registry, config, full_feature_names, filter_by_created_timestamp
        )
        frame = seen_between(definitions, **options) if entity_df is None else entity_df
        spark = open_session(job_settings()) if isinstance(frame, str) else None
        labels = labels_of(frame, definitions.join_keys(), spark=spark)
        histories = histories_of(definitions, labels.span, known_by=known_by)
        refuse_clashes(histories, labels)
        return PointInTimeJob(
            answer_to(Retrieval(labels, histories), config.offline_store),
            full_feature_names=full_feature_names,
            config=config,
            on_demand_feature_views=OnDemandFeatureView.get_requested_odfvs(feature_refs, project, registry),
            metadata=RetrievalMetadata(feature_refs, list(labels.keys), *labels.span),
        )

    def validate_data_source(self, config: RepoConfig, data_source: DataSource) -> None:
        """Look at a view's source, as `feast apply` does: without Spark where the source can be read without it.

        A source that only Feast's other stores read is named in a warning: rows can still be pushed to its views.

        Raises:
            UnbuiltTableError: it is a Delta table that was never built.
        """
        data_source = spark_source(data_source, config)
        if not isinstance(data_source, SparkSource):
            log.warning(UNREADABLE, data_source.name, type(data_source).__name__)
            super().validate_data_source(config, data_source)
            return
        if is_readable_without_spark(data_source):
            return
        spark = open_session(job_settings())
        if isinstance(data_source.table_format, DeltaFormat) and data_source.path:
            built_version(spark, data_source.path, data_source.name)
        super().validate_data_source(config, data_source)

    @staticmethod
    def offline_write_batch(
        config: RepoConfig,  # noqa: ARG004 - Feast's signature
        feature_view: FeatureView,
        table: pa.Table,
        progress: Callable[[int], Any] | None,
    ) -> None:
        """Append rows to a view's Delta table, behind its quality gate and in a recorded run.

        Raises:
            SchemaBrokenError, QualityGateFailedError, UnsupportedSourceError: nothing was appended.
        """
        from pedigree.jobs.historical.offline_write import (
            append_batch,  # Great Expectations takes seconds, and only writes need it
        )

        append_batch(feature_view, table)
        if progress:
            progress(len(table))

    @staticmethod
    def write_logged_features(
        config: RepoConfig,  # noqa: ARG004 - Feast's signature
        data: pa.Table | Path,
        source: LoggingSource,  # noqa: ARG004
        logging_config: LoggingConfig,
        registry: BaseRegistry,  # noqa: ARG004
    ) -> None:
        """Append served vectors to the Delta table that their service names; no session is started.

        Raises:
            LogDestinationError: the service's logs go elsewhere than to a `DeltaLoggingDestination`.
        """
        destination = logging_config.destination
        if not isinstance(destination, DeltaLoggingDestination):
            raise LogDestinationError(type(destination).__name__)
        rows = data if isinstance(data, pa.Table) else pq.read_table(data)
        write_deltalake(destination.path, rows, mode="append", partition_by=[LOG_DATE_FIELD])


def seen_between(
    asked: RequestedFeatures, *, start_date: datetime | None = None, end_date: datetime | None = None, **_options: Any
) -> DataFrame:
    """An entity frame of every key that was seen between two dates, as of the later one."""
    spark = open_session(job_settings())
    since, until = compute_non_entity_date_range(asked.views, start_date=start_date, end_date=end_date)
    return pointintime_spark.every_key(
        histories_of(asked, (since, until), known_by=None), spark, since=since, until=until
    )


def transforms(view: FeatureView) -> bool:
    """True for a view whose rows are made when they are read."""
    return isinstance(view, BatchFeatureView) and getattr(view, "feature_transformation", None) is not None


def answer_to(asked: Retrieval, config: PedigreeOfflineStoreConfig) -> Answer:
    """The answer by the engine that fits.

    Raises:
        EngineUnfitError: the configuration insists on DuckDB, and that cannot answer.
    """
    if config.engine != "spark":
        forced = config.engine == "duckdb"
        limits = SizeLimits(*((2**63,) * 2 if forced else (config.small_labels, config.small_table_bytes)))
        files = pointintime_duckdb.opened(asked, limits)
        if not isinstance(files, Unreadable):
            return SmallAnswer(lambda: pointintime_duckdb.answer(asked, files))
        if forced:
            raise EngineUnfitError("DuckDB", files.reason)
        log.info("Spark answers, since %s", files.reason)
    return SparkAnswer(pointintime_spark.answer(asked, open_session(job_settings())))
