"""The plugin by Feast's own calls, on a real Redis."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pandas as pd
import pytest
from feast import Entity, FeatureStore, FeatureView, Field, FileSource, PushSource, ValueType
from feast.data_source import PushMode
from feast.on_demand_feature_view import on_demand_feature_view
from feast.protos.feast.types.EntityKey_pb2 import EntityKey
from feast.protos.feast.types.Value_pb2 import Value
from feast.types import Float64, Int64, String

from pedigree.online.errors import FutureRowsError, NotLoadedError
from pedigree.online.feast_plugin import PedigreeOnlineStore
from pedigree.online.store import redis_keys
from pedigree.online.store.load_state import Load
from pedigree.online.store.strays import Strays, find_strays, remove_strays

from ..redis_server import RedisServer

NOW = datetime.now(UTC).replace(microsecond=0)
customer = Entity(name="customer", join_keys=["customer_id"], value_type=ValueType.INT64)
spend = FeatureView(
    name="spend",
    entities=[customer],
    schema=[
        Field(name="customer_id", dtype=Int64),
        Field(name="total", dtype=Float64),
        Field(name="tier", dtype=String),
    ],
    source=PushSource(
        name="purchases", batch_source=FileSource(name="file", path="none.parquet", timestamp_field="at")
    ),
    ttl=timedelta(days=1),
)


@pytest.fixture
def store(tmp_path: Path) -> Iterator[FeatureStore]:
    """An applied repository with a Redis of its own."""
    server = RedisServer(tmp_path)
    server.start()
    path = tmp_path / "feature_store.yaml"
    path.write_text(
        f"project: shop\nprovider: local\nregistry: {{registry_type: sql, path: 'sqlite:///{tmp_path}/registry.db'}}\n"
        f"online_store: {{type: pedigree.online.feast_plugin.PedigreeOnlineStore, "
        f"connection_string: '127.0.0.1:{server.port}'}}\n"
        "offline_store: {type: file}\nentity_key_serialization_version: 3\n"
    )
    made = FeatureStore(fs_yaml_file=path)
    made.apply([customer, spend])
    try:
        yield made
    finally:
        server.kill()


def rows(*totals: float, at: datetime = NOW) -> pd.DataFrame:
    """The first customers, with a total each."""
    return pd.DataFrame(
        {
            "customer_id": range(len(totals)),
            "total": totals,
            "tier": [None if total < 0 else "gold" for total in totals],
            "at": [at] * len(totals),
        }
    )


def totals(store: FeatureStore, count: int) -> list[float | None]:
    """What Feast reads of the first customers."""
    found = store.get_online_features(["spend:total"], [{"customer_id": number} for number in range(count)])
    return list(found.to_dict()["total"])


def plugin(store: FeatureStore) -> PedigreeOnlineStore:
    """Feast's own instance of the plugin."""
    online: PedigreeOnlineStore = store._get_provider().online_store
    return online


def test_pushed_and_written_rows_are_read(store: FeatureStore) -> None:
    """Push and write-to-online-store, then get_online_features, each by Feast's own call; the newest row is served."""
    store.push("purchases", rows(1.0, 2.0), to=PushMode.ONLINE)
    store.write_to_online_store("spend", rows(9.0, at=NOW - timedelta(hours=1)))
    store.write_to_online_store("spend", rows(3.0, at=NOW + timedelta(seconds=1)))
    assert totals(store, 3) == [3.0, 2.0, None]


def test_asynchronous_reads_answer_the_same(store: FeatureStore) -> None:
    """Feast's asynchronous calls write and read as the others do."""
    asyncio.run(store.write_to_online_store_async("spend", rows(1.0, -2.0)))
    asked = store.get_online_features_async(["spend:total", "spend:tier"], [{"customer_id": 1}])
    found = asyncio.run(asked).to_dict()
    assert (found["total"], found["tier"]) == ([-2.0], [None])


def test_rows_of_the_future_are_refused_with_their_batch(store: FeatureStore) -> None:
    """One row too far ahead of the clock refuses the batch, says how many, and nothing of it is written."""
    late = pd.concat([rows(1.0), rows(2.0, at=NOW + timedelta(days=1))])
    with pytest.raises(FutureRowsError, match="1 rows of spend are of the future"):
        store.write_to_online_store("spend", late)
    with pytest.raises(NotLoadedError):
        totals(store, 1)


def test_one_entity_can_be_deleted(store: FeatureStore) -> None:
    """Deleting names entities, says how many there were, and leaves the others."""
    store.write_to_online_store("spend", rows(1.0, 2.0))
    keys = [EntityKey(join_keys=["customer_id"], entity_values=[Value(int64_val=number)]) for number in (0, 7)]
    assert plugin(store).delete(store.config, spend, keys) == 1
    assert totals(store, 2) == [None, 2.0]


def test_a_view_that_is_deleted_leaves_nothing_behind(store: FeatureStore) -> None:
    """Taking a view out of the definitions deletes its rows and what was known of it; teardown does so for all."""
    store.write_to_online_store("spend", rows(1.0, 2.0))
    redis = plugin(store).opened(store.config).redis
    assert len(list(redis.scan_iter("shop:*:*"))) == 2
    store.apply([customer], objects_to_delete=[spend], partial=False)
    assert list(redis.scan_iter("shop:*:*")) == []
    assert redis.hgetall("shop:marks") == {}


def test_a_teardown_leaves_nothing_behind(store: FeatureStore) -> None:
    """Rows, also those that an on-demand view wrote, marks, layouts and the plan: no key of the project is left."""

    @on_demand_feature_view(  # type: ignore[untyped-decorator]
        sources=[spend], schema=[Field(name="double", dtype=Float64)], mode="pandas", write_to_online_store=True
    )
    def doubled(inputs: pd.DataFrame) -> pd.DataFrame:
        return pd.DataFrame({"double": inputs["total"] * 2})

    store.apply([doubled])
    store.write_to_online_store("spend", rows(1.0))
    store.write_to_online_store("doubled", rows(1.0).assign(double=[2.0]))
    redis = plugin(store).opened(store.config).redis
    redis.hset("other:customer_id:x", "field", "of another project")
    store.teardown()
    assert list(redis.scan_iter()) == [b"other:customer_id:x"]


def test_records_that_nothing_reads_are_found_and_deleted(store: FeatureStore) -> None:
    """Those of a view that is gone, of a load that was killed and of a generation that was replaced; no other record."""
    store.write_to_online_store("spend", rows(1.0, 2.0))
    redis_store = plugin(store).opened(store.config)
    [first, second] = sorted(redis_store.redis.scan_iter("shop:customer_id:*"))
    number = redis_store.begin(Load("spend", "run", "uri", 0))
    under_way, killed = redis_store.begin(Load("spend", "run", "uri", 0)), number
    redis_store.strike_off([killed])
    strays = {
        redis_keys.field("spend", killed): b"x",
        redis_keys.field("former", 0): b"x",
        redis_keys.field("former", 1): b"x",
    }
    redis_store.redis.hset(first, mapping=strays)
    kept = {redis_keys.field("spend", under_way): b"x", redis_keys.field("spend", under_way + 1): b"x"}
    redis_store.redis.hset(second, mapping=kept)
    assert find_strays(redis_store) == Strays(2, 3)
    assert find_strays(redis_store, gone=["spend"]) == Strays(2, 6)
    assert remove_strays(redis_store) == Strays(2, 3)
    assert find_strays(redis_store) == Strays(2, 0)
    assert set(redis_store.redis.hkeys(second)) == {redis_keys.field("spend", 0), *kept}
    assert totals(store, 2) == [1.0, 2.0]


def test_a_view_that_was_never_written_is_told_as_such(store: FeatureStore) -> None:
    """Reading a view that has no row of anybody is an error with the command that fills it, and not a column of nulls."""
    with pytest.raises(NotLoadedError, match="pedigree rebuild spend"):
        totals(store, 1)
