"""Records of which bits have changed in the store: nothing of them is told, and everything else is."""

from __future__ import annotations

import os
import random
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import pytest
import redis
from feast.protos.feast.types.Value_pb2 import Value

from pedigree.online.errors import DamagedRecordError
from pedigree.online.plans.view_definitions import schema_of
from pedigree.online.records.record import UNSEALED, Schema, head_of
from pedigree.online.row_encoder import key_of
from pedigree.online.store import redis_keys
from pedigree.serving.v1.pedigree_pb2 import ExplainRequest, GetVectorsRequest, GetVectorsResponse, Keys
from pedigree.serving.v1.value_pb2 import Value as OwnValue

from .birds import EVERY_TYPE, FRESH, key, weights, write
from .conftest import Client, Repo, repository, running
from .feast_requests import Cell, by_name, features_request, refused

FLIPS = int(os.environ.get("PEDIGREE_FLIPS", "10000"))
"""How many damaged records the slow test asks for."""
VECTORS = "/pedigree.serving.v1.FeatureService/GetVectors"
EXPLAIN = "/pedigree.serving.v1.FeatureService/Explain"
DAMAGED = Cell(None, "INVALID", None)
SERVICES = {"everything": "all_types", "bird_weight": "diet"}


@dataclass
class Store:
    """A running server, its Redis, and the records of bird 1 as they were written."""

    repo: Repo
    client: Client
    redis: Any
    whole: dict[str, bytes] = field(default_factory=dict)

    def put(self, view: str, record: bytes) -> None:
        """Have other bytes for bird 1."""
        name = key_of("flightless", key(bird_id=1))
        self.whole.setdefault(view, self.redis.hget(name, redis_keys.field(view, 0)))
        self.redis.hset(name, redis_keys.field(view, 0), record)

    def heal(self) -> None:
        """Put back what was written."""
        for view, record in self.whole.items():
            self.put(view, record)

    def features(self, service: str, birds: list[int], **more: Any) -> Mapping[str, list[Cell]]:
        """What Feast's own client reads."""
        return by_name(
            self.client.stub.GetOnlineFeatures(features_request(service, {"bird_id": birds}, **more), timeout=20)
        )

    def vectors(self, service: str, birds: list[int], **more: Any) -> GetVectorsResponse:
        """The matrix, with its provenance."""
        keys = [Keys(name="bird_id", ints=birds), *(Keys(name=name, ints=ints) for name, ints in more.items())]
        request = GetVectorsRequest(feature_service=service, keys=keys, include_provenance=True)
        call = self.client.channel.unary_unary(VECTORS)
        reply: GetVectorsResponse = GetVectorsResponse.FromString(call(request.SerializeToString(), timeout=20))
        return reply

    def record(self, view: str) -> bytes:
        """The record of bird 1 as it was written."""
        name = key_of("flightless", key(bird_id=1))
        return bytes(self.whole.get(view) or self.redis.hget(name, redis_keys.field(view, 0)))


@pytest.fixture(scope="module")
def serving(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Store]:
    """A server of a repository of which every bird has a value of every type."""
    with repository(tmp_path_factory.mktemp("damage")) as repo:
        everything = repo.store.get_feature_view("everything")
        write(repo.store, everything, [(key(bird_id=bird), EVERY_TYPE, FRESH) for bird in (1, 2)])
        patient = repo.settings(store_timeout=timedelta(seconds=5))
        with running(patient) as client, redis.Redis(port=repo.redis.port) as store:
            yield Store(repo, client, store)


@pytest.fixture
def store(serving: Store) -> Iterator[Store]:
    """The same; whatever was damaged is put right."""
    yield serving
    serving.heal()


def flipped(rng: random.Random, record: bytes) -> bytes:
    """A record with one bit changed, or a few beside each other, or anywhere."""
    found = bytearray(record)
    for _ in range(rng.choice((1, 1, 1, 2, 8))):
        found[rng.randrange(len(found))] ^= 1 << rng.randrange(8)
    return bytes(found) if bytes(found) != record else flipped(rng, record)


def check(
    store: Store, view: str, record: bytes, healthy: Mapping[str, list[Cell]], vectors: GetVectorsResponse
) -> None:
    """With this for bird 1, of birds 1 and 2 the second is answered as ever, and the first is INVALID."""
    store.put(view, record)
    found = store.features(SERVICES[view], [1, 2])
    assert found.keys() == healthy.keys()
    for name, [first, second] in found.items():
        assert second == healthy[name][1]
        assert first == (healthy[name][0] if name == "bird_id" else DAMAGED), (name, record.hex())
    matrix = store.vectors(SERVICES[view], [1, 2])
    width = len(matrix.names)
    assert np.isnan(matrix.values[:width]).all()
    assert matrix.values[width:] == vectors.values[width:]
    assert matrix.statuses[:width] == bytes(width)
    assert set(matrix.statuses[width:]) == {1}
    assert [one.event_times_us[0] for one in matrix.provenance] == [0]
    for column, before in zip(matrix.others, vectors.others, strict=True):
        assert (column.values[0], column.statuses[0]) == (OwnValue(), 0)
        assert (column.values[1], column.statuses[1]) == (before.values[1], 1)


def flip(store: Store, count: int, seed: int) -> None:
    """Damage the records of bird 1 so often."""
    rng = random.Random(seed)
    for view, service in SERVICES.items():
        store.heal()
        birds = [1, 2]
        write(
            store.repo.store,
            store.repo.store.get_feature_view("bird_weight"),
            [(key(bird_id=2), weights(4, 9, "x"), FRESH)],
        )
        healthy, vectors, whole = store.features(service, birds), store.vectors(service, birds), store.record(view)
        for _ in range(count // len(SERVICES)):
            check(store, view, flipped(rng, whole), healthy, vectors)


def test_a_flipped_bit_is_invalid_for_its_row_alone(store: Store) -> None:
    """Some hundred flips in records with every type: the row is INVALID by both protocols, and the other row as it was."""
    flip(store, 200, seed=7)


@pytest.mark.slow
def test_ten_thousand_flipped_bits_are_invalid_for_their_rows_alone(store: Store) -> None:
    """The same, ten thousand times."""
    flip(store, FLIPS, seed=11)


@pytest.mark.parametrize("view", SERVICES)
def test_each_bit_of_a_record_counts(store: Store, view: str) -> None:
    """Whichever single bit of a record has changed, its row tells nothing."""
    whole = store.record(view)
    for bit in range(len(whole) * 8):
        record = bytearray(whole)
        record[bit // 8] ^= 1 << bit % 8
        store.put(view, bytes(record))
        found = store.features(SERVICES[view], [1, 404])
        assert {column[0].status for name, column in found.items() if name != "bird_id"} == {"INVALID"}, bit


@pytest.mark.parametrize("damage", ["empty", "cut", "longer", "junk", "twice"])
def test_bytes_that_are_no_record_are_invalid_for_their_row_alone(store: Store, damage: str) -> None:
    """What is too short, too long, or something else altogether is INVALID for its row."""
    whole = store.record("everything")
    healthy, vectors = store.features("all_types", [1, 2]), store.vectors("all_types", [1, 2])
    damaged = {
        "empty": b"",
        "cut": whole[:-1],
        "longer": whole + b"\x00",
        "junk": b"not a record at all, by any means",
        "twice": whole * 2,
    }
    check(store, "everything", damaged[damage], healthy, vectors)


def test_a_damaged_record_that_is_asked_for_alone_is_data_loss(store: Store) -> None:
    """Where no other row is denied anything, every RPC says DATA_LOSS and how the view is filled again."""
    store.put("bird_weight", flipped(random.Random(3), store.record("bird_weight")))
    keys = [Keys(name="bird_id", ints=[1])]
    vectors = GetVectorsRequest(feature_service="diet", keys=keys).SerializeToString()
    explain = ExplainRequest(
        feature_service="diet", feature="bird_weight:nickname", entity={"bird_id": OwnValue(int64_val=1)}
    )
    for call, request in (
        (store.client.stub.GetOnlineFeatures, features_request("diet", {"bird_id": [1]})),
        (
            store.client.stub.GetOnlineFeatures,
            features_request("scaled", {"bird_id": [1], "factor": [Value(double_val=2)]}),
        ),
        (store.client.channel.unary_unary(VECTORS), vectors),
        (store.client.channel.unary_unary(EXPLAIN), explain.SerializeToString()),
    ):
        code, details = refused(call, request)
        assert code is grpc.StatusCode.DATA_LOSS
        assert "pedigree rebuild bird_weight" in details


def test_nothing_is_computed_from_a_damaged_record(store: Store) -> None:
    """An on-demand feature of a damaged row is INVALID, that of the other row computed, by both protocols."""
    store.put("bird_weight", flipped(random.Random(5), store.record("bird_weight")))
    factor = [Value(double_val=2)] * 2
    found = by_name(
        store.client.stub.GetOnlineFeatures(
            features_request("scaled", {"bird_id": [1, 3], "factor": factor}), timeout=20
        )
    )
    assert [(one.value, one.status) for one in found["weight_scaled"]] == [(None, "INVALID"), (240.0, "PRESENT")]
    matrix = store.vectors("scaled", [1, 3], factor=[2, 2])
    assert (np.isnan(matrix.values[0]), matrix.values[1], matrix.statuses) == (True, 240.0, b"\x00\x01")
    [provenance] = matrix.provenance
    assert provenance.event_times_us[0] == 0
    assert provenance.event_times_us[1] > 0


def test_feast_s_own_read_raises_where_it_cannot_tell_one_row(store: Store) -> None:
    """`get_online_features` in Python, which has no status for it, raises and names the view; healed, it reads."""
    read = store.repo.store.get_online_features
    rows = [{"bird_id": 1}, {"bird_id": 2}]
    store.put("everything", flipped(random.Random(9), store.record("everything")))
    with pytest.raises(DamagedRecordError, match=r"A record of everything .* pedigree rebuild everything"):
        read(["everything:a_string"], rows)
    store.heal()
    assert read(["everything:a_list"], rows).to_dict()["a_list"] == [["kiwi", ""]] * 2


def unsealed(store: Store, view: str) -> tuple[Schema, bytes]:
    """The layout of the release before for a view, which the store is told, and bird 1's record in it."""
    present = schema_of(store.repo.store.get_feature_view(view))
    before = Schema(present.names, present.types, UNSEALED)
    store.redis.hset(redis_keys.schemas_key("flightless"), before.fingerprint.hex(), before.text)
    whole = store.record(view)
    return before, before.pack(head_of(whole), present.unpack(whole))


@pytest.mark.parametrize("view", SERVICES)
def test_records_of_the_release_before_are_read(store: Store, view: str) -> None:
    """A record without a seal is answered as one with, by both protocols and by Feast, alone and beside others."""
    service = SERVICES[view]
    before = store.features(service, [1, 2]), store.vectors(service, [1, 2]), store.features(service, [1])
    store.put(view, unsealed(store, view)[1])
    assert (store.features(service, [1, 2]), store.vectors(service, [1, 2]), store.features(service, [1])) == before
    assert store.repo.store.get_online_features(["bird_weight:nickname"], [{"bird_id": 1}]).to_dict()["nickname"] == [
        "kiwi"
    ]


def test_damage_in_a_record_of_the_release_before_breaks_no_reply(store: Store) -> None:
    """Without a seal not every flip is seen; but each reply is one that Feast's client reads, and the other row is as it was."""
    _, record = unsealed(store, "everything")
    store.put("everything", record)
    healthy, rng, seen = store.features("all_types", [1, 2]), random.Random(21), set()
    for _ in range(300):
        store.put("everything", flipped(rng, record))
        found = store.features("all_types", [1, 2])
        assert {name: column[1] for name, column in found.items()} == {name: two[1] for name, two in healthy.items()}
        seen.add(found["a_string"][0].status)
    assert {"INVALID", "PRESENT"} <= seen


def test_a_layout_that_comes_later_is_taken_up(store: Store, tmp_path: Path) -> None:
    """Records of a layout that the store does not tell are INVALID until something is loaded and it does."""
    before, record = unsealed(store, "bird_weight")
    store.redis.hdel(redis_keys.schemas_key("flightless"), before.fingerprint.hex())
    with running(store.repo.settings(plan_file=tmp_path / "plan.json", store_timeout=timedelta(seconds=5))) as client:
        other = Store(store.repo, client, store.redis, store.whole)
        other.put("bird_weight", record)
        assert other.features("diet", [1, 404])["nickname"][0].status == "INVALID"
        store.redis.hset(redis_keys.schemas_key("flightless"), before.fingerprint.hex(), before.text)
        mark = store.redis.hget(redis_keys.marks_key("flightless"), "bird_weight")
        store.redis.hset(redis_keys.marks_key("flightless"), "bird_weight", mark + b" ")
        other.features("diet", [404])
        assert other.features("diet", [1, 404])["nickname"][0].value == "kiwi"
        store.redis.hset(redis_keys.marks_key("flightless"), "bird_weight", mark)
