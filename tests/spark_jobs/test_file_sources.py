"""An existing Feast repository: views over Parquet files by Feast's `FileSource`, as `feast init` writes them."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from deltalake import DeltaTable
from feast import Entity, FeatureStore, FeatureView, Field, FileSource, ValueType
from feast.types import Float64, Int64, Map
from pyspark.sql import SparkSession

from benchmarks.stores import FEAST_FILE, OURS, open_store
from pedigree.features.lake import Lake
from pedigree.jobs.errors import QualityGateFailedError, SchemaBrokenError, SourceMissingError, UnsupportedSourceError
from pedigree.jobs.historical.arrow_files import IN_MICROSECONDS
from pedigree.jobs.materialize.rollback import StoreRecovery
from pedigree.jobs.sources.parquet import read_parquet
from pedigree.lineage.recorder import Recorder
from pedigree.lineage.settings import lineage_settings
from pedigree.online.store.redis_store import RedisStore

from .loaded_shop import config_of
from .repositories import working_in

START = datetime(2026, 1, 1, tzinfo=UTC)
END = START + timedelta(days=30)
DRIVER = Entity(name="driver", join_keys=["driver_id"], value_type=ValueType.INT64)
KIND = pa.struct([("make", pa.string()), ("doors", pa.string())])


def trips(*rows: tuple[int | None, float, float], created: float = 100.0) -> pa.Table:
    """Rows of a driver, an hour and a rating, as pandas writes them: times in nanoseconds, and a struct."""
    drivers, hours, ratings = zip(*rows, strict=True)
    at = [int((START + timedelta(hours=hour)).timestamp() * 1e9) + 999 for hour in hours]
    when = int((START + timedelta(hours=created)).timestamp() * 1e6)
    return pa.table(
        {
            "event_timestamp": pa.array(at, pa.timestamp("ns", "UTC")),
            "driver_id": pa.array(drivers, pa.int64()),
            "rating": pa.array(ratings, pa.float64()),
            "created": pa.array([when] * len(rows), pa.timestamp("us")),
            "car": pa.array([{"make": "vw", "doors": "5"}] * len(rows), KIND),
            "unasked": pa.array([1] * len(rows), pa.int32()),
        }
    )


def view(*more: Field, path: str = "data/trips.parquet") -> FeatureView:
    """A view over the file, whose path is relative to the repository."""
    source = FileSource(name="trips", path=path, timestamp_field="event_timestamp", created_timestamp_column="created")
    schema = [Field(name="driver_id", dtype=Int64), Field(name="rating", dtype=Float64), *more]
    return FeatureView(name="trips", entities=[DRIVER], ttl=timedelta(days=2), schema=schema, source=source)


@dataclass
class Drivers:
    """A repository in a folder, with its store and its lake."""

    folder: Path
    lake: Lake
    spark: SparkSession
    store: FeatureStore

    def land(self, rows: pa.Table) -> None:
        (self.folder / "data").mkdir(exist_ok=True)
        pq.write_table(rows, self.folder / "data" / "trips.parquet")

    def load(self) -> None:
        self.store.materialize(START, END, feature_views=["trips"])

    def served(self, driver: int, feature: str = "rating") -> Any:
        return self.store.get_online_features([f"trips:{feature}"], [{"driver_id": driver}]).to_dict()[feature][0]

    @property
    def version(self) -> int:
        """The newest version of the copy."""
        return int(DeltaTable(self.lake.table("trips")).version())

    def copied(self, column: str) -> list[Any]:
        """A column of the copy."""
        rows = DeltaTable(self.lake.table("trips")).to_pyarrow_dataset(parquet_read_options=IN_MICROSECONDS)
        return list(rows.to_table([column])[column].to_pylist())


@pytest.fixture
def drivers(
    spark: SparkSession, tmp_path: Path, redis_store: RedisStore, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Drivers]:
    monkeypatch.setenv("PEDIGREE_LAKE", (tmp_path / "lake").as_uri())
    folder = tmp_path / "repository"
    with working_in(folder) as lake:
        config = config_of("shop", tmp_path, redis_store)
        config.repo_path = folder
        made = Drivers(folder, lake, spark, FeatureStore(config=config))
        made.land(trips((1, 1, 0.5), (1, 2, 0.6), (2, 1, 0.7)))
        made.store.apply([DRIVER, view()])
        yield made
        asyncio.run(made.store.close())


def test_a_file_is_copied_with_its_provenance_and_served(drivers: Drivers) -> None:
    """A load copies the file into the lake, behind the gate, and serves the newest row; the same file makes no version."""
    drivers.load()
    assert (drivers.served(1), drivers.served(2)) == (0.6, 0.7)
    assert drivers.version == 0
    assert drivers.copied("created") == [START + timedelta(hours=100)] * 3
    drivers.load()
    assert drivers.version == 0


def test_a_file_that_changed_is_copied_anew(drivers: Drivers) -> None:
    """Rows that a file gains, changes and loses are those that the next load serves, and a rollback brings the former ones."""
    drivers.load()
    drivers.land(trips((1, 1, 0.5), (3, 3, 0.9), (1, 2, 0.65)))
    drivers.load()
    assert (drivers.served(1), drivers.served(2), drivers.served(3)) == (0.65, None, 0.9)
    with Recorder.open(lineage_settings()) as recorder:
        recovery = StoreRecovery(drivers.store, drivers.spark, recorder)
        version, _ = recovery.rollback(drivers.store.get_feature_view("trips"), lambda _rows: None, to=None)
        assert (version, drivers.served(1), drivers.served(2), drivers.served(3)) == (0, 0.6, 0.7, None)
        drivers.land(trips((1, 4, 0.1)))
        recovery.rebuild(drivers.store.get_feature_view("trips"), lambda _rows: None)
    assert (drivers.served(1), drivers.served(2)) == (0.1, None)


def test_of_rows_of_one_key_and_instant_the_newest_made_is_served(drivers: Drivers) -> None:
    """A file may have a key and instant twice, as with Feast; the row that was created later counts."""
    drivers.land(pa.concat_tables([trips((1, 2, 0.9), created=101), trips((1, 2, 0.8), created=100)]))
    drivers.load()
    assert drivers.served(1) == 0.9


def test_a_struct_of_the_file_is_served_as_the_map_of_the_view(drivers: Drivers) -> None:
    """A `Map` feature takes a struct, which is how Parquet has what Feast calls a map."""
    drivers.store.apply([view(Field(name="car", dtype=Map))])
    drivers.load()
    assert drivers.served(1, "car") == {"make": "vw", "doors": "5"}


def test_rows_without_a_key_are_kept_in_quarantine(drivers: Drivers) -> None:
    """A few rows without a key stay out, by the name of the rule; where there are many nothing is loaded."""
    drivers.land(trips(*((driver, 1, 0.5) for driver in range(99)), (None, 1, 0.5)))
    drivers.load()
    assert len(drivers.copied("rating")) == 99
    kept = DeltaTable(drivers.lake.quarantine("trips")).to_pyarrow_dataset().to_table(["broken_rules"])
    assert kept["broken_rules"].to_pylist() == [["driver_id_is_present"]]
    drivers.land(trips((1, 3, 0.9), (None, 1, 0.5)))
    with pytest.raises(QualityGateFailedError, match="driver_id_is_present"):
        drivers.load()
    assert drivers.served(1) == 0.5


def test_what_does_not_fit_the_view_is_told_by_name(drivers: Drivers) -> None:
    """A column that is missing or of another type, and a file that is gone, are told before anything is written."""
    drivers.land(trips((1, 1, 0.5)).drop_columns(["rating"]))
    with pytest.raises(SchemaBrokenError, match="rating is missing"):
        drivers.load()
    drivers.land(trips((1, 1, 0.5)).set_column(2, "rating", pa.array(["good"])))
    with pytest.raises(SchemaBrokenError, match="rating is string, promised is double"):
        drivers.load()
    (drivers.folder / "data" / "trips.parquet").unlink()
    with pytest.raises(SourceMissingError, match=r"trips\.parquet"):
        drivers.load()


def test_rows_are_not_written_to_a_file(drivers: Drivers) -> None:
    """A push to the offline store of a view over a file is refused with what to declare instead."""
    rows = trips((1, 1, 0.5)).to_pandas()
    with pytest.raises(UnsupportedSourceError, match="delta_table"):
        drivers.store.write_to_offline_store("trips", rows, reorder_columns=False)


@pytest.mark.parametrize("engine", ["duckdb", "spark"])
def test_training_rows_are_those_of_feasts_own_file_store(spark: SparkSession, tmp_path: Path, engine: str) -> None:
    """The created time of a file breaks ties and hides nothing: for all that Feast's own file store finds, it has the same."""
    random = np.random.default_rng(7)
    rows = [(int(driver), float(hour), float(hour)) for driver in range(5) for hour in random.choice(600, 80, False)]
    pq.write_table(trips(*rows), tmp_path / "trips.parquet")
    path = str(tmp_path / "trips.parquet")
    ours = open_store(tmp_path, engine, {**OURS, "engine": engine}, [DRIVER, view(path=path)])
    feasts = open_store(tmp_path, "feast", FEAST_FILE, [DRIVER, view(path=path)])
    instants = [START + timedelta(hours=float(hour)) for hour in random.uniform(0, 700, 300)]
    labels = pd.DataFrame({"driver_id": random.integers(0, 6, 300), "event_timestamp": instants})
    found, expected = (
        store.get_historical_features(labels, ["trips:rating"]).to_df()[["driver_id", "event_timestamp", "rating"]]
        for store in (ours, feasts)
    )
    assert len(found) == len(labels)
    both = found.merge(expected, on=["driver_id", "event_timestamp"], suffixes=("", "_of_feast"))
    assert len(both) == len(expected) > 250  # Feast's loses labels
    assert both["rating"].notna().sum() > 200
    pd.testing.assert_series_equal(both["rating"], both["rating_of_feast"], check_names=False)


@pytest.mark.parametrize("engine", ["duckdb", "spark"])
def test_a_file_hides_what_was_created_later_where_that_is_asked_for(
    spark: SparkSession, tmp_path: Path, engine: str
) -> None:
    """The newest made of two rows is seen, as with Feast; with `filter_by_created_timestamp` or `known_by` it is hidden."""
    rows = pa.concat_tables([trips((1, 1, 0.5), created=1), trips((1, 1, 0.9), created=50)])
    pq.write_table(rows, tmp_path / "trips.parquet")
    made = view(path=str(tmp_path / "trips.parquet"))
    store = open_store(tmp_path, engine, {**OURS, "engine": engine}, [DRIVER, made])
    frame = pd.DataFrame({"driver_id": [1], "event_timestamp": [START + timedelta(hours=2)]})

    def rating(**asked: Any) -> float:
        job = store._get_provider().offline_store.get_historical_features(
            store.config, [made], ["trips:rating"], frame, store.registry, "p", **asked
        )
        return float(job.to_df()["rating"][0])

    assert rating() == 0.9
    assert rating(filter_by_created_timestamp=True) == 0.5
    assert rating(known_by=START + timedelta(hours=10)) == 0.5
    assert (
        store.get_historical_features(frame, ["trips:rating"], filter_by_created_timestamp=True).to_df()["rating"][0]
        == 0.5
    )


@pytest.mark.parametrize("zone", [None, "UTC", "Europe/Berlin"])
def test_times_in_nanoseconds_are_rounded_down(spark: SparkSession, tmp_path: Path, zone: str | None) -> None:
    """Also before 1970, and a naive time is UTC."""
    nanos = [-1500, -1, 0, 999, 1500, 1_700_000_000_000_000_999, None]
    pq.write_table(
        pa.table({"at": pa.array(nanos, pa.int64()).cast(pa.timestamp("ns", zone))}), tmp_path / "at.parquet"
    )
    rows = read_parquet(spark, (tmp_path / "at.parquet").as_uri()).selectExpr("unix_micros(at) AS at").collect()
    assert [row["at"] for row in rows] == [None if one is None else one // 1000 for one in nanos]
