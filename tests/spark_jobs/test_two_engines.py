"""DuckDB and Spark answer the same, or refuse the same, whatever the options of the views and the columns of the frame."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pandas as pd
import pyarrow as pa
import pytest
from feast import Entity, FeatureStore, FeatureView, Field, ValueType
from feast.infra.offline_stores.contrib.spark_offline_store.spark_source import SparkSource
from feast.table_format import DeltaFormat
from feast.types import Float64, Int64, String
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pyspark.sql import SparkSession

from pedigree.jobs.errors import JobError
from pedigree.online.store.address import parse
from pedigree.online.store.redis_store import RedisStore

from ..redis_server import RedisServer
from .loaded_shop import config_of

START = datetime(2026, 1, 1, tzinfo=UTC)
HOUR = timedelta(hours=1)
CUSTOMER = Entity(name="customer", join_keys=["customer"], value_type=ValueType.INT64)

EVENTS = ((1, 0), (1, 2), (20, 1), (26, 30), (50, 0), (50, 0), (70, -5))
"""Hours after the start, and after how many more each was learnt."""
ROWS = ", ".join(
    [
        f"({customer}L, TIMESTAMP '2026-01-01' + INTERVAL {hour} HOURS, TIMESTAMP '2026-01-01' + INTERVAL {hour + late} HOURS, "
        f"'2026/01/0{1 + hour // 24}', {hour}.5D, {customer * hour}L, 'é{hour}')"
        for customer in (1, 2, 3)
        for hour, late in EVENTS
    ]
    + ["(NULL, TIMESTAMP '2026-01-01', NULL, '2026/01/01', 9.5D, 9L, NULL)"]
    + ["(2L, TIMESTAMP '2026-01-02', NULL, '2026/01/02', NULL, NULL, NULL)"]
)

TTLS = {"none": timedelta(0), "short": 3 * HOUR, "negative": -HOUR, "longest": timedelta(days=999_999)}
SOURCES: dict[str, dict[str, Any]] = {
    "created": {"created_timestamp_column": "made_at"},
    "plain": {},
    "mapped": {"created_timestamp_column": "made_at", "field_mapping": {"a.b": "value", "Größe": "text"}},
    "parted": {"date_partition_column": "day", "date_partition_column_format": "%Y/%m/%d"},
}


@pytest.fixture(scope="module")
def store(
    spark: SparkSession, tmp_path_factory: pytest.TempPathFactory, redis_server: RedisServer
) -> Iterator[FeatureStore]:
    """Sixteen views over one table: each kind of source with each ttl."""
    folder = tmp_path_factory.mktemp("engines")
    uri = (folder / "table").as_uri()
    columns = "customer, event_at, `made_at`, day, `a.b`, `select`, `Größe`"
    frame = spark.sql(f"SELECT * FROM VALUES {ROWS} AS rows({columns})")
    frame.write.format("delta").save(uri)
    redis_store = RedisStore.open("shop", parse(f"127.0.0.1:{redis_server.port}"))
    made = FeatureStore(config=config_of("shop", folder, redis_store))
    views = [view(uri, source, ttl) for source in SOURCES for ttl in TTLS]
    made.apply([CUSTOMER, *views])
    yield made
    redis_store.close()


def view(uri: str, source: str, ttl: str) -> FeatureView:
    options = SOURCES[source]
    mapped = options.get("field_mapping", {})
    features = {"a.b": Float64, "select": Int64, "Größe": String}
    return FeatureView(
        name=f"{source}_{ttl}",
        entities=[CUSTOMER],
        ttl=TTLS[ttl],
        schema=[
            Field(name="customer", dtype=Int64),
            *(Field(name=mapped.get(name, name), dtype=dtype) for name, dtype in features.items()),
        ],
        source=SparkSource(
            name=f"{source}_{ttl}", path=uri, table_format=DeltaFormat(), timestamp_field="event_at", **options
        ),
    )


HOURS = st.integers(-5, 120)
KEYS: dict[str, Callable[[list[Any]], Any]] = {
    "int64": lambda keys: pd.array(keys, "Int64"),
    "int32": lambda keys: pd.array([key or 0 for key in keys], "int32"),
    "uint64": lambda keys: pd.array([key or 0 for key in keys], "uint64"),
    "float": lambda keys: pd.array([float("nan") if key is None else key + 0.0 for key in keys], "float64"),
    "half": lambda keys: pd.array([float("nan") if key is None else key + 0.5 for key in keys], "float64"),
    "decimal": lambda keys: [None if key is None else Decimal(key) for key in keys],
    "bool": lambda keys: [bool(key) for key in keys],
    "text": lambda keys: [None if key is None else str(key) for key in keys],
    "nothing": lambda keys: [None for _ in keys],
    "category": lambda keys: pd.Categorical(keys),
}
INSTANTS: dict[str, Callable[[list[Any]], Any]] = {
    "utc": lambda times: pd.to_datetime(times, utc=True),
    "zone": lambda times: pd.to_datetime(times, utc=True).tz_convert("America/New_York"),
    "naive": lambda times: pd.to_datetime(times, utc=True).tz_localize(None),
    "objects": lambda times: pd.Series(times, dtype=object),
    "dates": lambda times: [time.date() for time in times],
    "text": lambda times: [time.isoformat() for time in times],
    "numbers": lambda times: [1.0 for _ in times],
}
MORE: dict[str, Callable[[int], Any] | None] = {
    "none": None,
    "uint64": lambda count: pd.array([2**63 + 1] * count, "uint64"),
    "uuid": lambda count: [uuid.UUID(int=7)] * count,
    "period": lambda count: pd.PeriodIndex(["2026-01"] * count, freq="M"),
    "timedelta": lambda count: pd.to_timedelta(["1h"] * count),
    "list": lambda count: [[1, 2]] * count,
    "dict": lambda count: [{"a": 1}] * count,
    "bytes": lambda count: [b"x"] * count,
    "time": lambda count: [START.time()] * count,
    "complex": lambda count: [1 + 2j] * count,
    "nested": lambda count: [[{"a": [1.5]}]] * count,
}
NAMES = ("more", "a`b", "a.b c", "Customer", "SELECT", "__x", "größe")


@st.composite
def asked(draw: st.DrawFn) -> tuple[pd.DataFrame, list[str]]:
    """A frame of labels, and features of one or two views."""
    keys = draw(st.lists(st.sampled_from([1, 2, 3, 4, None]), max_size=4))
    times = [START + draw(HOURS) * HOUR for _ in keys]
    columns: dict[str, Any] = {
        "customer": KEYS[draw(st.sampled_from(sorted(KEYS)))](keys),
        "event_timestamp": INSTANTS[draw(st.sampled_from(sorted(INSTANTS)))](times),
    }
    more = MORE[draw(st.sampled_from(sorted(MORE)))]
    if more is not None:
        columns[draw(st.sampled_from(NAMES))] = more(len(keys))
    names = draw(
        st.lists(st.sampled_from([f"{s}_{t}" for s in SOURCES for t in TTLS]), min_size=1, max_size=2, unique=True)
    )
    features = [f"{name}:{'value' if name.startswith('mapped') else 'select'}" for name in names]
    return pd.DataFrame(columns), [*features, f"{names[0]}:{'text' if names[0].startswith('mapped') else 'Größe'}"]


def answer(store: FeatureStore, engine: str, frame: pd.DataFrame, features: list[str]) -> pa.Table | str:
    """What an engine answers, or how it refuses."""
    store.config.offline_store.engine = engine
    try:
        return store.get_historical_features(frame, features, full_feature_names=True).to_arrow()
    except JobError as error:
        return f"{type(error).__name__}: {error}"
    except Exception as error:
        if type(error).__module__.startswith("feast"):
            return f"{type(error).__name__}: {error}"
        raise


def agree(store: FeatureStore, frame: pd.DataFrame, features: list[str]) -> None:
    small, large = (answer(store, engine, frame, features) for engine in ("duckdb", "spark"))
    if isinstance(small, str) or isinstance(large, str):
        assert isinstance(small, str) and isinstance(large, str), (small, large)
        assert small.partition(":")[0] == large.partition(":")[0]
        return
    assert small.schema.remove_metadata() == large.schema.remove_metadata()
    assert small.to_pylist() == large.to_pylist()


@given(asked())
@settings(max_examples=15, deadline=None, suppress_health_check=list(HealthCheck), derandomize=True, database=None)
def test_two_engines_have_one_answer(store: FeatureStore, case: tuple[pd.DataFrame, list[str]]) -> None:
    """The same rows and types, or the same kind of refusal."""
    agree(store, *case)


@pytest.mark.slow
@given(asked())
@settings(max_examples=80, deadline=None, suppress_health_check=list(HealthCheck))
def test_two_engines_have_one_answer_to_many_questions(
    store: FeatureStore, case: tuple[pd.DataFrame, list[str]]
) -> None:
    """The same, for more of them."""
    agree(store, *case)
