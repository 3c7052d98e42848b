"""Requests beyond all bounds: names without end, more fields than rows could have, and what is kept and told of them."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import grpc
import psutil
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pedigree.serving.codec.field_count import GET_ONLINE_FEATURES, GET_VECTORS, has_more_fields
from pedigree.serving.codec.protowire import delimited as field
from pedigree.serving.lru import Lru
from pedigree.serving.settings import ServingSettings
from pedigree.serving.status_codes import LONGEST_MESSAGE
from pedigree.serving.transport.servicer import FIELDS_PER_ROW
from pedigree.serving.v1.pedigree_pb2 import ExplainRequest, FeatureNames, GetVectorsRequest, Keys
from pedigree.serving.v1.serving_pb2 import FeatureList, GetOnlineFeaturesRequest
from pedigree.serving.v1.value_pb2 import RepeatedValue, Value

from .conftest import Client, Repo, feast_stub, running
from .feast_requests import by_name, features_request
from .server_process import started
from .token_issuer import AUDIENCE, ISSUER, Issuer, issuing

INVALID = grpc.StatusCode.INVALID_ARGUMENT
FEATURES = "/feast.serving.ServingService/GetOnlineFeatures"
VECTORS = "/pedigree.serving.v1.FeatureService/GetVectors"
EXPLAIN = "/pedigree.serving.v1.FeatureService/Explain"
LONG = "kea" * 1_300_000
ONE = RepeatedValue(val=[Value(int64_val=1)])

LONG_NAMES: Mapping[str, tuple[str, Callable[[str], Any]]] = {
    "service": (FEATURES, lambda name: GetOnlineFeaturesRequest(feature_service=name)),
    "view": (FEATURES, lambda name: GetOnlineFeaturesRequest(features=FeatureList(val=[f"{name}:nickname"]))),
    "feature": (FEATURES, lambda name: GetOnlineFeaturesRequest(features=FeatureList(val=[f"bird_weight:{name}"]))),
    "version": (FEATURES, lambda name: GetOnlineFeaturesRequest(features=FeatureList(val=[f"bird_weight@{name}:x"]))),
    "join key": (FEATURES, lambda name: GetOnlineFeaturesRequest(feature_service="diet", entities={name: ONE})),
    "request data": (
        FEATURES,
        lambda name: GetOnlineFeaturesRequest(feature_service="scaled", request_context={name: ONE}),
    ),
    "service of vectors": (VECTORS, lambda name: GetVectorsRequest(feature_service=name)),
    "feature of vectors": (
        VECTORS,
        lambda name: GetVectorsRequest(features=FeatureNames(names=[f"bird_weight:{name}"])),
    ),
    "key of vectors": (
        VECTORS,
        lambda name: GetVectorsRequest(feature_service="diet", keys=[Keys(name=name, ints=[1])]),
    ),
    "explained service": (EXPLAIN, lambda name: ExplainRequest(feature_service=name, feature="a:b")),
    "explained feature": (EXPLAIN, lambda name: ExplainRequest(feature_service="diet", feature=f"bird_weight:{name}")),
    "explained entity": (
        EXPLAIN,
        lambda name: ExplainRequest(
            feature_service="diet", feature="bird_weight:nickname", entity={name: Value(int64_val=1)}
        ),
    ),
}


@pytest.fixture(scope="module")
def issuer() -> Iterator[Issuer]:
    """An issuer that answers throughout."""
    with issuing() as made:
        yield made


@pytest.fixture(scope="module")
def guarded(repo: Repo, issuer: Issuer) -> Iterator[Client]:
    """A client of a server that asks for tokens, and has permissions for nobody."""
    with running(repo.settings(auth=issuer.auth())) as connected:
        yield connected


def ended(client: Client, method: str, message: bytes, **more: Any) -> tuple[grpc.StatusCode, str]:
    """The status and the message that a call ends with."""
    future = client.channel.unary_unary(method).future(message, timeout=60, **more)
    return future.code(), future.details() or ""


@pytest.mark.parametrize("place", LONG_NAMES)
def test_a_name_without_end_is_refused_and_told_nowhere(
    client: Client, guarded: Client, issuer: Issuer, place: str, caplog: pytest.LogCaptureFixture
) -> None:
    """A name of 3.9 MB, wherever a request has one, is refused in a short message; neither that nor the log repeats it, whether
    the caller may read nothing or everything.
    """
    method, request = LONG_NAMES[place]
    message = request(LONG).SerializeToString()
    bearing = {"metadata": (("authorization", f"Bearer {issuer.token(roles=[])}"),)}
    with caplog.at_level(logging.DEBUG):
        ends = [ended(client, method, message), ended(guarded, method, message, **bearing)]
    for code, details in ends:
        assert code is INVALID
        assert str(len(LONG))[:4] in details
        assert len(details) < 300 and "keakea" not in details
    assert "keakea" not in caplog.text


@pytest.mark.parametrize("name", ["é" * 255, "\x01" * 255, "🐦" * 255, "kea" * 85])
def test_messages_have_a_greatest_length(client: Client, name: str) -> None:
    """A hundred names of the greatest length, of whatever characters, end in a message that every gRPC client takes, which
    still says at its end what to do.
    """
    names = [f"{name[:250]}{number}" for number in range(90)]
    for request in (
        GetOnlineFeaturesRequest(feature_service="diet", request_context=dict.fromkeys(names, ONE)),
        GetOnlineFeaturesRequest(feature_service="scaled", request_context=dict.fromkeys(names, ONE)),
    ):
        code, details = ended(client, FEATURES, request.SerializeToString())
        assert code is INVALID
        assert len(details.encode()) <= LONGEST_MESSAGE
        assert details.endswith(("Leave it out.", "Expected: factor (DOUBLE)."))


def test_a_name_of_the_greatest_length_is_looked_up(client: Client) -> None:
    """A name that could be one is answered as unknown, and an empty one as none."""
    code, details = ended(client, FEATURES, features_request("k" * 255).SerializeToString())
    assert (code, "There is no feature service 'kkk" in details) == (grpc.StatusCode.NOT_FOUND, True)
    assert ended(client, FEATURES, features_request("k" * 256).SerializeToString())[0] is INVALID


def values(*, each: bytes, count: int) -> bytes:
    """A request for `diet` with as many values, written by hand."""
    entry = field(1, b"bird_id") + field(2, field(1, each) * count)
    return field(1, b"diet") + field(3, entry)


TOO_MANY: Mapping[str, tuple[str, bytes]] = {
    "empty values": (FEATURES, values(each=b"", count=1_900_000)),
    "values": (FEATURES, values(each=b"\x20\x01", count=900_000)),
    "nested values": (FEATURES, values(each=field(20, field(1, b"kea")), count=400_000)),
    "one value of very many": (FEATURES, values(each=field(20, field(1, b"kea") * 700_000), count=1)),
    "columns": (FEATURES, field(1, b"diet") + b"".join(field(3, field(1, b"%d" % one)) for one in range(300_000))),
    "columns of context": (FEATURES, field(1, b"diet") + field(5, b"") * 1_900_000),
    "references": (FEATURES, field(2, field(1, b"a:b") * 700_000)),
    "keys": (VECTORS, field(1, b"diet") + field(3, b"") * 1_900_000),
    "values of a key": (VECTORS, field(1, b"diet") + field(3, field(1, b"bird_id") + field(4, b"") * 1_900_000)),
    "whole numbers": (VECTORS, field(1, b"diet") + field(3, field(1, b"bird_id") + field(2, b"\x01" * 3_900_000))),
    "numbers one by one": (VECTORS, field(1, b"diet") + field(3, field(1, b"bird_id") + b"\x10\x01" * 1_900_000)),
    "entities": (EXPLAIN, field(1, b"diet") + field(2, b"a:b") + field(3, b"") * 1_900_000),
    "unknown fields": (FEATURES, field(1, b"diet") + b"\x98\x06\x01" * 1_200_000),
}


@pytest.mark.parametrize("what", TOO_MANY)
def test_more_fields_than_any_request_needs_are_refused(client: Client, what: str) -> None:
    """Millions of values, names or unknown fields in 4 MB are refused, and the next request is answered."""
    method, message = TOO_MANY[what]
    code, details = ended(client, method, message)
    assert code is INVALID
    assert len(details) < 300
    assert (
        by_name(client.stub.GetOnlineFeatures(features_request("diet", {"bird_id": [1]}), timeout=20))["nickname"][
            0
        ].value
        == "kiwi"
    )


def test_rows_are_counted_before_they_are_looked_at(client: Client) -> None:
    """With one row too many a request is refused for that, whatever is wrong with its values; with one less it is not."""
    wrong = [Value(string_val="kea")] * (ServingSettings().max_entities + 1)
    code, details = ended(client, FEATURES, features_request("diet", {"bird_id": [1]}).SerializeToString())
    assert code is grpc.StatusCode.OK
    for rows, said in ((len(wrong), "1001 entity rows were sent and 1000 are the limit"), (len(wrong) - 1, "is INT64")):
        request = GetOnlineFeaturesRequest(
            feature_service="diet", entities={"bird_id": RepeatedValue(val=wrong[:rows])}
        )
        code, details = ended(client, FEATURES, request.SerializeToString())
        assert (code, said in details) == (INVALID, True), details


def test_long_names_leave_no_memory_behind(repo: Repo, issuer: Issuer, tmp_path: Path) -> None:
    """Sixty requests for different services of 3.9 MB, with a token without any role, leave a server about as large as it was."""
    jwks = tmp_path / "jwks.json"
    jwks.write_bytes(issuer.jwks())
    auth = {"AUTH_JWKS": str(jwks), "AUTH_ISSUER": ISSUER, "AUTH_AUDIENCE": AUDIENCE, "WORKERS": "1"}
    more = {f"PEDIGREE_SERVING_{name}": value for name, value in auth.items()}
    bearing = (("authorization", f"Bearer {issuer.token(roles=[])}"),)
    with (
        started(repo.path, **more, PEDIGREE_SERVING_PLAN=str(tmp_path / "plan.json")) as (process, address),
        grpc.insecure_channel(address) as channel,
    ):
        [worker] = psutil.Process(process.pid).children()
        sizes, ask = [], feast_stub(channel).GetOnlineFeatures
        for number in range(70):
            call = ask.future(features_request(f"{number}{LONG}"), timeout=60, metadata=bearing)
            assert call.code() is INVALID, call.details()
            sizes.append(worker.memory_info().rss)
        assert max(sizes[10:]) - sizes[9] < 40e6


@given(st.lists(st.tuples(st.integers(0, 20), st.integers(1, 9)), max_size=60), st.integers(1, 40))
def test_a_cache_is_never_heavier_than_it_may_be(kept: list[tuple[int, int]], capacity: int) -> None:
    """Whatever is kept under whatever key, the weights of all that is kept are within the capacity, and the newest is there."""
    cache: Lru[int, int] = Lru(capacity)
    for number, (key, weight) in enumerate(kept):
        cache.keep(key, number, weight=weight)
        assert cache.weight == sum(weight for _, weight in cache.kept.values()) <= capacity
        assert cache.get(key) == (number if weight <= capacity else None)


@settings(max_examples=100, deadline=None)
@given(data=st.data())
def test_no_request_that_could_be_answered_has_too_many_fields(data: st.DataObject) -> None:
    """As many rows as one request may have, with many columns of texts, are within the bound of fields, in both protocols."""
    rows, columns, size = (data.draw(st.integers(1, most)) for most in (1000, 20, 40))
    text = Value(string_val="k" * size)
    repeated = RepeatedValue(val=[text] * rows)
    names = [f"name_{number}" for number in range(columns)]
    limit = FIELDS_PER_ROW * ServingSettings().max_entities
    request = GetOnlineFeaturesRequest(entities=dict.fromkeys(names, repeated))
    assert not has_more_fields(request.SerializeToString(), GET_ONLINE_FEATURES, limit)
    keys = [Keys(name=name, values=repeated.val) for name in names]
    assert not has_more_fields(GetVectorsRequest(keys=keys).SerializeToString(), GET_VECTORS, limit)


@given(st.binary(max_size=200), st.integers(0, 400))
def test_counting_takes_whatever_bytes_come(junk: bytes, copies: int) -> None:
    """Bytes that are no message are counted without an error, and with as many as they have bytes at the most."""
    message = junk * copies
    assert not has_more_fields(message, GET_ONLINE_FEATURES, len(message))


def test_a_line_of_the_log_has_a_greatest_length(caplog: pytest.LogCaptureFixture) -> None:
    """However long a message is, its line in the log is of some kilobytes, and is JSON."""
    from pedigree.serving.telemetry.logs import LONGEST, JsonLines, Text

    logging.getLogger("serving").warning("a reply: %s", LONG)
    [record] = caplog.records
    assert len(json.loads(JsonLines().format(record))["message"]) == LONGEST
    assert len(Text().format(record)) == LONGEST
