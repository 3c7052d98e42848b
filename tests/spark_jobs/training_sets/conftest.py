"""A feature store over two Delta tables of its own, and a store for the training sets that are cut from them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pytest
from deltalake import write_deltalake
from feast import Entity, FeatureService, FeatureStore, FeatureView, Field, RepoConfig, RequestSource, ValueType
from feast.infra.offline_stores.contrib.spark_offline_store.spark_source import SparkSource
from feast.on_demand_feature_view import on_demand_feature_view
from feast.table_format import DeltaFormat
from feast.types import Float64, Int64, String
from pydantic import SecretStr
from pyspark.sql import SparkSession

from pedigree.jobs.training_sets.entity_set import entities_of
from pedigree.jobs.training_sets.manifest import Manifest
from pedigree.jobs.training_sets.service import TrainingSetRequest, TrainingSetService, create
from pedigree.jobs.training_sets.store import TrainingSetStore
from pedigree.lineage.recorder import Recorder
from pedigree.lineage.settings import LineageSettings

START = datetime(2013, 3, 1, tzinfo=UTC)
HOUR = timedelta(hours=1)


def delays(*rows: tuple[str, int, float | None], learnt: int = 0) -> pd.DataFrame:
    """Rows of `delays`: carrier, hours after the start, minutes; learnt so many hours after they became true."""
    return pd.DataFrame(
        {
            "carrier": [carrier for carrier, _, _ in rows],
            "event_at": [START + hour * HOUR for _, hour, _ in rows],
            "created_at": [START + (hour + learnt) * HOUR for _, hour, _ in rows],
            "minutes": pd.array([minutes for _, _, minutes in rows], dtype="Float64"),
        }
    )


def asked(*rows: tuple[str, int]) -> pd.DataFrame:
    """An entity frame: carrier, hours after the start."""
    return pd.DataFrame(
        {
            "carrier": [carrier for carrier, _ in rows],
            "event_timestamp": [START + hour * HOUR for _, hour in rows],
            "is_late": [number % 2 == 0 for number, _ in enumerate(rows)],
        }
    )


@dataclass(frozen=True)
class World:
    """Tables, definitions, and training sets of both."""

    folder: Path
    spark: SparkSession
    training_sets: TrainingSetService
    recorder: Recorder

    @property
    def set_store(self) -> TrainingSetStore:
        return self.training_sets.set_store

    def uri(self, table: str = "delays") -> str:
        return (self.folder / table).as_uri()

    def append(self, rows: pd.DataFrame, table: str = "delays") -> None:
        """One commit with more rows."""
        write_deltalake(self.folder / table, pa.Table.from_pandas(rows), mode="append", schema_mode="merge")

    def create(self, entities: object, service: str = "lateness", **wanted: object) -> Manifest:
        """Make a training set, as the command does."""
        order = TrainingSetRequest(service, entities_of(entities), "a frame", **wanted)  # type: ignore[arg-type]
        with self.recorder.run("train", service) as run:
            return create(order, self.training_sets, run)


def definitions(folder: Path) -> list[object]:
    """Two views, an on-demand view over one of them, and services with both."""
    carrier = Entity(name="carrier", join_keys=["carrier"], value_type=ValueType.STRING)
    key = Field(name="carrier", dtype=String)

    def source(name: str) -> SparkSource:
        return SparkSource(
            name=name,
            path=(folder / name).as_uri(),
            table_format=DeltaFormat(),
            timestamp_field="event_at",
            created_timestamp_column="created_at",
        )

    late = FeatureView(
        name="delays",
        entities=[carrier],
        ttl=timedelta(days=2),
        schema=[key, Field(name="minutes", dtype=Float64)],
        source=source("delays"),
    )
    fleet = FeatureView(
        name="fleet",
        entities=[carrier],
        ttl=timedelta(0),
        schema=[key, Field(name="planes", dtype=Int64)],
        source=source("fleet"),
    )
    request = RequestSource(name="request", schema=[Field(name="grace", dtype=Float64)])

    @on_demand_feature_view(sources=[late, request], schema=[Field(name="beyond_grace", dtype=Float64)])  # type: ignore[untyped-decorator]  # Feast has no types
    def patience(inputs: pd.DataFrame) -> pd.DataFrame:
        return pd.DataFrame({"beyond_grace": inputs["minutes"] - inputs["grace"]})

    services = [
        FeatureService(name="lateness", features=[late, fleet]),
        FeatureService(name="alone", features=[late]),
        FeatureService(name="patient", features=[late, patience]),
        FeatureService(
            name="aliased",
            features=[late.with_name("mine").with_join_key_map({"carrier": "own"}), late.with_name("theirs")],
        ),
    ]
    return [carrier, late, fleet, patience, *services]


@pytest.fixture
def make_world(spark: SparkSession, tmp_path: Path) -> Iterator[Callable[..., World]]:
    """A world in a folder of its own; with an engine, or with knowledge time."""
    recorders = []

    def make(name: str = "world", **offline: object) -> World:
        folder = tmp_path / name
        config = RepoConfig(
            project="p",
            provider="local",
            registry={"registry_type": "sql", "path": f"sqlite:///{tmp_path}/{name}.db"},
            offline_store={
                "type": "pedigree.jobs.historical.offline_store.PedigreeOfflineStore",
                "knowledge_time": False,
                **offline,
            },
            online_store={"type": "sqlite", "path": f"{tmp_path}/{name}-online.db"},
            entity_key_serialization_version=3,
        )
        settings = LineageSettings(
            "http://127.0.0.1:9", "tests", tmp_path / f"{name}-outbox", SecretStr("sqlite://"), None
        )
        recorders.append(Recorder.open(settings))
        training_sets = TrainingSetService(
            FeatureStore(config=config), TrainingSetStore((folder / "datasets").as_uri())
        )
        world = World(folder, spark, training_sets, recorders[-1])
        world.append(delays(("UA", 0, 5.0), ("AA", 0, None), ("UA", 2, 7.0)))
        fleet = {"carrier": ["UA"], "event_at": [START], "created_at": [START], "planes": [700]}
        world.append(pd.DataFrame(fleet), "fleet")
        training_sets.store.apply(definitions(folder))
        return world

    yield make
    for recorder in recorders:
        recorder.close()


@pytest.fixture
def world(make_world: Callable[..., World]) -> World:
    return make_world()
