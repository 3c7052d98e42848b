"""What is served is what was true at that instant, by two reckonings that are not ours."""

from __future__ import annotations

import math
from datetime import UTC, datetime, timedelta
from typing import Any

import duckdb
import grpc
import pandas as pd
import pytest
from feast import FeatureStore
from feast.protos.feast.serving import ServingService_pb2 as messages
from feast.protos.feast.serving.ServingService_pb2_grpc import ServingServiceStub
from feast.protos.feast.types.Value_pb2 import RepeatedValue, Value
from pyspark.sql import SparkSession

from feature_repo import views
from pedigree.jobs.settings import job_settings
from pedigree.jobs.spark.session import open_session

from .conftest import Workspace

pytestmark = pytest.mark.slow  # they look at what one run of the demo left

NOW = datetime(2013, 12, 30, 17, tzinfo=UTC)
VIEWS = {view.name: view for view in views.VIEWS}


@pytest.fixture(scope="session")
def spark() -> SparkSession:
    return open_session(job_settings())


def table(spark: SparkSession, workspace: Workspace, name: str) -> pd.DataFrame:
    """A Delta table's rows, with their naive times in UTC."""
    rows: pd.DataFrame = spark.read.format("delta").load(f"{workspace.environment['PEDIGREE_LAKE']}/{name}").toPandas()
    return rows


def entity_rows(rows: pd.DataFrame, keys: list[str]) -> pd.DataFrame:
    """A thousand of a table's entities, or all where there are fewer; always the same ones."""
    every = rows[keys].drop_duplicates().sort_values(keys, ignore_index=True)
    return every.sample(min(1000, len(every)), random_state=1).reset_index(drop=True)


def served(workspace: Workspace, name: str, entities: pd.DataFrame) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Values and statuses of every feature of a view for the entities, over gRPC, as a stock client gets them."""
    view = VIEWS[name]
    features = [feature.name for feature in view.features]
    request = messages.GetOnlineFeaturesRequest(
        features=messages.FeatureList(val=[f"{name}:{feature}" for feature in features]),
        entities={str(key): RepeatedValue(val=[Value(string_val=one) for one in entities[key]]) for key in entities},
    )
    with grpc.insecure_channel(workspace.address) as channel:
        reply = ServingServiceStub(channel).GetOnlineFeatures(request, timeout=60)
    columns = dict(zip(reply.metadata.feature_names.val, reply.results, strict=True))
    values = {feature: [plain(value) for value in columns[feature].values] for feature in features}
    statuses = {feature: [messages.FieldStatus.Name(one) for one in columns[feature].statuses] for feature in features}
    return pd.DataFrame(values), pd.DataFrame(statuses)


def plain(value: Value) -> Any:
    kind = value.WhichOneof("val")
    return math.nan if kind in (None, "null_val") else getattr(value, kind)


def asof(rows: pd.DataFrame, entities: pd.DataFrame, name: str) -> pd.DataFrame:
    """DuckDB's ASOF join: each entity's newest row that is not after NOW and within the view's ttl."""
    view = VIEWS[name]
    keys = list(entities)
    features = ", ".join(
        f"CASE WHEN r.event_at >= e.now - INTERVAL {int(view.ttl / timedelta(seconds=1))} SECOND THEN r.{feature.name} END"
        f" AS {feature.name}"
        for feature in view.features
    )
    on = " AND ".join(f"e.{key} = r.{key}" for key in keys)
    database = duckdb.connect()
    database.register("facts", rows)
    database.register("asked", entities.assign(now=NOW.replace(tzinfo=None), position=range(len(entities))))
    query = f"SELECT {features} FROM asked e ASOF LEFT JOIN facts r ON {on} AND e.now >= r.event_at ORDER BY e.position"
    found: pd.DataFrame = database.sql(query).df()
    return found


def historical(workspace: Workspace, name: str, entities: pd.DataFrame) -> pd.DataFrame:
    """Feast's own offline store at the same instant, in the order of the entities."""
    store = FeatureStore(fs_yaml_file=workspace.root / "feature_repo" / "feature_store.yaml")
    features = [feature.name for feature in VIEWS[name].features]
    asked = entities.assign(event_timestamp=NOW)
    job = store.get_historical_features(entity_df=asked, features=[f"{name}:{feature}" for feature in features])
    found: pd.DataFrame = job.to_df()
    in_order: pd.DataFrame = entities.merge(found, on=list(entities), how="left", validate="one_to_one")[features]
    return in_order


@pytest.mark.parametrize("name", sorted(VIEWS))
def test_online_equals_offline(
    workspace: Workspace, spark: SparkSession, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every served value equals DuckDB's ASOF join over the Delta table, and Feast's own historical value, exactly."""
    monkeypatch.chdir(workspace.root)
    rows = table(spark, workspace, name)
    entities = entity_rows(rows, sorted(VIEWS[name].join_keys))
    values, statuses = served(workspace, name, entities)
    for oracle in (asof(rows, entities, name), historical(workspace, name, entities)):
        pd.testing.assert_frame_equal(values.astype(float), oracle.astype(float), check_exact=True, obj=name)
    is_served = statuses == "PRESENT"
    assert (is_served == values.notna()).to_numpy().all()
    assert is_served.to_numpy().sum() > len(values)


def test_statuses_tell_why_a_value_is_missing(workspace: Workspace, spark: SparkSession) -> None:
    """A plane that nobody has seen, one that has not flown for long, and a null in a row are told apart."""
    rows = table(spark, workspace, "plane_usage")
    rows = (
        rows[rows["event_at"] <= NOW.replace(tzinfo=None)]
        .sort_values("event_at")
        .drop_duplicates("tail_number", keep="last")
    )
    is_old = rows["event_at"] < (NOW - timedelta(days=14)).replace(tzinfo=None)
    idle = rows[is_old]["tail_number"].iloc[0]
    unregistered = rows[~is_old & rows["seats"].isna()]["tail_number"].iloc[0]
    asked = pd.DataFrame({"tail_number": ["N0NE", idle, unregistered]})
    _, statuses = served(workspace, "plane_usage", asked)
    assert list(statuses["seats"]) == ["NOT_FOUND", "OUTSIDE_MAX_AGE", "NULL_VALUE"]
    assert statuses["flight_count_7d"].iloc[2] == "PRESENT"
