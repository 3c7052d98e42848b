"""Point-in-time retrieval: our offline store against Feast's own Spark store and DuckDB's ASOF join, in one session.

Ten features of one view with a ttl of thirty days. Every answer is compared before a figure is printed. `QUICK=1` takes
fewer labels.
"""

from __future__ import annotations

import json
import os
import sys
import tempfile
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import duckdb
import numpy as np
import pandas as pd
from feast import Entity, FeatureStore, FeatureView, Field, RepoConfig, ValueType
from feast.infra.offline_stores.contrib.spark_offline_store.spark_source import SparkSource
from feast.types import Float64, Int64
from pyspark.sql import SparkSession

from spark_jobs.session import open_session
from spark_jobs.settings import job_settings

START = datetime(2026, 1, 1, tzinfo=UTC)
SPAN = timedelta(days=60)
TTL = timedelta(days=30)
FEATURES = [f"f{number}" for number in range(10)]
QUICK = bool(os.environ.get("QUICK"))
LABELS = 20_000 if QUICK else 100_000
STORES = {
    "ours": {"type": "spark_jobs.historical.PedigreeOfflineStore", "knowledge_time": False},
    "feast": {"type": "spark"},
}


def feature_rows(entities: int, per_entity: int) -> pd.DataFrame:
    """`per_entity` rows for each entity, at instants of their own."""
    random = np.random.default_rng(entities)
    count = entities * per_entity
    seconds = random.permutation(np.arange(count) * int(SPAN.total_seconds()) // count)
    frame = pd.DataFrame({"entity": np.repeat(np.arange(entities), per_entity)})
    frame["event_at"] = pd.Timestamp(START) + pd.to_timedelta(seconds, unit="s")
    frame["created_at"] = frame["event_at"]
    return frame.assign(**{name: random.random(count) for name in FEATURES})


def labels(entities: int) -> pd.DataFrame:
    """Labels for random entities at random instants of the second half of the span."""
    random = np.random.default_rng(7)
    seconds = random.integers(int(SPAN.total_seconds()) // 2, int(SPAN.total_seconds()), LABELS)
    frame = pd.DataFrame({"label": np.arange(LABELS), "entity": random.integers(0, entities, LABELS)})
    return frame.assign(event_timestamp=pd.Timestamp(START) + pd.to_timedelta(seconds, unit="s"))


def open_stores(folder: Path, path: Path) -> dict[str, FeatureStore]:
    """The same view over the same file, in both stores."""
    entity = Entity(name="entity", join_keys=["entity"], value_type=ValueType.INT64)
    source = SparkSource(
        name="rows",
        path=path.as_uri(),
        file_format="parquet",
        timestamp_field="event_at",
        created_timestamp_column="created_at",
    )
    schema = [Field(name="entity", dtype=Int64), *(Field(name=name, dtype=Float64) for name in FEATURES)]
    view = FeatureView(name="rows", entities=[entity], ttl=TTL, schema=schema, source=source)
    stores = {}
    for name, offline_store in STORES.items():
        registry = {"registry_type": "sql", "path": f"sqlite:///{folder}/{name}.db"}
        config = RepoConfig(
            project="bench",
            provider="local",
            registry=registry,
            offline_store=offline_store,
            online_store={"type": "sqlite", "path": f"{folder}/online.db"},
            entity_key_serialization_version=3,
        )
        stores[name] = FeatureStore(config=config)
        stores[name].apply([entity, view])
    return stores


def by_store(store: FeatureStore, asked: pd.DataFrame) -> pd.DataFrame:
    """The labels with their features, as pandas."""
    features = [f"rows:{name}" for name in FEATURES]
    found: pd.DataFrame = store.get_historical_features(entity_df=asked, features=features).to_df()
    return found.sort_values("label", ignore_index=True)[["label", *FEATURES]]


def by_duckdb(path: Path, asked: pd.DataFrame) -> pd.DataFrame:
    """The same by DuckDB, reading the same files."""
    database = duckdb.connect()
    database.execute("SET TimeZone = 'UTC'")
    database.register("asked", asked)
    fresh = f"r.event_at >= a.event_timestamp - INTERVAL {int(TTL.total_seconds())} SECOND"
    values = ", ".join(f"CASE WHEN {fresh} THEN r.{name} END AS {name}" for name in FEATURES)
    rows = f"read_parquet('{path}/*.parquet')"
    query = f"SELECT a.label, {values} FROM asked a ASOF LEFT JOIN {rows} r"
    query += " ON a.entity = r.entity AND a.event_timestamp >= r.event_at ORDER BY a.label"
    found: pd.DataFrame = database.sql(query).df()
    return found


def timed(work: Callable[[], pd.DataFrame], *, rounds: int) -> tuple[float, pd.DataFrame]:
    """The shortest of some rounds in seconds, and the answer."""
    seconds = []
    for _ in range(rounds):
        since = time.perf_counter()
        found = work()
        seconds.append(time.perf_counter() - since)
    return min(seconds), found


def compare(spark: SparkSession, folder: Path, *, entities: int, per_entity: int) -> dict[str, float]:
    """Seconds of each on one table; fails where two answers differ."""
    path = folder / f"rows_{per_entity}"
    spark.createDataFrame(feature_rows(entities, per_entity)).write.parquet(path.as_uri())
    stores, asked = open_stores(folder, path), labels(entities)
    rounds = 1 if QUICK else 2
    by_store(stores["ours"], asked.head(1000))  # starts the session's workers for both
    ours, answer = timed(lambda: by_store(stores["ours"], asked), rounds=rounds)
    duck, duck_answer = timed(lambda: by_duckdb(path, asked), rounds=rounds)
    feast, feast_answer = timed(lambda: by_store(stores["feast"], asked), rounds=1)
    pd.testing.assert_frame_equal(answer, duck_answer, check_dtype=False)
    pd.testing.assert_frame_equal(answer, feast_answer, check_dtype=False)
    sys.stdout.write(f"{per_entity:>5} rows per entity: ours {ours:.1f} s, Feast {feast:.1f} s, DuckDB {duck:.2f} s\n")
    return {"ours": ours, "feast": feast, "duckdb": duck}


def main() -> None:
    """Two tables of one size, with 100 and with 1,000 rows per entity; figures as JSON on the last line."""
    spark = open_session(job_settings())
    with tempfile.TemporaryDirectory() as folder:
        total = 100_000
        hundred = compare(spark, Path(folder), entities=total // 100, per_entity=100)
        thousand = compare(spark, Path(folder), entities=total // 1000, per_entity=1000)
    figures = {
        "labels": LABELS,
        "speedup_vs_feast_100": round(hundred["feast"] / hundred["ours"], 1),
        "speedup_vs_feast_1000": round(thousand["feast"] / thousand["ours"], 1),
        "growth_10x": round(thousand["ours"] / hundred["ours"], 2),
        "vs_duckdb": round(thousand["ours"] / thousand["duckdb"], 1),
    }
    sys.stdout.write(json.dumps(figures) + "\n")


if __name__ == "__main__":
    main()
