"""Feast's whole offline-store interface over our store: on-demand views, batches, ranges, saved sets, writes, logs."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import suppress
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
from deltalake import DeltaTable, write_deltalake
from feast import BigQuerySource, Entity, FeatureService, FeatureStore, FeatureView, Field, ValueType
from feast import RequestSource as Request
from feast.feature_logging import LOG_DATE_FIELD, LoggingConfig
from feast.infra.offline_stores.contrib.spark_offline_store.spark_source import SparkSource
from feast.infra.offline_stores.file_source import FileLoggingDestination
from feast.on_demand_feature_view import on_demand_feature_view
from feast.table_format import DeltaFormat
from feast.types import Float64, Int64
from pyspark.sql import SparkSession

from benchmarks.stores import OURS, open_store
from pedigree.features.lake import Lake, current_lake
from pedigree.features.settings import repository_settings
from pedigree.jobs.errors import (
    EngineUnfitError,
    LogDestinationError,
    QualityGateFailedError,
)
from pedigree.jobs.historical.logging_destination import DeltaLoggingDestination
from pedigree.jobs.historical.offline_store import PedigreeOfflineStore
from pedigree.jobs.historical.retrieval_job import PointInTimeJob
from pedigree.lineage.settings import lineage_settings
from pedigree.online.errors import UnfitRowError

START = datetime(2013, 3, 1, tzinfo=UTC)
ENGINES = pytest.mark.parametrize("engine", ["duckdb", "spark"])
REFS = ["loads:weight", "heavier:doubled"]


def loads() -> pa.Table:
    """A thousand hours of two planes; in the source the key and the feature have names of their own."""
    hours = range(1000)
    at = pa.array([START + timedelta(hours=hour) for hour in hours], pa.timestamp("us", "UTC"))
    return pa.table(
        {
            "plane_id": pa.array([hour % 2 for hour in hours], pa.int64()),
            "kg": pa.array([float(hour) for hour in hours]),
            "event_at": at,
            "created_at": at,
            "day": pa.array([f"{START + timedelta(hours=hour):%Y-%m-%d}" for hour in hours]),
        }
    )


def definitions(folder: Path) -> list[Any]:
    plane = Entity(name="plane", join_keys=["plane"], value_type=ValueType.INT64)
    source = SparkSource(
        name="loads",
        path=(folder / "loads").as_uri(),
        table_format=DeltaFormat(),
        timestamp_field="event_at",
        created_timestamp_column="created_at",
        field_mapping={"plane_id": "plane", "kg": "weight"},
        date_partition_column="day",
        date_partition_column_format="%Y-%m-%d",
    )
    schema = [Field(name="plane", dtype=Int64), Field(name="weight", dtype=Float64)]
    view = FeatureView(name="loads", entities=[plane], ttl=timedelta(days=2), schema=schema, source=source)
    asked = Request(name="asked", schema=[Field(name="added", dtype=Float64)])

    @on_demand_feature_view(sources=[view, asked], schema=[Field(name="doubled", dtype=Float64)], mode="pandas")  # type: ignore[untyped-decorator]
    def heavier(rows: pd.DataFrame) -> pd.DataFrame:
        return pd.DataFrame({"doubled": rows["weight"] * 2 + rows["added"]})

    logs = LoggingConfig(DeltaLoggingDestination(path=str(folder / "logs")))
    service = FeatureService(name="load_service", features=[view], logging_config=logs)
    return [plane, view, heavier, service]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write_deltalake(tmp_path / "loads", loads(), partition_by=["day"])
    return tmp_path


@pytest.fixture
def store(folder: Path, engine: str) -> FeatureStore:
    staging = {"staging_location": str(folder / "staging")}
    return open_store(folder, engine, {**OURS, **staging, "engine": engine}, definitions(folder))


def labels(count: int = 500) -> pd.DataFrame:
    """Labels at odd minutes, so that the newest row is that of the last hour of the plane's parity."""
    at = [START + timedelta(hours=2 * row, minutes=7) for row in range(count)]
    return pd.DataFrame({"plane": [0, 1] * (count // 2), "added": range(count), "event_timestamp": at})


def newest(label: Any) -> float:
    """The hour of the newest row of a label's plane."""
    hour = int((label.event_timestamp - START) / timedelta(hours=1))
    return float(hour - (hour - label.plane) % 2) if hour >= label.plane else float("nan")


@ENGINES
def test_on_demand_features_are_computed_from_what_was_found(spark: SparkSession, store: FeatureStore) -> None:
    """An on-demand view sees the newest row and the request's own column; through pandas, Arrow, Spark and batches alike."""
    job = store.get_historical_features(entity_df=labels(), features=REFS)
    found = job.to_df()
    assert [row.weight for row in found.itertuples()][1:] == [newest(row) for row in labels().itertuples()][1:]
    assert (found["doubled"][1:] == found["weight"][1:] * 2 + found["added"][1:]).all()
    assert job.to_arrow().num_rows == 500
    assert job.to_spark_df().orderBy("added").toPandas()["doubled"][1:].tolist() == found["doubled"][1:].tolist()


@ENGINES
def test_batches_are_the_answer_in_order(spark: SparkSession, store: FeatureStore, folder: Path) -> None:
    """Batches of at most 64 rows hold all rows, typed and ordered as the table; Polars takes them; nothing stays staged."""
    job = store.get_historical_features(entity_df=labels(), features=REFS)
    assert isinstance(job, PointInTimeJob)
    batches = list(job.to_arrow_batches(64))
    assert max(batch.num_rows for batch in batches) <= 64
    assert pa.Table.from_batches(batches).equals(job.to_arrow())
    frames = [pl.DataFrame(pl.from_arrow(batch)) for batch in batches]
    assert pl.concat(frames)["doubled"].to_list() == job.to_arrow()["doubled"].to_pylist()
    assert list((folder / "staging").glob("*")) == []


@pytest.mark.parametrize("engine", ["auto", "spark"])
def test_a_range_without_an_entity_frame_gives_every_entity_once(spark: SparkSession, store: FeatureStore) -> None:
    """Between two dates each plane that was seen comes once, as of the later date."""
    end = START + timedelta(hours=99)
    job = store.get_historical_features(features=["loads:weight"], start_date=START, end_date=end)
    found = job.to_df().sort_values("plane")
    assert found["plane"].tolist() == [0, 1]
    assert found["weight"].tolist() == [98.0, 99.0]


@ENGINES
def test_only_the_partitions_of_the_labels_are_read(spark: SparkSession, store: FeatureStore, folder: Path) -> None:
    """Files of days that no label can see may be gone: they are not opened."""
    for day in range(20, 40):
        for file in (folder / "loads" / f"day={date(2013, 3, 1) + timedelta(days=day)}").glob("*.parquet"):
            file.unlink()
    found = store.get_historical_features(entity_df=labels(100), features=["loads:weight"]).to_df()
    assert found["weight"][1:].tolist() == [newest(row) for row in labels(100).itertuples()][1:]


@ENGINES
def test_a_set_is_exported_as_files(spark: SparkSession, store: FeatureStore) -> None:
    """`to_remote_storage` leaves Parquet files in the staging location and names them."""
    files = store.get_historical_features(entity_df=labels(), features=["loads:weight"]).to_remote_storage()
    written = [file for file in files if file.endswith(".parquet")]
    assert pl.scan_parquet(written).collect().height == 500


@ENGINES
def test_what_was_learnt_after_a_cut_is_seen_by_nobody(spark: SparkSession, store: FeatureStore) -> None:
    """With `known_by`, rows that were created later than that instant are not there, whatever the labels' instants."""
    view, cut = store.get_feature_view("loads"), START + timedelta(hours=10)
    frame = pd.DataFrame({"plane": [0, 0], "event_timestamp": [cut + timedelta(hours=5), cut - timedelta(hours=5)]})
    job = store._get_provider().offline_store.get_historical_features(
        store.config, [view], ["loads:weight"], frame, store.registry, "p", known_by=cut
    )
    assert job.to_df()["weight"].tolist() == [10.0, 4.0]


@ENGINES
def test_pulls_give_the_newest_row_or_all(spark: SparkSession, store: FeatureStore) -> None:
    """`pull_latest…` gives the newest row of each key in a range, `pull_all…` every row of it."""
    offline, source = store._get_provider().offline_store, store.get_feature_view("loads").batch_source
    columns = (["plane_id"], ["kg"], "event_at", "created_at")
    end = START + timedelta(hours=9)
    latest = offline.pull_latest_from_table_or_query(store.config, source, *columns, START, end).to_df()
    assert sorted(latest["weight"]) == [8.0, 9.0]
    everything = offline.pull_all_from_table_or_query(store.config, source, *columns, START, end).to_df()
    assert sorted(everything["weight"]) == [float(hour) for hour in range(10)]


@ENGINES
def test_served_vectors_are_logged_to_delta(spark: SparkSession, store: FeatureStore, folder: Path) -> None:
    """`write_logged_features` appends to the table that the service names; its destination survives the registry."""
    service = store.get_feature_service("load_service")
    logs = pa.table({"plane": [1], "loads__weight": [2.0], LOG_DATE_FIELD: [date(2013, 3, 1)]})
    store.write_logged_features(logs, service)
    store.write_logged_features(logs, service)
    assert (
        DeltaTable(service.logging_config.destination.path).to_pyarrow_table()["loads__weight"].to_pylist() == [2.0] * 2
    )
    service.logging_config = LoggingConfig(FileLoggingDestination(path=str(folder / "elsewhere")))
    with pytest.raises(LogDestinationError, match="FileLoggingDestination"):
        store.write_logged_features(logs, service)


def new_rows(*weights: float) -> pd.DataFrame:
    at = [START + timedelta(hours=2000 + number) for number in range(len(weights))]
    days = [f"{instant:%Y-%m-%d}" for instant in at]
    return pd.DataFrame({"plane_id": [1] * len(at), "kg": weights, "event_at": at, "created_at": at, "day": days})


TABLES = """
from feast import Entity, FeatureView, Field, ValueType
from feast.infra.offline_stores.contrib.spark_offline_store.spark_source import SparkSource
from feast.types import Float64, Int64

from pedigree.features.contract import between, contract

view = FeatureView(
    name="loads",
    entities=[Entity(name="plane", join_keys=["plane"], value_type=ValueType.INT64)],
    schema=[Field(name="plane", dtype=Int64), Field(name="weight", dtype=Float64)],
    source=SparkSource(
        name="loads",
        path="loads",
        file_format="parquet",
        timestamp_field="event_at",
        field_mapping={"plane_id": "plane", "kg": "weight"},
    ),
)
loads = contract(view, [between("kg_is_possible", "kg", 0, 5000)])
"""


@pytest.fixture
def lake(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Lake]:
    """A repository that says what must hold of loads, and its lake."""
    (tmp_path / "repository").mkdir()
    (tmp_path / "repository" / "tables.py").write_text(TABLES)
    yaml = tmp_path / "repository" / "feature_store.yaml"
    yaml.write_text("project: p\n")
    monkeypatch.setenv("PEDIGREE_FEATURE_STORE_YAML", str(yaml))
    repository_settings.cache_clear()
    yield current_lake()
    repository_settings.cache_clear()


@pytest.mark.parametrize("engine", ["duckdb"])
def test_rows_written_through_feast_pass_the_gate(
    spark: SparkSession, store: FeatureStore, folder: Path, lake: Lake
) -> None:
    """Good rows are appended in a recorded run, a few broken ones are set apart by name, and a broken batch is stopped whole."""
    store.write_to_offline_store("loads", new_rows(*[1.0] * 99, -1.0))
    rows = DeltaTable(folder / "loads").to_pyarrow_table()
    assert rows.num_rows == 1099
    with pytest.raises(QualityGateFailedError, match="kg_is_possible"):
        store.write_to_offline_store("loads", new_rows(1.0, -1.0))
    assert DeltaTable(folder / "loads").to_pyarrow_table().num_rows == 1099
    kept = DeltaTable(lake.quarantine("loads")).to_pyarrow_table()
    assert sorted(kept["published"].to_pylist()) == [False, False, True]
    assert kept["broken_rules"].to_pylist().count(["kg_is_possible"]) == 2
    events = [json.loads(path.read_text()) for path in sorted(lineage_settings().outbox.glob("*.json"))]
    states = [event["eventType"] for event in events if event["job"]["name"] == "write.loads"]
    assert states == ["START", "COMPLETE", "START", "FAIL"]


@pytest.mark.parametrize("engine", ["duckdb"])
def test_rows_of_another_type_are_refused(spark: SparkSession, store: FeatureStore, folder: Path) -> None:
    """Text where the table has numbers is named, and nothing is appended."""
    with pytest.raises(UnfitRowError, match=r"kg is '1\.0', which is not a value of double, in row 1 of the batch"):
        store.write_to_offline_store("loads", new_rows(1.0).astype({"kg": str}))
    assert DeltaTable(folder / "loads").to_pyarrow_table().num_rows == 1000


def test_an_engine_that_cannot_answer_says_why(spark: SparkSession, folder: Path) -> None:
    """Where the configuration insists on DuckDB and the frame is Spark's, the error says so; `auto` lets Spark answer."""
    frame = spark.createDataFrame([(1, START)], "plane BIGINT, event_timestamp TIMESTAMP")
    forced = open_store(folder, "forced", {**OURS, "engine": "duckdb"}, definitions(folder))
    with pytest.raises(EngineUnfitError, match="the entity frame is Spark's"):
        forced.get_historical_features(entity_df=frame, features=["loads:weight"])
    free = open_store(folder, "free", OURS, definitions(folder))
    assert free.get_historical_features(entity_df=frame, features=["loads:weight"]).to_df().shape == (1, 3)


def test_a_source_that_nobody_reads_is_named_at_apply(folder: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Feast applies a view of a warehouse, which only rows can be pushed to; a warning says so and what to declare instead."""
    warehouse = BigQuerySource(name="weights", table="loads", timestamp_field="event_at")
    config = open_store(folder, "file", OURS, definitions(folder)).config
    with suppress(Exception):  # Feast looks for the warehouse's own packages
        PedigreeOfflineStore().validate_data_source(config, warehouse)
    assert "the source 'weights' is a BigQuerySource: rows can be pushed to its views" in caplog.text
