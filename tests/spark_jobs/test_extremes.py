"""Extremes: many features, a large key, no rows, a ttl beyond every calendar, many files."""

from __future__ import annotations

from datetime import timedelta
from uuid import uuid4

import pandas as pd
import pytest
from feast import Entity, FeatureView, Field, ValueType
from feast.infra.offline_stores.contrib.spark_offline_store.spark_source import SparkSource
from feast.table_format import DeltaFormat
from feast.types import Float64, String

from pedigree.jobs import delta_tables
from pedigree.jobs.gate_mark import CommitMark

from .loaded_shop import Shop
from .purchases import START

KEY = Entity(name="k", join_keys=["k"], value_type=ValueType.STRING)
LATER = START + pd.Timedelta(days=30)


def publish(shop: Shop, query: str, rows: int, *, files: int = 1) -> None:
    """Rows that passed the gate."""
    mark = CommitMark.of_gate(shop.uri, run_id=str(uuid4()), rows=rows).text()
    write = shop.spark.sql(query).repartition(files).write.format("delta").option("userMetadata", mark)
    write.option(delta_tables.CHANGE_FEED, "true").save(shop.uri)


def declare(shop: Shop, *names: str, ttl: timedelta = timedelta(0)) -> None:
    source = SparkSource(name="purchases", path=shop.uri, table_format=DeltaFormat(), timestamp_field="event_at")
    features = [Field(name=name, dtype=Float64) for name in names]
    schema = [Field(name="k", dtype=String), *features]
    view = FeatureView(name="purchases", entities=[KEY], schema=schema, source=source, ttl=ttl)
    shop.store.apply([KEY, view])


def served(shop: Shop, names: list[str], key: str) -> list[float | None]:
    answer = shop.store.get_online_features([f"purchases:{name}" for name in names], [{"k": key}]).to_dict()
    return [answer[name][0] for name in names]


def trained(shop: Shop, names: list[str], key: str) -> list[float]:
    labels = pd.DataFrame({"k": [key], "event_timestamp": [LATER]})
    found = shop.store.get_historical_features(labels, [f"purchases:{name}" for name in names]).to_df()
    return [found[name][0] for name in names]


@pytest.mark.slow
def test_a_thousand_features(shop: Shop) -> None:
    """Each is loaded, served and trained on."""
    names = [f"f{number}" for number in range(1000)]
    columns = ", ".join(f"{number}.5D AS f{number}" for number in range(1000))
    publish(shop, f"SELECT 'a' AS k, TIMESTAMP '2026-01-01' AS event_at, {columns}", 1)
    declare(shop, *names)
    shop.load()
    wanted = [number + 0.5 for number in range(1000)]
    assert served(shop, names, "a") == wanted
    assert trained(shop, names, "a") == wanted


@pytest.mark.slow
def test_a_key_of_100_kb(shop: Shop) -> None:
    """A key of any length is a key, and one that differs in its last letter is another."""
    publish(shop, "SELECT repeat('x', 100000) AS k, TIMESTAMP '2026-01-01' AS event_at, 1.5D AS f", 1)
    declare(shop, "f")
    shop.load()
    assert served(shop, ["f"], "x" * 100_000) == [1.5]
    assert served(shop, ["f"], "x" * 99_999 + "y") == [None]
    assert trained(shop, ["f"], "x" * 100_000) == [1.5]


@pytest.mark.slow
def test_an_empty_table(shop: Shop) -> None:
    """It is loaded, and every key is answered that there is nothing."""
    publish(shop, "SELECT 'a' AS k, TIMESTAMP '2026-01-01' AS event_at, 1.5D AS f WHERE false", 0)
    declare(shop, "f")
    shop.load()
    assert served(shop, ["f"], "a") == [None]
    assert pd.isna(trained(shop, ["f"], "a")[0])


@pytest.mark.slow
@pytest.mark.parametrize("days", [999_999, 999_999_999])
def test_a_ttl_beyond_every_calendar(shop: Shop, days: int) -> None:
    """It is no limit, online and in training."""
    publish(shop, "SELECT 'a' AS k, TIMESTAMP '1970-01-02' AS event_at, 1.5D AS f", 1)
    declare(shop, "f", ttl=timedelta(days=days))
    shop.load()
    assert served(shop, ["f"], "a") == [1.5]
    assert trained(shop, ["f"], "a") == [1.5]


@pytest.mark.slow
def test_a_table_of_many_files(shop: Shop) -> None:
    """Five hundred files of one row each are one table."""
    query = "SELECT concat('k', id) AS k, TIMESTAMP '2026-01-01' AS event_at, CAST(id AS DOUBLE) AS f FROM range(500)"
    publish(shop, query, 500, files=500)
    declare(shop, "f")
    shop.load()
    assert served(shop, ["f"], "k499") == [499.0]
    assert trained(shop, ["f"], "k499") == [499.0]
