"""Ten million labels, five views, fifty million feature rows, in 8 GiB: our store on local Spark, beside DuckDB's ASOF join.

Both read the same Parquet files and write the same Parquet rows, each in a process of its own whose memory is watched from
outside; their answers are compared by sums over every column. `QUICK=1` takes a hundredth of it.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path

import duckdb
import psutil
from feast import Entity, FeatureView, Field, ValueType
from feast.infra.offline_stores.contrib.spark_offline_store.spark_source import SparkSource
from feast.types import Float64, Int64

from benchmarks.stores import OURS, open_store
from pedigree.jobs.settings import job_settings
from pedigree.jobs.spark.session import open_session

QUICK = bool(os.environ.get("QUICK"))
LABELS = 100_000 if QUICK else 10_000_000
ROWS = 100_000 if QUICK else 10_000_000
"""Feature rows of one view."""

VIEWS = [f"view{number}" for number in range(5)]
FEATURES = ["f0", "f1", "f2", "f3"]
ENTITIES = LABELS // 100
TTL = timedelta(days=30)
MEMORY = "8GB"
JVM_HEAP = "5g"
"""What Spark's JVM gets of the 8 GiB; the rest is for its own needs, Python's workers and the driver."""


def generate(folder: Path) -> None:
    """Random rows of sixty days for random entities, and labels in the second half of them."""
    database = duckdb.connect()
    seconds = f"TIMESTAMPTZ '2026-01-01 00:00:00+00' + to_seconds(CAST(floor(random() * {60 * 86400}) AS BIGINT))"
    later = f"TIMESTAMPTZ '2026-01-31 00:00:00+00' + to_seconds(CAST(floor(random() * {30 * 86400}) AS BIGINT))"
    entity = f"CAST(floor(random() * {ENTITIES}) AS BIGINT) AS entity"
    values = ", ".join(f"random() AS {name}" for name in FEATURES)
    database.execute("SELECT setseed(0.5)")
    for name in VIEWS:
        unique = (
            f"SELECT DISTINCT ON (entity, event_at) * FROM (SELECT {entity}, {seconds} AS event_at FROM range({ROWS}))"
        )
        database.execute(f"COPY (SELECT *, {values} FROM ({unique})) TO '{folder}/{name}.parquet'")
    labels = f"SELECT range AS label, {entity}, {later} AS event_timestamp FROM range({LABELS})"
    database.execute(f"COPY ({labels}) TO '{folder}/labels.parquet'")


def by_ours(folder: Path) -> None:
    """The labels with twenty features, by `get_historical_features` on Spark."""
    spark = open_session(job_settings())
    entity = Entity(name="entity", join_keys=["entity"], value_type=ValueType.INT64)
    schema = [Field(name="entity", dtype=Int64), *(Field(name=name, dtype=Float64) for name in FEATURES)]
    views = []
    for name in VIEWS:
        path = (folder / f"{name}.parquet").as_uri()
        source = SparkSource(name=name, path=path, file_format="parquet", timestamp_field="event_at")
        views.append(FeatureView(name=name, entities=[entity], ttl=TTL, schema=schema, source=source))
    store = open_store(folder, "ours", OURS, [entity, *views])
    refs = [f"{view}:{feature}" for view in VIEWS for feature in FEATURES]
    labels = spark.read.parquet((folder / "labels.parquet").as_uri())
    job = store.get_historical_features(entity_df=labels, features=refs, full_feature_names=True)
    job.to_spark_df().write.parquet((folder / "ours").as_uri())


def by_duckdb(folder: Path) -> None:
    """The same by DuckDB, which may spill to disk."""
    database = duckdb.connect()
    database.execute(f"SET memory_limit = '{MEMORY}'")
    database.execute(f"SET temp_directory = '{folder}/spill'")
    ttl = f"INTERVAL {int(TTL.total_seconds())} SECOND"
    asked = f"read_parquet('{folder}/labels.parquet')"
    for name in VIEWS:
        values = ", ".join(
            f"CASE WHEN r.event_at >= a.event_timestamp - {ttl} THEN r.{one} END AS {name}__{one}" for one in FEATURES
        )
        join = f"SELECT a.*, {values} FROM {asked} a ASOF LEFT JOIN read_parquet('{folder}/{name}.parquet') r"
        join += " ON a.entity = r.entity AND a.event_timestamp >= r.event_at"
        database.execute(f"COPY ({join}) TO '{folder}/step_{name}.parquet'")
        asked = f"read_parquet('{folder}/step_{name}.parquet')"
    Path(f"{folder}/step_{VIEWS[-1]}.parquet").rename(folder / "duckdb.parquet")


def watched(engine: str, folder: Path) -> dict[str, float]:
    """Seconds and peak memory in GiB of one engine in a process of its own, its children included."""
    environment = {**os.environ, "PEDIGREE_FEATURE_STORE_YAML": str(small_heap(folder))}
    since = time.perf_counter()
    command = [sys.executable, "-W", "ignore", "-m", "benchmarks.scale", engine, str(folder)]
    child = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    peak = 0
    while child.poll() is None:
        peak = max(peak, resident(child.pid))
        time.sleep(0.2)
    if child.returncode:
        sys.exit(f"{engine} failed: run `{' '.join(command)}` to see why")
    return {"seconds": round(time.perf_counter() - since, 1), "peak_gib": round(peak / 2**30, 2)}


def resident(pid: int) -> int:
    """The memory of a process and its children, in bytes."""
    try:
        family = [psutil.Process(pid), *psutil.Process(pid).children(recursive=True)]
        return sum(one.memory_info().rss for one in family)
    except psutil.NoSuchProcess:
        return 0


def small_heap(folder: Path) -> Path:
    """`feature_store.yaml` with a JVM of `JVM_HEAP`, whose shuffles go to this folder."""
    yaml = Path("feature_repo/feature_store.yaml").read_text()
    small = yaml.replace(
        "spark.driver.memory: 3g", f"spark.driver.memory: {JVM_HEAP}\n    spark.local.dir: {folder}/shuffle"
    )
    path = folder / "feature_store.yaml"
    path.write_text(small.replace('spark.sql.shuffle.partitions: "4"', 'spark.sql.shuffle.partitions: "64"'))
    return path


def sums(files: str) -> Sequence[float]:
    """The number of rows, and the sum and the count of every feature, to compare answers by."""
    names = [f"{view}__{feature}" for view in VIEWS for feature in FEATURES]
    totals = ", ".join(f"count({name}), round(fsum({name}), 3)" for name in names)
    [row] = duckdb.connect().execute(f"SELECT count(*), {totals} FROM read_parquet('{files}')").fetchall()
    return tuple(row)


def main() -> None:
    """Generate, run both, compare; figures as JSON on the last line."""
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        generate(folder)
        ours, theirs = watched("ours", folder), watched("duckdb", folder)
        same = sums(f"{folder}/ours/*.parquet") == sums(f"{folder}/duckdb.parquet")
        assert same, "the answers differ"
    figures = {"labels": LABELS, "feature_rows": ROWS * len(VIEWS), "ours": ours, "duckdb": theirs}
    figures["ours_vs_duckdb"] = round(ours["seconds"] / theirs["seconds"], 2)
    sys.stdout.write(json.dumps(figures) + "\n")


if __name__ == "__main__":
    if len(sys.argv) > 1:
        {"ours": by_ours, "duckdb": by_duckdb}[sys.argv[1]](Path(sys.argv[2]))
    else:
        main()
