"""A feature store with one view over one Delta table, as a user has it, to be loaded, rolled back and rebuilt in tests."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import uuid4

import pandas as pd
from feast import Entity, FeatureStore, FeatureView, Field, RepoConfig, ValueType
from feast.infra.offline_stores.contrib.spark_offline_store.spark_source import SparkSource
from feast.table_format import DeltaFormat
from feast.types import Float64, Int64
from pyspark.sql import SparkSession

from pedigree.jobs import delta_tables
from pedigree.jobs.gate_mark import CommitMark
from pedigree.jobs.materialize.rollback import StoreRecovery
from pedigree.lineage.recorder import Recorder
from pedigree.lineage.settings import lineage_settings
from pedigree.online.store.load_state import LoadState
from pedigree.online.store.redis_store import RedisStore

from .purchases import DAY, EVENTS, START

END = EVENTS[-1] + DAY
EPOCH = datetime.fromtimestamp(0, START.tzinfo)
CUSTOMER = Entity(name="customer", join_keys=["customer"], value_type=ValueType.INT64)
COLUMNS = "customer BIGINT, event_at TIMESTAMP, created_at TIMESTAMP, spend DOUBLE"


def row(customer: int, day: int, spend: float) -> tuple[int, datetime, datetime, float]:
    """A purchase on a day of January 2026, told of the next day."""
    at = START + (day - 1) * DAY
    return customer, at, at + DAY, spend


@dataclass
class Shop:
    """A feature store with one view over one Delta table, as a user has it."""

    spark: SparkSession
    folder: Path
    store: FeatureStore
    redis_store: RedisStore

    @property
    def path(self) -> Path:
        return self.folder / "purchases"

    @property
    def uri(self) -> str:
        return self.path.as_uri()

    @property
    def source(self) -> SparkSource:
        """The table, with both of its times."""
        return source_at(self.uri)

    @property
    def view(self) -> FeatureView:
        return self.store.get_feature_view("purchases")

    @property
    def mark(self) -> LoadState:
        mark = self.redis_store.mark("purchases")
        assert mark is not None
        return mark

    def publish(self, *rows: tuple[Any, ...], where: str | None = None) -> None:
        """Rows that passed the gate, in place of those that are selected, in one commit as `lake.publish` makes it."""
        frame = self.spark.createDataFrame(list(rows), COLUMNS).coalesce(1)
        mark = CommitMark.of_gate(self.uri, run_id=str(uuid4()), rows=len(rows)).text()
        write = frame.write.format("delta").option("userMetadata", mark).option(delta_tables.CHANGE_FEED, "true")
        (write.mode("append") if where is None else write.mode("overwrite").option("replaceWhere", where)).save(
            self.uri
        )

    def write(self, *rows: tuple[Any, ...], metadata: str | None = None) -> None:
        """Append rows as anybody may."""
        write = self.spark.createDataFrame(list(rows), COLUMNS).write.format("delta").mode("append")
        (write if metadata is None else write.option("userMetadata", metadata)).save(self.uri)

    def change_form(self, number: int = 0) -> None:
        self.spark.sql(f"ALTER TABLE delta.`{self.uri}` SET TBLPROPERTIES ('note' = '{number}')")

    def load(self, since: datetime = EPOCH, until: datetime = END) -> None:
        self.store.materialize(since, until, feature_views=["purchases"])

    def rollback(self, *, to: int | None = None) -> int:
        with Recorder.open(lineage_settings()) as recorder:
            return StoreRecovery(self.store, self.spark, recorder).rollback(self.view, lambda _rows: None, to=to)[0]

    def rebuild(self, **more: bool) -> None:
        with Recorder.open(lineage_settings()) as recorder:
            StoreRecovery(self.store, self.spark, recorder).rebuild(self.view, lambda _rows: None, **more)

    def push(self, customer: int, day: int, spend: float) -> None:
        columns = ("customer", "event_at", "created_at", "spend")
        frame = pd.DataFrame([dict(zip(columns, row(customer, day, spend), strict=True))])
        self.store.write_to_online_store("purchases", frame)

    def served(self, *customers: int) -> list[float | None]:
        """What Feast reads of customers."""
        rows = [{"customer": customer} for customer in customers]
        found = self.store.get_online_features(["purchases:spend"], rows).to_dict()["spend"]
        return list(found)


def source_at(uri: str) -> SparkSource:
    return SparkSource(
        name="purchases",
        path=uri,
        table_format=DeltaFormat(),
        timestamp_field="event_at",
        created_timestamp_column="created_at",
    )


def purchases(folder: Path, *, is_keyed: bool = True) -> FeatureView:
    keys = [Field(name="customer", dtype=Int64)] if is_keyed else []
    return FeatureView(
        name="purchases",
        entities=[CUSTOMER] if is_keyed else [],
        ttl=timedelta(0),
        schema=[*keys, Field(name="spend", dtype=Float64)],
        source=source_at((folder / "purchases").as_uri()),
    )


def config_of(project: str, folder: Path, redis_store: RedisStore) -> RepoConfig:
    """A project of the registry in a folder, and of a Redis."""
    return RepoConfig(
        project=project,
        provider="local",
        registry={"registry_type": "sql", "path": f"sqlite:///{folder}/registry.db", "cache_ttl_seconds": 0},
        offline_store={"type": "pedigree.jobs.historical.offline_store.PedigreeOfflineStore"},
        online_store={
            "type": "pedigree.online.feast_plugin.PedigreeOnlineStore",
            "connection_string": str(redis_store.address),
        },
        batch_engine={"type": "pedigree.jobs.materialize.compute_engine.PedigreeSparkEngine"},
        entity_key_serialization_version=3,
    )
