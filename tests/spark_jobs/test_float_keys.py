"""Keys that are floats: −0.0 is 0.0, and NaN is no key."""

from __future__ import annotations

import json
import math
from pathlib import Path
from uuid import uuid4

import grpc
import pandas as pd
import pytest
from feast import Entity, FeatureStore, FeatureView, Field, ValueType
from feast.infra.offline_stores.contrib.spark_offline_store.spark_source import SparkSource
from feast.protos.feast.serving.ServingService_pb2 import FeatureList, GetOnlineFeaturesRequest
from feast.protos.feast.serving.ServingService_pb2_grpc import ServingServiceStub
from feast.protos.feast.types.Value_pb2 import RepeatedValue, Value
from feast.table_format import DeltaFormat
from feast.types import Float64, Int64

from pedigree.jobs import delta_tables
from pedigree.jobs.gate_mark import CommitMark
from pedigree.online.errors import UnfitRowError
from pedigree.serving.settings import ServingSettings

from ..serving.conftest import running
from .loaded_shop import Shop
from .purchases import START

OURS = "pedigree.online.feast_plugin.PedigreeOnlineStore"
ROWS = "VALUES (-0.0D, 1L), (double('nan'), 2L), (NULL, 3L), (1.5D, 4L)"


@pytest.fixture
def keyed(shop: Shop) -> Shop:
    """A view whose key is a float, loaded from rows of which two have no key."""
    times = "TIMESTAMP '2026-01-01' AS event_at, TIMESTAMP '2026-01-01' AS created_at"
    mark = CommitMark.of_gate(shop.uri, run_id=str(uuid4()), rows=4).text()
    write = shop.spark.sql(f"SELECT k, v, {times} FROM ({ROWS}) AS rows(k, v)").coalesce(1).write.format("delta")
    write.option("userMetadata", mark).option(delta_tables.CHANGE_FEED, "true").save(shop.uri)
    source = SparkSource(name="purchases", path=shop.uri, table_format=DeltaFormat(), timestamp_field="event_at")
    entity = Entity(name="k", join_keys=["k"], value_type=ValueType.DOUBLE)
    schema = [Field(name="k", dtype=Float64), Field(name="v", dtype=Int64)]
    shop.store.apply([entity, FeatureView(name="purchases", entities=[entity], schema=schema, source=source)])
    shop.load()
    return shop


def served(store: FeatureStore, *keys: float) -> list[int | None]:
    rows = [{"k": key} for key in keys]
    return list(store.get_online_features(["purchases:v"], rows).to_dict()["v"])


def test_minus_zero_is_zero_and_nan_is_no_key(keyed: Shop, tmp_path: Path) -> None:
    """By the SDK, by gRPC, and in training."""
    assert served(keyed.store, 0.0, -0.0, 1.5) == [1, 1, 4]
    yaml = tmp_path / "feature_store.yaml"
    store = {"type": OURS, "connection_string": str(keyed.redis_store.address)}
    yaml.write_text(
        json.dumps({"project": "shop", "provider": "local", "registry": "registry.db", "online_store": store})
    )
    settings = ServingSettings(
        address="127.0.0.1:0", feature_store_yaml=yaml, plan_file=tmp_path / "plan.json", metrics_address=None
    )
    request = GetOnlineFeaturesRequest(
        features=FeatureList(val=["purchases:v"]),
        entities={"k": RepeatedValue(val=[Value(double_val=key) for key in (0.0, -0.0, 1.5, math.nan)])},
    )
    with running(settings) as client, grpc.insecure_channel(client.address) as channel:
        reply = ServingServiceStub(channel).GetOnlineFeatures(request)
    assert [value.int64_val for value in reply.results[1].values] == [1, 1, 4, 0]
    assert reply.results[1].statuses[3] != reply.results[1].statuses[2]
    labels = pd.DataFrame({"k": [0.0, -0.0, math.nan], "event_timestamp": [START + pd.Timedelta(days=9)] * 3})
    for engine in ("auto", "spark"):
        keyed.store.config.offline_store.engine = engine
        found = keyed.store.get_historical_features(labels, ["purchases:v"]).to_df()["v"]
        assert found[:2].tolist() == [1, 1]
        assert pd.isna(found[2])


def test_a_push_without_a_key_is_refused(keyed: Shop) -> None:
    """NaN and null are no keys; −0.0 takes the place of 0.0."""
    at = START + pd.Timedelta(days=3)
    for key in (math.nan, None):
        frame = pd.DataFrame({"k": [7.0, key], "v": [7, 8], "event_at": [at, at]})
        with pytest.raises(UnfitRowError, match="its key k is missing"):
            keyed.store.write_to_online_store("purchases", frame)
    assert served(keyed.store, 7.0) == [None]
    keyed.store.write_to_online_store("purchases", pd.DataFrame({"k": [-0.0], "v": [9], "event_at": [at]}))
    assert served(keyed.store, 0.0, -0.0) == [9, 9]
