"""Feast's Spark offline store with a point-in-time join that is right to the row and linear.

Named in `feature_store.yaml` as `offline_store: {type: spark_jobs.historical.PedigreeOfflineStore}`. Everything but
`get_historical_features` over an entity frame is Feast's own.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import pandas as pd
import pyarrow as pa
from feast import BatchFeatureView, FeatureView, OnDemandFeatureView, RepoConfig
from feast.errors import FeastEntityDFMissingColumnsError
from feast.feature_view import DUMMY_ENTITY_ID
from feast.infra.offline_stores import offline_utils
from feast.infra.offline_stores.contrib.spark_offline_store.spark import (
    SparkOfflineStore,
    SparkOfflineStoreConfig,
    SparkRetrievalJob,
)
from feast.infra.offline_stores.offline_store import RetrievalJob, RetrievalMetadata
from feast.infra.registry.base_registry import BaseRegistry
from feast.type_map import spark_schema_to_np_dtypes
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from spark_jobs.pointintime import TimeLine, as_of
from spark_jobs.session import open_session
from spark_jobs.settings import job_settings

POSITION = "__position"


class PedigreeOfflineStoreConfig(SparkOfflineStoreConfig):  # type: ignore[misc]  # Feast has no types
    """Feast's own options, and one of ours.

    Attributes:
        knowledge_time: whether a label sees only rows that had been created by its instant, so that a backfill never
            changes an old training set. False where the created time says when data was loaded, not when it was learnt.
    """

    type: str = "spark_jobs.historical.PedigreeOfflineStore"
    knowledge_time: bool = True


class PointInTimeJob(SparkRetrievalJob):  # type: ignore[misc]  # Feast has no types
    """A retrieval that is computed when it is asked for: one row per label, in the labels' order."""

    def __init__(self, rows: DataFrame, **arguments: Any) -> None:
        super().__init__(query="", **arguments)
        self._rows = rows

    def to_spark_df(self) -> DataFrame:
        """The rows; nothing is collected."""
        return self._rows

    def _to_arrow_internal(self, timeout: int | None = None) -> pa.Table:  # noqa: ARG002 - Feast's signature
        return self._rows.toArrow()


class PedigreeOfflineStore(SparkOfflineStore):  # type: ignore[misc]  # Feast has no types
    """`get_historical_features` by `spark_jobs.pointintime`."""

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
        **options: Any,
    ) -> RetrievalJob:
        """One row per entity row, in its order, with the features as of its instant.

        Without an entity frame, or with a view that transforms as it reads, this is Feast's own join.
        """
        spark = open_session(job_settings())
        if entity_df is None or any(transforms(view) for view in feature_views):
            names = {
                "full_feature_names": full_feature_names,
                "filter_by_created_timestamp": filter_by_created_timestamp,
            }
            return SparkOfflineStore.get_historical_features(
                config, feature_views, feature_refs, entity_df, registry, project, **names, **options
            )
        labels = labels_of(entity_df, spark)
        instant = instant_of(labels, offline_utils.get_expected_join_keys(project, feature_views, registry))
        span = span_of(labels, instant)
        contexts = offline_utils.get_feature_view_query_context(feature_refs, feature_views, registry, project, span)
        knowledge_time = config.offline_store.knowledge_time or filter_by_created_timestamp
        rows = labels
        for context in contexts:
            line = time_line(context, spark, full_names=full_feature_names)
            rows = as_of(rows, line, instant=instant, knowledge_time=knowledge_time)
        keys = [column for column in labels.columns if column not in (instant, POSITION)]
        return PointInTimeJob(
            rows.orderBy(POSITION).drop(POSITION),
            spark_session=spark,
            full_feature_names=full_feature_names,
            config=config,
            on_demand_feature_views=OnDemandFeatureView.get_requested_odfvs(feature_refs, project, registry),
            metadata=RetrievalMetadata(feature_refs, keys, *span),
        )


def transforms(view: FeatureView) -> bool:
    """True for a view whose rows are made when they are read."""
    return isinstance(view, BatchFeatureView) and getattr(view, "feature_transformation", None) is not None


def labels_of(entity_df: Any, spark: SparkSession) -> DataFrame:
    """The labels as Spark has them, with their position.

    Args:
        entity_df: labels with their keys and instants: a frame of pandas, Arrow or Spark, or a SQL query. A naive instant is UTC.
    """
    if isinstance(entity_df, pa.Table):
        entity_df = entity_df.to_pandas()
    if isinstance(entity_df, pd.DataFrame):
        return spark.createDataFrame(in_utc(entity_df).assign(**{POSITION: range(len(entity_df))}))
    frame = spark.sql(entity_df) if isinstance(entity_df, str) else entity_df
    return frame.select("*", F.monotonically_increasing_id().alias(POSITION))


def in_utc(frame: pd.DataFrame) -> pd.DataFrame:
    """The frame with every instant in UTC, whatever its time zone, even where rows differ in theirs."""
    instants = [
        column
        for column in frame
        if pd.api.types.is_datetime64_any_dtype(frame[column])
        or (frame[column].dtype == object and frame[column].map(lambda value: isinstance(value, datetime)).all())
    ]
    return frame.assign(**{str(column): pd.to_datetime(frame[column], utc=True) for column in instants})


def instant_of(labels: DataFrame, join_keys: set[str]) -> str:
    """The labels' column with the instants: `event_timestamp`, or the only one that holds times.

    Raises:
        EntityTimestampInferenceException, FeastEntityDFMissingColumnsError: Feast's own words for a frame that will not do.
    """
    columns = dict(zip(labels.columns, spark_schema_to_np_dtypes(labels.dtypes), strict=True))
    instant: str = offline_utils.infer_event_timestamp_from_entity_df(columns)
    expected = (join_keys | {instant}) - {DUMMY_ENTITY_ID}
    missing = expected - set(columns)
    if missing:
        raise FeastEntityDFMissingColumnsError(expected, missing)
    return instant


def span_of(labels: DataFrame, instant: str) -> tuple[datetime, datetime]:
    """The first and the last instant, aware; the views need not be read beyond them."""
    micros = F.unix_micros(F.col(instant).cast("timestamp"))
    first, last = labels.agg(F.min(micros), F.max(micros)).collect()[0]
    return at_micros(first), at_micros(last)


def at_micros(micros: int | None) -> datetime:
    """An instant by its microseconds since 1970; no labels have no instants, and are as good as of 1970."""
    return datetime.fromtimestamp(0, UTC) + timedelta(microseconds=micros or 0)


def time_line(context: Any, spark: SparkSession, *, full_names: bool) -> TimeLine:
    """The rows of one view between the oldest and the newest instant that a label can see, as Feast's context names them."""
    columns: Sequence[str] = [*context.features, context.timestamp_field, context.created_timestamp_column]
    wanted = [f"`{column}`" for column in dict.fromkeys(columns) if column]
    rows = spark.sql(f"SELECT {', '.join([*key_columns(context), *wanted])} FROM {context.table_subquery}")  # noqa: S608 - names of the registry
    event_at = F.col(context.timestamp_field)
    rows = rows.where(event_at <= F.lit(context.max_event_timestamp).cast("timestamp"))
    if context.min_event_timestamp is not None:
        rows = rows.where(event_at >= F.lit(context.min_event_timestamp).cast("timestamp"))
    names = {column: context.field_mapping.get(column, column) for column in context.features}
    return TimeLine(
        rows=rows,
        keys={key: key for key in context.entities if key != DUMMY_ENTITY_ID},
        event_at=context.timestamp_field,
        created_at=context.created_timestamp_column or None,
        features={f"{context.name}__{name}" if full_names else name: column for column, name in names.items()},
        ttl=timedelta(seconds=context.ttl),
    )


def key_columns(context: Any) -> list[str]:
    """The view's keys under the names that the labels have for them."""
    return [
        selection
        for key, selection in zip(context.entities, context.entity_selections, strict=True)
        if key != DUMMY_ENTITY_ID
    ]
