"""`feast apply` by Feast's own call: what is left out of the plan, and what is finished that an earlier one left half done."""

from __future__ import annotations

import json
import logging
import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from itertools import count
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from feast import Entity, FeatureStore, FeatureView, Field, FileSource, PushSource, ValueType
from feast.data_source import PushMode
from feast.types import Array, Bytes, Float64, ImageBytes, Int64, Invalid, Map, PdfBytes, ZonedTimestamp

from pedigree.online.apply import publish_plan
from pedigree.online.errors import StoreAwayError, UnstorableViewError
from pedigree.online.plans.plan import Plan, Refusal
from pedigree.online.plans.plan_compiler import compile_plan
from pedigree.online.plans.plan_json import decoded
from pedigree.online.store import redis_keys
from pedigree.online.store.address import parse
from pedigree.online.store.redis_store import RedisStore

from ..redis_server import RedisServer

NOW = datetime.now(UTC).replace(microsecond=0)
customer = Entity(name="customer", join_keys=["customer_id"], value_type=ValueType.INT64)


def view_of(name: str, feature: Any = Float64, key: tuple[Entity, Any] = (customer, Int64)) -> FeatureView:
    """A view with one feature, which rows are pushed to."""
    entity, kind = key
    file = FileSource(name=f"file_{name}", path="none.parquet", timestamp_field="at")
    return FeatureView(
        name=name,
        entities=[entity],
        schema=[Field(name=entity.join_key, dtype=kind), Field(name="x", dtype=feature)],
        source=PushSource(name=f"push_{name}", batch_source=file),
        ttl=timedelta(days=1),
    )


def keyed(value_type: ValueType, kind: Any) -> tuple[Entity, Any]:
    """A key of a type."""
    return Entity(name="odd", join_keys=["odd_id"], value_type=value_type), kind


def opened(folder: Path, port: int) -> FeatureStore:
    """A Feast store on the registry in a folder."""
    path = folder / "feature_store.yaml"
    path.write_text(
        f"project: shop\nprovider: local\nregistry: {{registry_type: sql, path: 'sqlite:///{folder}/registry.db'}}\n"
        f"online_store: {{type: pedigree.online.feast_plugin.PedigreeOnlineStore, connection_string: '127.0.0.1:{port}'}}\n"
        "offline_store: {type: file}\nentity_key_serialization_version: 3\n"
    )
    return FeatureStore(fs_yaml_file=path)


@pytest.fixture
def store(tmp_path: Path, redis_server: RedisServer, redis_store: RedisStore) -> FeatureStore:
    """A repository with one view, `plain`, in an emptied Redis."""
    made = opened(tmp_path, redis_server.port)
    made.apply([customer, view_of("plain")])
    return made


@pytest.fixture
def own_redis(tmp_path: Path) -> Iterator[RedisServer]:
    """A Redis that a test may kill."""
    folder = tmp_path / "redis"
    folder.mkdir()
    server = RedisServer(folder)
    server.start()
    yield server
    server.kill()


def plan(redis_store: RedisStore) -> Plan:
    """What servers go by."""
    return decoded(redis_store.plan())


@pytest.mark.parametrize("kind", [PdfBytes, ImageBytes, Bytes])
def test_documents_and_images_are_served_as_the_bytes_that_they_are(
    store: FeatureStore, redis_store: RedisStore, kind: Any
) -> None:
    """A view of PdfBytes or ImageBytes is applied, pushed to and read; its bytes come back, and later applies work."""
    store.apply([customer, view_of("scans", kind)])
    content = bytes(range(256))
    store.push("push_scans", pd.DataFrame({"customer_id": [1], "x": [content], "at": [NOW]}), to=PushMode.ONLINE)
    found = store.get_online_features(["scans:x"], [{"customer_id": 1}]).to_dict()
    assert found["x"] == [content]
    store.apply([customer, view_of("later")])
    assert set(plan(redis_store).views) == {"plain", "scans", "later"}
    assert plan(redis_store).views["scans"].features[0].value_type == "BYTES"


PLAIN_KEY = (customer, Int64)
UNSTORABLE = {
    "a feature without values": ("odd", Invalid, PLAIN_KEY, "its feature 'x' has the type INVALID"),
    "a list as key": ("odd", Float64, keyed(ValueType.INT64_LIST, Array(Int64)), "'odd_id' has the type INT64_LIST"),
    "a map as key": ("odd", Float64, keyed(ValueType.MAP, Map), "its join key 'odd_id' has the type MAP"),
    "a zoned key": ("odd", Float64, keyed(ValueType.ZONED_TIMESTAMP, ZonedTimestamp), "has the type ZONED_TIMESTAMP"),
    "a tilde": ("odd~1", Float64, PLAIN_KEY, "has one of the characters"),
    "a comma": ("odd,1", Float64, PLAIN_KEY, "has one of the characters"),
}


@pytest.mark.parametrize("case", UNSTORABLE)
def test_a_view_that_cannot_be_stored_is_named_and_stops_nothing(
    store: FeatureStore, redis_store: RedisStore, caplog: pytest.LogCaptureFixture, case: str
) -> None:
    """Apply warns of it and leaves it out of the plan by name; other views are applied after it, and it can be removed."""
    name, feature, key, reason = UNSTORABLE[case]
    view = view_of(name, feature, key)
    with caplog.at_level(logging.WARNING):
        store.apply([key[0], view])
    assert f"the feature view {name!r} is not served" in caplog.text
    assert reason in caplog.text
    assert plan(redis_store).refused == {view.name: Refusal.UNSTORABLE}
    assert reason in plan(redis_store).reasons[view.name]
    store.apply([customer, view_of("later")])
    assert set(plan(redis_store).views) == {"plain", "later"} == redis_store.views()
    store.apply([customer], objects_to_delete=[view], partial=False)
    assert plan(redis_store).refused == {} and set(plan(redis_store).views) == {"plain", "later"}


def test_rows_of_a_view_that_cannot_be_stored_are_refused(store: FeatureStore, redis_store: RedisStore) -> None:
    """Writing to such a view is an error that names the type, and not a key is written."""
    entity, kind = keyed(ValueType.INT64_LIST, Array(Int64))
    store.apply([entity, view_of("odd", key=(entity, kind))])
    before = set(redis_store.redis.keys())
    with pytest.raises(
        UnstorableViewError, match=r"odd cannot be stored or served: its join key 'odd_id'.*Nothing was written"
    ):
        store.push("push_odd", pd.DataFrame({"odd_id": [[1, 2]], "x": [1.0], "at": [NOW]}), to=PushMode.ONLINE)
    assert set(redis_store.redis.keys()) == before


def twins() -> tuple[str, str]:
    """Two names that the same four bytes stand for."""
    seen: dict[bytes, str] = {}
    for number in count():
        name = f"view_{number}"
        other = seen.setdefault(redis_keys.field(name, 0), name)
        if other != name:
            return other, name
    raise AssertionError


def test_of_two_views_that_share_a_field_the_older_is_served(store: FeatureStore, redis_store: RedisStore) -> None:
    """The four bytes that stand for two names may be the same; the later view is refused by name, the earlier one served on."""
    older, later = twins()
    store.apply([customer, view_of(older)])
    store.push(f"push_{older}", pd.DataFrame({"customer_id": [1], "x": [7.0], "at": [NOW]}), to=PushMode.ONLINE)
    store.apply([customer, view_of(later)])
    assert plan(redis_store).refused == {later: Refusal.UNSTORABLE}
    assert f"those of {older!r}" in plan(redis_store).reasons[later]
    store.apply([customer], objects_to_delete=[view_of(later)], partial=False)
    assert store.get_online_features([f"{older}:x"], [{"customer_id": 1}]).to_dict()["x"] == [7.0]


def test_an_apply_that_broke_off_is_finished_by_the_next(tmp_path: Path, own_redis: RedisServer) -> None:
    """Redis is away after the registry was written: the next apply, of something else, forgets what went and knows what came."""
    store = opened(tmp_path, own_redis.port)
    store.apply([customer, view_of("plain"), view_of("going")])
    store.push("push_going", pd.DataFrame({"customer_id": [1], "x": [7.0], "at": [NOW]}), to=PushMode.ONLINE)
    own_redis.kill()
    with pytest.raises(StoreAwayError, match="The registry has the new definitions"):
        store.apply([customer, view_of("coming")], objects_to_delete=[view_of("going")], partial=False)
    own_redis.start()
    opened(tmp_path, own_redis.port).apply([customer, view_of("later")])
    redis_store = RedisStore.open("shop", parse(f"127.0.0.1:{own_redis.port}"))
    assert set(plan(redis_store).views) == {"plain", "coming", "later"} == redis_store.views()
    assert list(redis_store.redis.scan_iter("shop:customer_id:*")) == []
    store.push("push_coming", pd.DataFrame({"customer_id": [1], "x": [8.0], "at": [NOW]}), to=PushMode.ONLINE)
    assert store.get_online_features(["coming:x"], [{"customer_id": 1}]).to_dict()["x"] == [8.0]
    redis_store.close()


def test_applies_at_once_leave_the_plan_of_the_registry(
    store: FeatureStore, redis_store: RedisStore, tmp_path: Path
) -> None:
    """Three that apply views of their own at the same time: each ends, and servers have all that the registry has."""
    failed: list[BaseException] = []

    def apply(number: int) -> None:
        try:
            mine = FeatureStore(fs_yaml_file=tmp_path / "feature_store.yaml")
            for step in range(4):
                mine.apply([customer, view_of(f"view_{number}_{step}")])
        except BaseException as error:
            failed.append(error)

    threads = [threading.Thread(target=apply, args=(number,)) for number in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failed == []
    expected = {"plain"} | {f"view_{number}_{step}" for number in range(3) for step in range(4)}
    assert set(plan(redis_store).views) == expected == redis_store.views()


def test_a_plan_of_an_older_registry_takes_no_newer_one_s_place(store: FeatureStore, redis_store: RedisStore) -> None:
    """A plan is replaced only by one who has seen it; whoever is late compiles anew."""
    seen = redis_store.plan()
    store.apply([customer, view_of("newer")])
    newer = redis_store.plan()
    redis_store.replace_plan(seen, json.dumps({"stale": True}))
    assert redis_store.plan() == newer
    redis_store.replace_plan(newer, seen)  # as if an apply had been that late
    registry = publish_plan(store.config, redis_store)
    assert plan(redis_store) == compile_plan(registry, "shop")
