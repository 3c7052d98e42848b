"""Materialize: a Delta table into Redis, our engine against Feast's own, and the memory that each layout takes.

A million rows of ten features (five doubles, five whole numbers), one per entity. Feast's rows go through its Spark engine with
its own Redis store, a quarter as many (it is slow, and its rate does not depend on how many there are). What is in Redis is
compared with the table before a figure is given. `QUICK=1`: a twentieth of the rows.
"""

from __future__ import annotations

import json
import os
import tempfile
import time
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import uuid4

from feast import Entity, FeatureStore, FeatureView, Field, RepoConfig, ValueType
from feast.infra.offline_stores.contrib.spark_offline_store.spark_source import SparkSource
from feast.table_format import DeltaFormat
from feast.types import Float64, Int64
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from benchmarks.servers import Redis
from pedigree.jobs.gate_mark import CommitMark
from pedigree.jobs.settings import job_settings
from pedigree.jobs.spark.session import open_session

QUICK = bool(os.environ.get("QUICK"))
ROWS = 50_000 if QUICK else 1_000_000
FEAST_ROWS = 10_000 if QUICK else 250_000
START = datetime(2026, 1, 1, tzinfo=UTC)
END = START + timedelta(days=2)
OURS = {"type": "pedigree.online.feast_plugin.PedigreeOnlineStore"}
FEAST = {"type": "redis"}
SAMPLE = 200


def make_table(spark: SparkSession, uri: str, rows: int) -> None:
    """One row for each customer."""
    numbers = spark.range(rows)
    doubles = [
        (F.pmod(F.xxhash64("id", F.lit(place)), F.lit(10**9)) / 1e3).alias(f"spend_{place}") for place in range(5)
    ]
    wholes = [F.pmod(F.xxhash64("id", F.lit(place + 9)), F.lit(500)).alias(f"visits_{place}") for place in range(5)]
    event = F.lit(START) + F.make_dt_interval(secs=F.pmod("id", F.lit(86_400)))
    table = numbers.select(
        F.col("id").alias("customer_id"),
        event.cast("timestamp").alias("event_at"),
        F.lit(START).cast("timestamp").alias("created_at"),
        *doubles,
        *wholes,
    )
    write = table.write.format("delta").option("delta.enableChangeDataFeed", "true")
    write.option("userMetadata", CommitMark.of_gate(uri, run_id=str(uuid4()), rows=rows).text()).save(uri)


def open_store(folder: Path, name: str, online: dict[str, Any], engine: str, uri: str, port: int) -> FeatureStore:
    """A store over the table, with a Redis."""
    config = RepoConfig(
        project="bench",
        provider="local",
        registry={"registry_type": "sql", "path": f"sqlite:///{folder}/{name}.db"},
        offline_store={"type": "spark"},
        online_store=online | {"connection_string": f"127.0.0.1:{port}"},
        batch_engine={"type": engine},
        entity_key_serialization_version=3,
    )
    store = FeatureStore(config=config)
    customer = Entity(name="customer", join_keys=["customer_id"], value_type=ValueType.INT64)
    fields = [Field(name=f"spend_{place}", dtype=Float64) for place in range(5)]
    fields += [Field(name=f"visits_{place}", dtype=Int64) for place in range(5)]
    view = FeatureView(
        name="customer_activity",
        entities=[customer],
        ttl=timedelta(days=0),
        schema=[Field(name="customer_id", dtype=Int64), *fields],
        source=SparkSource(
            name=f"table_{name}",
            path=uri,
            table_format=DeltaFormat(),
            timestamp_field="event_at",
            created_timestamp_column="created_at",
        ),
    )
    store.apply([customer, view], skip_feature_view_validation=True)
    return store


def verify(store: FeatureStore, table: DataFrame) -> None:
    """A sample of what Feast reads from the store is what the table has."""
    rows = table.orderBy(F.xxhash64("customer_id")).limit(SAMPLE).toPandas().sort_values("customer_id")
    names = [name for name in rows.columns if name not in ("customer_id", "event_at", "created_at")]
    keys = [{"customer_id": int(key)} for key in rows.customer_id]
    found = store.get_online_features([f"customer_activity:{name}" for name in names], keys).to_df()
    for name in names:
        assert found[name].tolist() == rows[name].tolist(), name


def seconds_of(store: FeatureStore, end: datetime) -> float:
    """How long `materialize` takes, the whole way."""
    since = time.perf_counter()
    store.materialize(START - timedelta(days=1), end)
    return time.perf_counter() - since


def main() -> None:
    """Figures as JSON on the last line."""
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        os.environ["PEDIGREE_LINEAGE_OUTBOX"] = str(folder / "outbox")
        theirs, mine = (stack.enter_context(Redis.running(folder / name)) for name in ("theirs", "mine"))
        spark = open_session(job_settings())
        small, large = ((folder / name).as_uri() for name in ("small", "large"))
        make_table(spark, small, FEAST_ROWS)
        make_table(spark, large, ROWS)
        ours = open_store(
            folder, "ours", OURS, "pedigree.jobs.materialize.compute_engine.PedigreeSparkEngine", large, mine.port
        )
        feast = open_store(folder, "feast", FEAST, "spark.engine", small, theirs.port)
        empty = mine.used_memory(), theirs.used_memory()
        feast_seconds = seconds_of(feast, END)
        our_seconds = seconds_of(ours, END)
        verify(ours, spark.read.format("delta").load(large))
        verify(feast, spark.read.format("delta").load(small))
        memory = [
            (mine.used_memory() - empty[0]) / ROWS,
            (theirs.used_memory() - empty[1]) / FEAST_ROWS,
        ]
        again_seconds = seconds_of(ours, END)
    rates = ROWS / our_seconds, FEAST_ROWS / feast_seconds
    figures = {
        "rows_vs_feast": round(rates[0] / rates[1], 2),
        "memory_vs_feast": round(memory[0] / memory[1], 3),
        "rows_per_second": round(rates[0]),
        "feast_rows_per_second": round(rates[1]),
        "seconds": round(our_seconds, 1),
        "feast_seconds": round(feast_seconds, 1),
        "seconds_without_news": round(again_seconds, 1),
        "bytes_per_entity": round(memory[0]),
        "feast_bytes_per_entity": round(memory[1]),
    }
    print(json.dumps(figures))


if __name__ == "__main__":
    main()
