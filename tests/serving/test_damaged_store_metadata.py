"""What the store keeps beside the rows, damaged or of another release: one view is refused with the remedy, others go on."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import grpc
import pytest
import redis
from feast.protos.feast.types.Value_pb2 import Value

from pedigree.online.errors import DamagedError, NewerFormatError, PlanError
from pedigree.online.feast_plugin import open_redis_store
from pedigree.online.plans.plan_json import FORMAT as PLAN_FORMAT
from pedigree.online.records.record import LAYOUT, Head, Schema, micros
from pedigree.online.store import redis_keys
from pedigree.online.store.load_state import FORMAT, Load
from pedigree.serving.v1.pedigree_pb2 import ExplainRequest
from pedigree.serving.v1.value_pb2 import Value as OwnValue
from pedigree.serving.worker import listening

from ..redis_server import wait_for
from .birds import FRESH, bird_weight, key, weights, write
from .conftest import Client, Repo, repository, running
from .feast_requests import by_name, features_request, refused
from .test_vectors import ask, request

DIET, CALENDAR = features_request("diet", {"bird_id": [1]}), features_request("calendar")
DATA_LOSS, UNAVAILABLE = grpc.StatusCode.DATA_LOSS, grpc.StatusCode.UNAVAILABLE
MARKS, LOADS, SCHEMAS, PLAN = (f"flightless:{name}" for name in ("marks", "loads", "schemas", "plan"))
GOOD = '{"state":"open","generation":0,"load":0,"version":null,"rows":0}'
JUNK = [
    b"",
    b"\xff\x00",
    b"open",
    b"null",
    b"[]",
    b"{}",
    b"[" * 100_000,
    GOOD[:-1].encode(),
    GOOD.replace("open", "ajar").encode(),
    GOOD.replace('"generation":0', '"generation":-1').encode(),
    GOOD.replace('"generation":0', '"generation":"0"').encode(),
    GOOD.replace('"generation":0', '"generation":0.5').encode(),
    GOOD.replace('"version":null', '"version":[7]').encode(),
    GOOD.replace("{", '{"format":0,').encode(),
    GOOD.replace("{", '{"format":"new",').encode(),
]


@pytest.fixture(scope="module")
def kept_repo(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Repo]:
    """A repository whose keeping tests damage, and put right again."""
    with repository(tmp_path_factory.mktemp("kept")) as made:
        yield made


@pytest.fixture(scope="module")
def store(kept_repo: Repo) -> Iterator[Any]:
    """Redis itself."""
    with redis.Redis(port=kept_repo.redis.port) as client:
        yield client


@pytest.fixture(scope="module")
def client(kept_repo: Repo) -> Iterator[Client]:
    """A client of a server of it."""
    with running(kept_repo.settings(store_timeout=timedelta(seconds=5), plan_every=timedelta(seconds=0.02))) as made:
        yield made


@contextmanager
def kept_as(store: Any, key: str, field: str, text: bytes) -> Iterator[None]:
    """The store keeps `text` while the block runs."""
    before = store.hget(key, field)
    store.hset(key, field, text)
    try:
        yield
    finally:
        store.hset(key, field, before)


def answered(client: Client, asked: Any, name: str) -> object:
    """The first value of a feature."""
    return by_name(client.stub.GetOnlineFeatures(asked, timeout=20))[name][0].value


def write_record(repo: Repo, schema: Schema, values: list[bytes | None]) -> int:
    """Bird 9, as a load wrote it by a layout; returns the load's number."""
    redis_store = open_redis_store(repo.store.config)
    redis_store.register(schema)
    number = redis_store.begin(Load("bird_weight", "a-run", "file:///lake/bird_weight", 3))
    record = schema.pack(Head(micros(FRESH), None, number, schema.fingerprint), values)
    bird = redis_keys.entity_key(
        redis_keys.entity_prefix("flightless", ["bird_id"]), [key(bird_id=9).entity_values[0].SerializeToString()]
    )
    redis_store.write(redis_keys.field("bird_weight", 0), [(bird, record)])
    redis_store.close()
    return number


WEIGHTS = Schema.of([("weight_avg_1d", "DOUBLE"), ("meal_count_1d", "INT64"), ("nickname", "STRING")])


@pytest.mark.parametrize("junk", JUNK, ids=range(len(JUNK)))
def test_a_damaged_mark_refuses_its_view_alone(kept_repo: Repo, client: Client, store: Any, junk: bytes) -> None:
    """By every door the view is refused by name with the command that mends it, and not as INTERNAL; other views are served,
    `feast apply` works, and the view is served again once the mark is right.
    """
    with kept_as(store, MARKS, "bird_weight", junk):
        for call, asked in (
            (client.stub.GetOnlineFeatures, DIET),
            (vectors_of(client), request([1], feature_service="diet")),
        ):
            code, details = refused(call, asked)
            assert code is DATA_LOSS
            assert "what is loaded of bird_weight" in details and "pedigree rebuild bird_weight" in details
        assert answered(client, CALENDAR, "month_name") == "July"
        with pytest.raises(DamagedError, match="pedigree rebuild bird_weight"):
            kept_repo.store.get_online_features(["bird_weight:nickname"], [{"bird_id": 1}])
        with pytest.raises(DamagedError, match="pedigree rebuild bird_weight"):
            write(kept_repo.store, bird_weight, [(key(bird_id=1), weights(9.9, 9, "moa"), FRESH)])
        kept_repo.store.apply([bird_weight])
        assert store.hget(MARKS, "bird_weight") == junk
    assert answered(client, DIET, "nickname") == "kiwi"


def vectors_of(client: Client) -> Callable[..., Any]:
    """The call GetVectors."""
    path = "/pedigree.serving.v1.FeatureService/GetVectors"
    call: Callable[..., Any] = client.channel.unary_unary(path, request_serializer=lambda one: one.SerializeToString())
    return call


def test_members_of_a_newer_release_are_ignored(kept_repo: Repo, client: Client, store: Any) -> None:
    """A mark and a load with members that are not known here are read as ever, by the server and by Feast."""
    more = {"shard": 3, "checked": {"by": ["gate"], "at": None}, "format": FORMAT}
    mark = json.dumps(json.loads(store.hget(MARKS, "bird_weight")) | more).encode()
    with kept_as(store, MARKS, "bird_weight", mark):
        assert answered(client, DIET, "nickname") == "kiwi"
        found = kept_repo.store.get_online_features(["bird_weight:nickname"], [{"bird_id": 1}]).to_dict()
        assert found["nickname"] == ["kiwi"]
    number = write_record(kept_repo, WEIGHTS, [value.SerializeToString() for value in weights(1.0, 1, "rhea").values()])
    load = json.dumps(json.loads(store.hget(LOADS, str(number))) | more).encode()
    with kept_as(store, LOADS, str(number), load):
        [loaded] = ask(client, request([9], feature_service="diet", include_provenance=True)).loads
        assert (loaded.number, loaded.run_id, loaded.version) == (number, "a-run", 3)


def test_what_is_written_today_is_read_by_the_release_before(store: Any) -> None:
    """As long as the format is the first, nothing is written that an older release, which knows no format, would stumble on."""
    assert FORMAT > 1 or all("format" not in json.loads(text) for text in store.hgetall(MARKS).values())


def test_a_newer_format_says_so(kept_repo: Repo, client: Client, store: Any) -> None:
    """A mark in a format to come is UNAVAILABLE, so that a client asks again elsewhere; the text says which release is needed."""
    newer = json.dumps({"format": FORMAT + 1, "how": "unheard of"}).encode()
    with kept_as(store, MARKS, "bird_weight", newer):
        code, details = refused(client.stub.GetOnlineFeatures, DIET)
        assert code is UNAVAILABLE
        assert f"A newer release wrote what is loaded of bird_weight: its format is {FORMAT + 1}" in details
        assert answered(client, CALENDAR, "month_name") == "July"
        with pytest.raises(NewerFormatError, match="upgrade this one"):
            kept_repo.store.get_online_features(["bird_weight:nickname"], [{"bird_id": 1}])
    assert answered(client, DIET, "nickname") == "kiwi"


@pytest.mark.parametrize(
    "junk", [b"", b"junk", b'{"view":"bird_weight"}', b'{"view":1,"run_id":2,"table":3,"version":4}']
)
def test_a_damaged_load_costs_only_who_asks_for_it(kept_repo: Repo, client: Client, store: Any, junk: bytes) -> None:
    """Values are served as ever; provenance and Explain are DATA_LOSS, with the load's number and the remedy."""
    number = write_record(kept_repo, WEIGHTS, [value.SerializeToString() for value in weights(1.0, 1, "rhea").values()])
    with kept_as(store, LOADS, str(number), junk):
        assert answered(client, features_request("diet", {"bird_id": [9]}), "nickname") == "rhea"
        explain = client.channel.unary_unary(
            "/pedigree.serving.v1.FeatureService/Explain", request_serializer=ExplainRequest.SerializeToString
        )
        entity = {"bird_id": OwnValue(int64_val=9)}
        asked = ExplainRequest(feature_service="diet", feature="bird_weight:nickname", entity=entity)
        provenance = request([9], feature_service="diet", include_provenance=True)
        for code, details in (refused(vectors_of(client), provenance), refused(explain, asked)):
            assert code is DATA_LOSS
            assert f"who wrote the rows of load {number}" in details and "pedigree rebuild" in details


def other_layout(feature: str) -> tuple[Schema, list[bytes | None]]:
    """A layout that the plan does not have, and a row of it."""
    schema = Schema.of([(feature, "STRING"), ("nickname", "STRING")])
    return schema, [Value(string_val="old").SerializeToString(), Value(string_val="rhea").SerializeToString()]


@pytest.mark.parametrize(
    ("place", "junk"),
    list(enumerate([b"", b"\xff", b"junk", b"pedigree record %d" % LAYOUT, b"pedigree record x\na STRING"])),
)
def test_a_damaged_layout_names_the_view(kept_repo: Repo, client: Client, store: Any, place: int, junk: bytes) -> None:
    """A record whose layout the store tells wrongly is DATA_LOSS with its view and the remedy; told rightly it is served."""
    schema, values = other_layout(f"feature_{place}")
    write_record(kept_repo, schema, values)
    asked = features_request(["bird_weight:nickname"], {"bird_id": [9]})
    with kept_as(store, SCHEMAS, schema.fingerprint.hex(), junk):
        code, details = refused(client.stub.GetOnlineFeatures, asked)
        assert code is DATA_LOSS and "pedigree rebuild bird_weight" in details
        assert answered(client, CALENDAR, "month_name") == "July"
    wait_for(lambda: is_served(client, asked))
    assert answered(client, asked, "nickname") == "rhea"


def is_served(client: Client, asked: Any) -> bool:
    """Whether a request is answered."""
    try:
        client.stub.GetOnlineFeatures(asked)
    except grpc.RpcError:
        return False
    return True


def test_a_layout_of_a_newer_release_says_so(kept_repo: Repo, client: Client, store: Any) -> None:
    """Records that a newer release laid out are UNAVAILABLE here, and the text says which release is needed."""
    schema, values = other_layout("feature_of_tomorrow")
    write_record(kept_repo, schema, values)
    with kept_as(store, SCHEMAS, schema.fingerprint.hex(), b"pedigree record %d\nnickname STRING" % (LAYOUT + 1)):
        code, details = refused(
            client.stub.GetOnlineFeatures, features_request(["bird_weight:nickname"], {"bird_id": [9]})
        )
        assert code is UNAVAILABLE and f"its format is {LAYOUT + 1}" in details


def newer_plan(store: Any) -> bytes:
    """The plan as a newer release might write it."""
    return json.dumps(json.loads(store.get(PLAN)) | {"format": PLAN_FORMAT + 1, "views": "elsewhere"}).encode()


def test_a_newer_plan_leaves_the_last_good_one(kept_repo: Repo, client: Client, store: Any, tmp_path: Path) -> None:
    """A running server, and one that starts with a plan on disk, serve by the last good plan; without one the start ends, and the
    reason is the release and not a missing `feast apply`. Members that are not known are ignored.
    """
    good = store.get(PLAN)
    kept = tmp_path / "plan.json"
    kept.write_bytes(json.dumps(json.loads(good) | {"comment": {"by": "a newer release"}}).encode())
    store.set(PLAN, newer_plan(store))
    try:
        assert answered(client, DIET, "nickname") == "kiwi"
        with running(kept_repo.settings(plan_file=kept)) as second:
            assert answered(second, DIET, "nickname") == "kiwi"
        with pytest.raises(PlanError, match=r"a newer release compiled it \(format \d+\), .* Upgrade this process"):
            asyncio.run(start(kept_repo, tmp_path / "none.json"))
        (tmp_path / "junk.json").write_bytes(b"\xff{")
        with pytest.raises(PlanError, match="Upgrade this process"):
            asyncio.run(start(kept_repo, tmp_path / "junk.json"))
    finally:
        store.set(PLAN, good)
    wait_for(lambda: answered(client, DIET, "nickname") == "kiwi")


async def start(repo: Repo, plan_file: Path) -> None:
    """Start a server with a plan file, and stop it."""
    async with listening(repo.settings(plan_file=plan_file)):
        pass
