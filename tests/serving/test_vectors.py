"""GetVectors: matrices for inference, over the wire."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import grpc
import pytest
from google.protobuf.message import Message

from pedigree.serving.v1.pedigree_pb2 import FeatureNames, GetVectorsRequest, GetVectorsResponse, Keys
from pedigree.serving.v1.value_pb2 import Value

from .birds import FRESH
from .conftest import Client
from .feast_requests import refused

PATH = "/pedigree.serving.v1.FeatureService/GetVectors"


def ask(client: Client, request: Message) -> GetVectorsResponse:
    """The answer to one request."""
    reply: bytes = client.channel.unary_unary(PATH)(request.SerializeToString(), timeout=20)
    found: GetVectorsResponse = GetVectorsResponse.FromString(reply)
    return found


def rows_of(reply: GetVectorsResponse) -> list[dict[str, float]]:
    """The matrix, row by row."""
    width = len(reply.names)
    return [
        dict(zip(reply.names, reply.values[row * width : (row + 1) * width], strict=True)) for row in range(reply.rows)
    ]


def request(keys: Sequence[int], **more: Any) -> GetVectorsRequest:
    """A request for birds by number."""
    return GetVectorsRequest(keys=[Keys(name="bird_id", ints=keys)], **more)


def test_numbers_come_as_a_matrix_and_others_beside_it(client: Client) -> None:
    """Each row has its numbers under full names; texts are columns of their own; statuses say what is missing and why."""
    reply = ask(client, request([1, 404, 2, 4], feature_service="diet"))
    assert list(reply.names) == ["bird_weight__weight_avg_1d", "bird_weight__meal_count_1d"]
    first, missing, second, stale = rows_of(reply)
    assert first == {"bird_weight__weight_avg_1d": 2.5, "bird_weight__meal_count_1d": 3}
    assert second == {"bird_weight__weight_avg_1d": 40.0, "bird_weight__meal_count_1d": 9}
    assert all(math.isnan(value) for row in (missing, stale) for value in row.values())
    assert reply.statuses == bytes([1, 1, 3, 3, 1, 1, 4, 4])
    [nickname] = reply.others
    assert (nickname.name, nickname.statuses) == ("bird_weight__nickname", bytes([1, 3, 2, 4]))
    assert [value.string_val for value in nickname.values] == ["kiwi", "", "", ""]


def test_nothing_is_said_of_statuses_where_all_is_present(client: Client) -> None:
    """A reply without gaps has no statuses; four-byte numbers come where they are asked for."""
    names = FeatureNames(names=["bird_weight:weight_avg_1d", "bird_weight:meal_count_1d"])
    reply = ask(client, request([1, 2, 1, 2, 1, 2, 1], features=names, precision="PRECISION_FLOAT"))
    assert (reply.statuses, list(reply.values)) == (b"", [])
    assert list(reply.floats) == [2.5, 3, 40, 9] * 3 + [2.5, 3]


def test_keys_of_several_kinds(client: Client) -> None:
    """Whole numbers, texts and whole values can be sent as keys, several for one view."""
    typed = [Keys(name="bird_id", ints=[1, 12]), Keys(name="island_code", strings=["NI", "NI"])]
    whole = [
        Keys(name="bird_id", values=[Value(int64_val=1), Value(int64_val=12)]),
        Keys(name="island_code", values=[Value(string_val="NI"), Value(string_val="NI")]),
    ]
    names = FeatureNames(names=["bird_on_island:visit_count_7d"])
    for keys in (typed, whole, [typed[0], whole[1]]):
        reply = ask(client, GetVectorsRequest(features=names, keys=keys))
        assert list(reply.values) == [7, 9]


def test_provenance_tells_times_and_that_rows_were_pushed(client: Client) -> None:
    """With provenance each view tells every row's event time, and 0 for the load of rows that no load wrote."""
    reply = ask(client, request([1, 404], feature_service="diet", include_provenance=True))
    [view] = reply.provenance
    assert view.view == "bird_weight"
    assert list(view.event_times_us) == [int(FRESH.timestamp() * 1e6), 0]
    assert (list(view.loads), list(reply.loads)) == ([0, 0], [])
    assert reply.plan_version


@pytest.mark.parametrize(
    ("asked", "code", "part"),
    [
        (GetVectorsRequest(), grpc.StatusCode.INVALID_ARGUMENT, "Nothing was asked for"),
        (request([1], feature_service="dite"), grpc.StatusCode.NOT_FOUND, "Did you mean 'diet'"),
        (GetVectorsRequest(feature_service="diet"), grpc.StatusCode.INVALID_ARGUMENT, "is missing from entities"),
        (
            GetVectorsRequest(feature_service="diet", keys=[Keys(name="bird_id", strings=["1"])]),
            grpc.StatusCode.INVALID_ARGUMENT,
            "send it in ints",
        ),
        (
            GetVectorsRequest(feature_service="diet", keys=[Keys(name="bird_id", ints=[1])] * 2),
            grpc.StatusCode.INVALID_ARGUMENT,
            "was sent twice",
        ),
        (
            GetVectorsRequest(feature_service="diet", keys=[Keys(name="bird", ints=[1])]),
            grpc.StatusCode.INVALID_ARGUMENT,
            "send its join key 'bird_id'",
        ),
        (request([], feature_service="diet"), grpc.StatusCode.INVALID_ARGUMENT, "has no values"),
        (request(list(range(2000)), feature_service="diet"), grpc.StatusCode.INVALID_ARGUMENT, "1000 are the limit"),
    ],
)
def test_what_cannot_be_answered_is_refused(client: Client, asked: Any, code: grpc.StatusCode, part: str) -> None:
    """Each request that cannot be answered ends with its code, and a message that says how to put it right."""
    call = client.channel.unary_unary(PATH, request_serializer=GetVectorsRequest.SerializeToString)
    found, details = refused(call, asked)
    assert found is code
    assert part in details
