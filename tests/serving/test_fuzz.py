"""Damaged requests: whatever bytes come, the server answers in form or refuses in words of its own, and goes on."""

from __future__ import annotations

import os
import random
from collections import Counter, deque

import grpc
import pytest
from feast.protos.feast.types.Value_pb2 import Value

from serving.v1.pedigree_pb2 import GetVectorsRequest, Keys

from .asking import asking
from .conftest import Client

ROUNDS = int(os.environ.get("PEDIGREE_FUZZ", "20000"))
"""How many requests; a million are sent by `PEDIGREE_FUZZ=1000000`."""

IN_FLIGHT = 64
METHODS = {
    "/feast.serving.ServingService/GetOnlineFeatures": [
        asking("diet", {"bird_id": [1, 2]}, full_feature_names=True).SerializeToString(),
        asking(["season:month_name", "island_climate:rain_sum_7d"], {"island_code": ["NI"]}).SerializeToString(),
        asking("pair", {"first_id": [1], "second_id": [2]}).SerializeToString(),
        asking("scaled", {"bird_id": [1, 2], "factor": [Value(double_val=2), Value(int64_val=3)]}).SerializeToString(),
    ],
    "/pedigree.serving.v1.FeatureService/GetVectors": [
        GetVectorsRequest(
            feature_service="diet", keys=[Keys(name="bird_id", ints=[1, 2])], include_provenance=True
        ).SerializeToString(),
        GetVectorsRequest(
            feature_service="scaled", keys=[Keys(name="bird_id", ints=[1, 2]), Keys(name="factor", ints=[1, 2])]
        ).SerializeToString(),
    ],
}
EXPECTED = {
    grpc.StatusCode.OK,
    grpc.StatusCode.INVALID_ARGUMENT,
    grpc.StatusCode.NOT_FOUND,
    grpc.StatusCode.UNIMPLEMENTED,
    grpc.StatusCode.FAILED_PRECONDITION,
    grpc.StatusCode.RESOURCE_EXHAUSTED,
}
INTERNALS = ("Traceback", "Error(", ".py", "0x", "redis", "online.", "serving.")


def damaged(rng: random.Random, message: bytes) -> bytes:
    """A message with some bytes changed, cut out, put in or said twice."""
    found = bytearray(message)
    for _ in range(rng.randrange(1, 4)):
        at = rng.randrange(len(found) + 1)
        kind = rng.randrange(4)
        if kind == 0 and at < len(found):
            found[at] ^= 1 << rng.randrange(8)
        elif kind == 1:
            del found[at : at + rng.randrange(1, 9)]
        elif kind == 2:
            found[at:at] = rng.randbytes(rng.randrange(1, 9))
        else:
            found[at:at] = found[max(at - 20, 0) : at]
    return bytes(found)


@pytest.mark.parametrize("method", METHODS)
def test_damaged_requests_are_refused_in_words_of_ours(client: Client, method: str) -> None:
    """Each damaged request ends OK or with a code that tells the caller what is wrong, and with no word of what is inside."""
    rng, codes, waiting = random.Random(13), Counter[grpc.StatusCode](), deque[grpc.Future]()
    call = client.channel.unary_unary(method)

    def settle() -> None:
        future = waiting.popleft()
        code, details = future.code(), future.details() or ""
        codes[code] += 1
        assert code in EXPECTED, (code, details)
        assert not [word for word in INTERNALS if word in details], details

    for _ in range(ROUNDS // len(METHODS)):
        waiting.append(call.future(damaged(rng, rng.choice(METHODS[method])), timeout=60))
        if len(waiting) == IN_FLIGHT:
            settle()
    while waiting:
        settle()
    assert codes[grpc.StatusCode.OK]
    assert codes[grpc.StatusCode.INVALID_ARGUMENT]
    assert call(METHODS[method][0], timeout=20)
