"""Generated worlds through `get_historical_features`, against a loop, DuckDB's ASOF join, and Feast's own stores."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from deltalake import write_deltalake
from feast import Entity, FeatureStore, FeatureView, Field, FileSource, ValueType
from feast.data_source import DataSource
from feast.infra.offline_stores.contrib.spark_offline_store.spark_source import SparkSource
from feast.table_format import DeltaFormat
from feast.types import Bool, Float64, Int64, String
from pyspark.sql import SparkSession

from benchmarks.stores import FEAST_FILE, FEAST_SPARK, OURS, open_store

from .cases import INSTANT, SHAPES, Row, ViewShape, expected, generated, same

pytestmark = pytest.mark.slow

WORLDS = 5_000
FEAST_WORLDS = 600
"""As many of them as Feast's own stores are asked about."""

TYPES = {pa.int64(): (Int64, ValueType.INT64), pa.string(): (String, ValueType.STRING)}
TYPES |= {pa.float64(): (Float64, ValueType.DOUBLE), pa.bool_(): (Bool, ValueType.BOOL)}
LABELS = pa.schema(
    {"world": pa.int64(), "row": pa.int64(), "a": pa.int64(), "b": pa.int64(), "name": pa.string(), "x": pa.float64()}
).append(pa.field("event_timestamp", INSTANT))
REFS = [f"{shape.name}:value" for shape in SHAPES]
KNOWN = pytest.mark.parametrize("knowledge_time", [True, False], ids=["known by then", "true by then"])

Worlds = tuple[dict[str, list[Row]], list[Row]]


@pytest.fixture(scope="module")
def worlds() -> Worlds:
    return generated(WORLDS)


def tables(worlds: Worlds) -> dict[str, pa.Table]:
    return {shape.name: pa.Table.from_pylist(worlds[0][shape.name], shape.schema()) for shape in SHAPES}


def definitions(folder: Path, source: Callable[[ViewShape, Path], DataSource] | None = None) -> list[Any]:
    """Entities and views of the worlds, over the tables in `folder`."""
    kinds = {"world": pa.int64(), **{key: kind for shape in SHAPES for key, kind in shape.keys.items()}}
    entities = {key: Entity(name=key, join_keys=[key], value_type=TYPES[kind][1]) for key, kind in kinds.items()}
    views = [view(shape, entities, (source or delta)(shape, folder)) for shape in SHAPES]
    return [*entities.values(), *views]


def view(shape: ViewShape, entities: dict[str, Entity], source: DataSource) -> FeatureView:
    keys = {"world": pa.int64(), **shape.keys}
    fields = [Field(name=name, dtype=TYPES[kind][0]) for name, kind in {**keys, "value": shape.value}.items()]
    return FeatureView(
        name=shape.name, entities=[entities[key] for key in keys], ttl=shape.ttl, schema=fields, source=source
    )


def delta(shape: ViewShape, folder: Path) -> DataSource:
    return SparkSource(name=shape.name, path=(folder / shape.name).as_uri(), table_format=DeltaFormat(), **times(shape))


def parquet(shape: ViewShape, folder: Path) -> DataSource:
    return FileSource(name=shape.name, path=str(folder / f"{shape.name}.parquet"), **times(shape))


def times(shape: ViewShape) -> dict[str, str]:
    return {"timestamp_field": "event_at", "created_timestamp_column": "created_at" if shape.has_created else ""}


@pytest.fixture(scope="module")
def folder(worlds: Worlds, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("worlds")
    for name, table in tables(worlds).items():
        write_deltalake(folder / name, table)
        pq.write_table(table, folder / f"{name}.parquet")
    return folder


def answered(store: FeatureStore, labels: Sequence[Row]) -> list[Row]:
    """What a store finds for each label, by view."""
    asked = pa.Table.from_pylist(list(labels), LABELS)
    found = store.get_historical_features(entity_df=asked, features=REFS, full_feature_names=True).to_arrow()
    assert found["row"].to_pylist() == [label["row"] for label in labels]
    columns = {shape.name: found[f"{shape.name}__value"].to_pylist() for shape in SHAPES}
    return [dict(zip(columns, values, strict=True)) for values in zip(*columns.values(), strict=True)]


def differing(found: Sequence[Row], wanted: Sequence[Row]) -> list[tuple[int, str, Any, Any]]:
    """Label, view, found and expected value, wherever two answers are not the same."""
    return [
        (number, name, ours[name], theirs[name])
        for number, (ours, theirs) in enumerate(zip(found, wanted, strict=True))
        for name in theirs
        if not same(ours[name], theirs[name])
    ]


@KNOWN
@pytest.mark.parametrize("engine", ["duckdb", "spark"])
def test_no_label_of_five_thousand_worlds_differs_from_a_loop(
    spark: SparkSession, folder: Path, worlds: Worlds, engine: str, knowledge_time: bool
) -> None:
    """Several views, keys and ttls; ties, corrections, duplicates, null and NaN keys, nulls: both engines find the same."""
    config = {**OURS, "engine": engine, "knowledge_time": knowledge_time}
    store = open_store(folder, f"{engine}_{knowledge_time}", config, definitions(folder))
    wanted = expected(*worlds, knowledge_time=knowledge_time)
    assert differing(answered(store, worlds[1]), wanted) == []
    assert all(sum(label[shape.name] is not None for label in wanted) > 500 for shape in SHAPES)


@KNOWN
def test_the_loop_finds_what_duckdb_finds(worlds: Worlds, knowledge_time: bool) -> None:
    """DuckDB's ASOF join (and, with knowledge time, its lateral join) over the same worlds gives the loop's answers."""
    database = duckdb.connect()
    database.execute("SET TimeZone = 'UTC'")
    database.register("labels", pa.Table.from_pylist(worlds[1], LABELS))
    for name, table in tables(worlds).items():
        database.register(name, table)
    columns = {shape.name: by_duckdb(database, shape, knowledge_time=knowledge_time) for shape in SHAPES}
    found = [dict(zip(columns, values, strict=True)) for values in zip(*columns.values(), strict=True)]
    assert differing(found, expected(*worlds, knowledge_time=knowledge_time)) == []


def by_duckdb(database: duckdb.DuckDBPyConnection, shape: ViewShape, *, knowledge_time: bool) -> list[Any]:
    """The value of a view for each label, in the labels' order."""
    keys = ["world", *shape.keys]
    comparable = " AND NOT isnan(x)" if "x" in shape.keys else ""
    newest = ", ".join(f"{one} DESC NULLS LAST" for one in [*(["created_at"] if shape.has_created else []), "value"])
    on = " AND ".join(f"r.{key} = l.{key}" for key in keys)
    fresh = f"r.event_at >= l.event_timestamp - to_seconds({int(shape.ttl.total_seconds())})" if shape.ttl else "TRUE"
    if knowledge_time and shape.has_created:
        query = (
            f"SELECT f.value FROM labels l LEFT JOIN LATERAL (SELECT r.value FROM {shape.name} r WHERE {on}{comparable}"
            f" AND r.event_at <= l.event_timestamp AND {fresh} AND NOT coalesce(r.created_at > l.event_timestamp, FALSE)"
            f" ORDER BY r.event_at DESC, {newest} LIMIT 1) f ON TRUE ORDER BY l.row"
        )
    else:
        rows = (
            f"SELECT * FROM {shape.name} WHERE event_at IS NOT NULL{comparable}"
            f" QUALIFY row_number() OVER (PARTITION BY {', '.join(keys)}, event_at ORDER BY {newest}) = 1"
        )
        query = (
            f"SELECT CASE WHEN {fresh} THEN r.value END FROM labels l ASOF LEFT JOIN ({rows}) r"
            f" ON {on} AND l.event_timestamp >= r.event_at ORDER BY l.row"
        )
    return [row[0] for row in database.execute(query).fetchall()]


WRONG = {"spark": {"repeated", "lost", "invented", "other"}, "file": {"left out", "lost", "invented", "other"}}
"""What Feast's own stores were seen to get wrong, as `docs/point-in-time.md` tells it."""


@pytest.mark.parametrize("kind", sorted(WRONG))
def test_feasts_own_stores_differ_as_documented(spark: SparkSession, folder: Path, worlds: Worlds, kind: str) -> None:
    """The same worlds in Feast's Spark and file store: each kind of mistake that the document lists is made, and no other."""
    config, source = {"spark": (FEAST_SPARK, delta), "file": (FEAST_FILE, parquet)}[kind]
    store = open_store(folder, f"feast_{kind}", config, definitions(folder, source))
    labels = [label for label in worlds[1] if label["world"] < FEAST_WORLDS]
    wanted = expected(worlds[0], labels, knowledge_time=False)
    found = {shape.name: mistakes(store, shape, labels, wanted) for shape in SHAPES}
    print(f"Feast's {kind} store, {len(labels):,} labels:", {name: dict(tally) for name, tally in found.items()})
    assert {mistake for tally in found.values() for mistake in tally} == WRONG[kind]


def mistakes(store: FeatureStore, shape: ViewShape, labels: Sequence[Row], wanted: Sequence[Row]) -> Counter[str]:
    """How often a store leaves a label out, repeats it, loses its value, invents one, or gives it another."""
    columns = ["row", "event_timestamp", "world", *shape.keys]
    asked = pa.Table.from_pylist(list(labels), LABELS).select(columns).to_pandas()
    refs = [f"{shape.name}:value"]
    found = store.get_historical_features(entity_df=asked, features=refs, full_feature_names=True).to_arrow()
    by_row = defaultdict(list)
    for row, value in zip(found["row"].to_pylist(), found[f"{shape.name}__value"].to_pylist(), strict=True):
        by_row[row].append(value)
    return Counter(
        mistake
        for label, right in zip(labels, wanted, strict=True)
        if (mistake := mistake_in(by_row[label["row"]], right[shape.name]))
    )


def mistake_in(found: Sequence[Any], right: Any) -> str | None:
    """What is wrong with the answers to one label; the type of a number, and NaN for null, count as right."""
    if len(found) != 1:
        return "repeated" if found else "left out"
    is_null, should_be_null = (value is None or value != value for value in (found[0], right))
    if is_null != should_be_null:
        return "lost" if is_null else "invented"
    return None if is_null or found[0] == right else "other"
