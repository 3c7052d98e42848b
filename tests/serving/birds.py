"""A small Feast repository: birds that do not fly. It has every kind of view that a server can meet."""

from __future__ import annotations

import warnings
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pandas as pd
from feast import Entity, FeatureService, FeatureStore, FeatureView, Field, FileSource, RequestSource, ValueType
from feast.infra.online_stores.helpers import get_online_store_from_config
from feast.on_demand_feature_view import on_demand_feature_view
from feast.protos.feast.types.EntityKey_pb2 import EntityKey
from feast.protos.feast.types.Value_pb2 import Int64Set, Map, StringList, Value
from feast.types import Array, Bool, Bytes, Float32, Float64, Int32, Int64, String, UnixTimestamp
from feast.types import Map as MapType
from feast.types import Set as SetType

CLOCK_AT = datetime(2013, 7, 1, 12, tzinfo=UTC)
"""The instant that the tests' servers take for now."""

DAY = timedelta(days=1)

bird = Entity(name="bird", join_keys=["bird_id"], value_type=ValueType.INT64)
island = Entity(name="island", join_keys=["island_code"], value_type=ValueType.STRING)


def source(name: str) -> FileSource:
    """A source that is never read: rows are written straight to the online store."""
    return FileSource(name=name, path=f"{name}.parquet", timestamp_field="event_at")


def view(name: str, entities: list[Entity], schema: list[Field], *, ttl: timedelta = DAY, **more: Any) -> FeatureView:
    """A view with the join keys of `entities` in its schema."""
    types = {"bird_id": Int64, "island_code": String}
    keys = [Field(name=entity.join_key, dtype=types[entity.join_key]) for entity in entities]
    return FeatureView(name=name, entities=entities, schema=keys + schema, ttl=ttl, source=source(name), **more)


bird_weight = view(
    "bird_weight",
    [bird],
    [
        Field(name="weight_avg_1d", dtype=Float64),
        Field(name="meal_count_1d", dtype=Int64),
        Field(name="nickname", dtype=String),
    ],
)
bird_on_island = view(
    "bird_on_island",
    [bird, island],
    [Field(name="visit_count_7d", dtype=Int64), Field(name="meal_count_1d", dtype=Int64)],
)
island_climate = view("island_climate", [island], [Field(name="rain_sum_7d", dtype=Float32)], ttl=timedelta(0))
season = view("season", [], [Field(name="month_name", dtype=String)], ttl=timedelta(0))
retired = view("retired", [bird], [Field(name="wingspan", dtype=Float64)], enabled=False)
everything = view(
    "everything",
    [bird],
    [
        Field(name="a_bytes", dtype=Bytes),
        Field(name="a_string", dtype=String),
        Field(name="an_int32", dtype=Int32),
        Field(name="an_int64", dtype=Int64),
        Field(name="a_double", dtype=Float64),
        Field(name="a_float", dtype=Float32),
        Field(name="a_bool", dtype=Bool),
        Field(name="a_time", dtype=UnixTimestamp),
        Field(name="a_list", dtype=Array(String)),
        Field(name="a_set", dtype=SetType(Int64)),
        Field(name="a_map", dtype=MapType),
    ],
    ttl=timedelta(0),
)


@on_demand_feature_view(  # type: ignore[untyped-decorator]  # Feast has no types for it
    sources=[bird_weight, RequestSource(name="factor", schema=[Field(name="factor", dtype=Float64)])],
    schema=[Field(name="weight_scaled", dtype=Float64)],
)
def bird_scaled(inputs: pd.DataFrame) -> pd.DataFrame:
    """What a server computes without running it."""
    return pd.DataFrame({"weight_scaled": inputs["weight_avg_1d"] * inputs["factor"]})


@on_demand_feature_view(  # type: ignore[untyped-decorator]  # Feast has no types for it
    sources=[bird_weight[["nickname"]]], schema=[Field(name="nickname_backwards", dtype=String)]
)
def bird_backwards(inputs: pd.DataFrame) -> pd.DataFrame:
    """What cannot be compiled."""
    return pd.DataFrame({"nickname_backwards": inputs["nickname"].map(lambda name: name[::-1])})


SERVICES = [
    FeatureService(name="diet", features=[bird_weight]),
    FeatureService(name="clashing", features=[bird_weight, bird_on_island]),
    FeatureService(name="travel", features=[bird_on_island[["visit_count_7d"]], island_climate, season]),
    FeatureService(name="calendar", features=[season]),
    FeatureService(
        name="pair",
        features=[
            bird_weight[["nickname"]].with_name("first").with_join_key_map({"bird_id": "first_id"}),
            bird_weight[["weight_avg_1d"]].with_name("second").with_join_key_map({"bird_id": "second_id"}),
        ],
    ),
    FeatureService(name="scaled", features=[bird_scaled]),
    FeatureService(name="backwards", features=[bird_backwards]),
    FeatureService(name="old", features=[retired]),
    FeatureService(name="all_types", features=[everything]),
]
VIEWS = [bird_weight, bird_on_island, island_climate, season, retired, everything]


def apply(path: Path, *, online_store: str) -> FeatureStore:
    """Write the configuration to `path` and everything above to its registry."""
    path.write_text(
        "project: flightless\nprovider: local\n"
        f"registry: {{registry_type: sql, path: 'sqlite:///{path.parent}/registry.db'}}\n"
        f"online_store: {online_store}\n"
        "offline_store: {type: file}\nentity_key_serialization_version: 3\n"
    )
    store = FeatureStore(fs_yaml_file=path)
    with warnings.catch_warnings(action="ignore", category=RuntimeWarning):  # on-demand views are "experimental"
        store.apply([bird, island, *VIEWS, bird_scaled, bird_backwards, *SERVICES])
    return store


def key(**values: int | str) -> EntityKey:
    """A key as Feast writes it."""
    protos = [Value(int64_val=one) if isinstance(one, int) else Value(string_val=one) for one in values.values()]
    return EntityKey(join_keys=list(values), entity_values=protos)


def write(store: FeatureStore, table: FeatureView, rows: list[tuple[EntityKey, dict[str, Value], datetime]]) -> None:
    """Write rows as Feast's own materialize does."""
    data: list[tuple[EntityKey, dict[str, Value], datetime, datetime | None]]
    data = [(of, values, event_at, None) for of, values, event_at in rows]
    online = get_online_store_from_config(store.config.online_store)
    online.online_write_batch(store.config, table, data, None)


def weights(weight: float, meals: int, nickname: str | None) -> dict[str, Value]:
    """A row of `bird_weight`."""
    named = Value() if nickname is None else Value(string_val=nickname)
    return {"weight_avg_1d": Value(double_val=weight), "meal_count_1d": Value(int64_val=meals), "nickname": named}


def visits(count: int, meals: int) -> dict[str, Value]:
    """A row of `bird_on_island`."""
    return {"visit_count_7d": Value(int64_val=count), "meal_count_1d": Value(int64_val=meals)}


EVERY_TYPE = {
    "a_bytes": Value(bytes_val=b"\x00\xff"),
    "a_string": Value(string_val=""),
    "an_int32": Value(int32_val=-1),
    "an_int64": Value(int64_val=2**62),
    "a_double": Value(double_val=0.1),
    "a_float": Value(float_val=0.1),
    "a_bool": Value(bool_val=False),
    "a_time": Value(unix_timestamp_val=1_372_680_000),
    "a_list": Value(string_list_val=StringList(val=["kiwi", ""])),
    "a_set": Value(int64_set_val=Int64Set(val=[1, 2])),
    "a_map": Value(map_val=Map(val={"size": Value(int64_val=3), "wild": Value(bool_val=True)})),
}

FRESH, EDGE, STALE = CLOCK_AT - timedelta(hours=1), CLOCK_AT - DAY, CLOCK_AT - DAY - timedelta(microseconds=1)


def write_rows(store: FeatureStore) -> None:
    """Birds 1 and 2 are fresh (2 has no nickname), 3 is exactly a ttl old, 4 a moment older; nobody knows 404."""
    birds = {
        1: (weights(2.5, 3, "kiwi"), FRESH),
        2: (weights(40.0, 9, None), FRESH),
        3: (weights(120.0, 20, "ostrich"), EDGE),
        4: (weights(35.0, 5, "emu"), STALE),
    }
    write(store, bird_weight, [(key(bird_id=number), *row) for number, row in birds.items()])
    islands = {(1, "NI"): visits(7, 30), (2, "SI"): visits(8, 40), (12, "NI"): visits(9, 50)}
    write(store, bird_on_island, [(key(bird_id=b, island_code=i), row, FRESH) for (b, i), row in islands.items()])
    long_ago = CLOCK_AT - timedelta(days=3650)
    write(store, island_climate, [(key(island_code="NI"), {"rain_sum_7d": Value(float_val=1.5)}, long_ago)])
    write(store, season, [(key(__dummy_id=""), {"month_name": Value(string_val="July")}, long_ago)])
    write(store, everything, [(key(bird_id=1), EVERY_TYPE, FRESH)])
