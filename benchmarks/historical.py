"""Point-in-time retrieval: our offline store against Feast's own Spark store and DuckDB's ASOF join, in one session.

Ten features of one view with a ttl of thirty days. Every answer is compared before a figure is printed. What one more day of
windows costs is `benchmarks.incremental`'s figure. `QUICK=1` takes fewer rows.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import duckdb
import numpy as np
import pandas as pd
from feast import Entity, FeatureStore, FeatureView, Field, ValueType
from feast.infra.offline_stores.contrib.spark_offline_store.spark_source import SparkSource
from feast.types import Float64, Int64
from pyspark.sql import SparkSession

from benchmarks.incremental import incremental_share
from benchmarks.stores import FEAST_SPARK, OURS, open_store
from pedigree.jobs.settings import job_settings
from pedigree.jobs.spark.session import open_session

START = datetime(2026, 1, 1, tzinfo=UTC)
SPAN = timedelta(days=60)
TTL = timedelta(days=30)
FEATURES = [f"f{number}" for number in range(10)]
QUICK = bool(os.environ.get("QUICK"))
LABELS = 10_000 if QUICK else 100_000
ROWS = 50_000 if QUICK else 100_000
FIRST = 10_000
"""Labels of the first training set of a process."""

STORES = {
    "spark": {**OURS, "knowledge_time": False, "engine": "spark"},
    "auto": {**OURS, "knowledge_time": False},
    "known": OURS,
    "feast": FEAST_SPARK,
}
"""Ours on Spark, as it chooses its engine, and with knowledge time; and Feast's own Spark store."""

FIRST_SET = """
import sys, time
since = time.perf_counter()
import pandas as pd
from feast import FeatureStore
started = time.perf_counter()
store = FeatureStore(fs_yaml_file=sys.argv[1])
features = [f"rows:f{number}" for number in range(10)]
rows = store.get_historical_features(entity_df=pd.read_parquet(sys.argv[2]), features=features).to_df()
assert len(rows) == 10_000 and rows["f0"].notna().any()
print(round(time.perf_counter() - started, 2), round(time.perf_counter() - since, 2))
"""
"""A first training set in a new process; prints its seconds without and with the import of pandas and Feast."""


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
    """The same view over the same file, once per store."""
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
    return {name: open_store(folder, name, config, [entity, view]) for name, config in STORES.items()}


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
    rounds = 1 if QUICK else 3
    by_store(stores["spark"], asked.head(1000))  # starts the session's workers for both
    seconds, answer = {}, {}
    for name, store in stores.items():
        seconds[name], answer[name] = timed(lambda: by_store(store, asked), rounds=1 if name == "feast" else rounds)  # noqa: B023
    seconds["duckdb"], answer["duckdb"] = timed(lambda: by_duckdb(path, asked), rounds=rounds)
    for name in ("spark", "auto", "known", "duckdb"):  # every row was created at its event time
        pd.testing.assert_frame_equal(answer[name], answer["feast"], check_dtype=False)
    shown = ", ".join(f"{name} {taken:.2f} s" for name, taken in seconds.items())
    sys.stdout.write(f"{per_entity:>5} rows per entity: {shown}\n")
    return seconds


def first_set(folder: Path) -> tuple[float, float]:
    """Seconds to a training set of 10,000 labels in a new process, without and with imports; the best of three."""
    (folder / "labels").mkdir()
    labels(ROWS // 100).head(FIRST).to_parquet(folder / "labels" / "labels.parquet")
    yaml = folder / "feature_store.yaml"
    yaml.write_text(
        f"project: p\nprovider: local\nregistry: {{registry_type: sql, path: 'sqlite:///{folder}/auto.db'}}\n"
        f"offline_store: {{type: {OURS['type']}, knowledge_time: false}}\n"
        f"online_store: {{type: sqlite, path: {folder}/auto_online.db}}\nentity_key_serialization_version: 3\n"
    )
    command = [sys.executable, "-W", "ignore", "-c", FIRST_SET, str(yaml), str(folder / "labels")]
    runs = [subprocess.run(command, capture_output=True, text=True, check=True).stdout.split() for _ in range(3)]
    return min(float(run[-2]) for run in runs), min(float(run[-1]) for run in runs)


def main() -> None:
    """Two tables of one size, with 100 and with 1,000 rows per entity; figures as JSON on the last line."""
    spark = open_session(job_settings())
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        thousand = compare(spark, folder, entities=ROWS // 1000, per_entity=1000)
        hundred = compare(spark, folder, entities=ROWS // 100, per_entity=100)
        after_start, with_imports = first_set(folder)
        day = incremental_share(spark, folder / "incremental", quick=QUICK)
    figures = {
        "labels": LABELS,
        "speedup_vs_feast_100": round(hundred["feast"] / hundred["spark"], 1),
        "speedup_vs_feast_1000": round(thousand["feast"] / thousand["spark"], 1),
        "small_speedup_vs_feast_100": round(hundred["feast"] / hundred["auto"], 1),
        "small_speedup_vs_feast_1000": round(thousand["feast"] / thousand["auto"], 1),
        "growth_10x": round(thousand["spark"] / hundred["spark"], 2),
        "vs_duckdb": round(thousand["auto"] / thousand["duckdb"], 2),
        "vs_duckdb_knowledge_time": round(thousand["known"] / thousand["duckdb"], 2),
        "first_10k_labels_s": after_start,
        "first_10k_labels_with_imports_s": with_imports,
        **day,
    }
    sys.stdout.write(json.dumps(figures) + "\n")


if __name__ == "__main__":
    main()
