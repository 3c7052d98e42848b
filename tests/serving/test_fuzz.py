"""Damaged requests: whatever bytes come, the server answers in form or refuses in words of its own, and goes on."""

from __future__ import annotations

import os
import random
import threading
import time
from collections import Counter, deque
from pathlib import Path
from typing import Any

import grpc
import psutil
import pytest
from feast.protos.feast.types.Value_pb2 import Value

from pedigree.serving.codec.protowire import delimited as field
from pedigree.serving.v1.pedigree_pb2 import ExplainRequest, GetVectorsRequest, Keys
from pedigree.serving.v1.value_pb2 import Value as OwnValue

from .conftest import Client, Repo, feast_stub
from .feast_requests import by_name, features_request
from .server_process import started

ROUNDS = int(os.environ.get("PEDIGREE_FUZZ", "20000"))
"""How many requests; a million are sent by `PEDIGREE_FUZZ=1000000`."""

MUTATED = int(os.environ.get("PEDIGREE_MUTATED", "100000"))
"""How many mutated requests the slow test sends."""
AT_ONCE, LIMIT = 16, 4 << 20

IN_FLIGHT = 64
METHODS = {
    "/feast.serving.ServingService/GetOnlineFeatures": [
        features_request("diet", {"bird_id": [1, 2]}, full_feature_names=True).SerializeToString(),
        features_request(
            ["season:month_name", "island_climate:rain_sum_7d"], {"island_code": ["NI"]}
        ).SerializeToString(),
        features_request("pair", {"first_id": [1], "second_id": [2]}).SerializeToString(),
        features_request(
            "scaled", {"bird_id": [1, 2], "factor": [Value(double_val=2), Value(int64_val=3)]}
        ).SerializeToString(),
    ],
    "/pedigree.serving.v1.FeatureService/GetVectors": [
        GetVectorsRequest(
            feature_service="diet", keys=[Keys(name="bird_id", ints=[1, 2])], include_provenance=True
        ).SerializeToString(),
        GetVectorsRequest(
            feature_service="scaled", keys=[Keys(name="bird_id", ints=[1, 2]), Keys(name="factor", ints=[1, 2])]
        ).SerializeToString(),
    ],
    "/pedigree.serving.v1.FeatureService/Explain": [
        ExplainRequest(
            feature_service="diet", feature="bird_weight:nickname", entity={"bird_id": OwnValue(int64_val=1)}
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


class Neighbour:
    """Asks one small thing after another over a connection of its own; `waits` has how long each answer took."""

    def __init__(self, address: str) -> None:
        self.address = address
        self.waits: list[float] = []
        self.wrong: list[Any] = []
        self.stop = threading.Event()

    def run(self) -> None:
        """Ask until told to stop."""
        options = (("grpc.use_local_subchannel_pool", 1),)
        with grpc.insecure_channel(self.address, options=options) as channel:
            ask = feast_stub(channel).GetOnlineFeatures
            while not self.stop.is_set():
                began = time.perf_counter()
                answer = by_name(ask(features_request("diet", {"bird_id": [1]}), timeout=60))
                self.waits.append(time.perf_counter() - began)
                if answer["nickname"][0].value != "kiwi":
                    self.wrong.append(answer)
                time.sleep(0.005)


@pytest.mark.slow
def test_a_hundred_thousand_mutated_requests(repo: Repo, tmp_path: Path) -> None:
    """A server in a process of its own: no request is INTERNAL, no reply above the limit, its memory stays, and a neighbour is
    answered right all the while.
    """
    rng, codes, large, waiting = random.Random(17), Counter[grpc.StatusCode](), huge(), deque[grpc.Future]()
    more = {"PEDIGREE_SERVING_WORKERS": "1", "PEDIGREE_SERVING_PLAN": str(tmp_path / "plan.json")}
    with started(repo.path, **more) as (process, address), grpc.insecure_channel(address) as channel:
        [worker] = psutil.Process(process.pid).children()
        neighbour, sizes = Neighbour(address), []
        thread = threading.Thread(target=neighbour.run)
        thread.start()
        try:
            for number in range(MUTATED):
                method = rng.choice(list(METHODS))
                message = large[number // 200 % len(large)] if number % 200 == 0 else rng.choice(METHODS[method])
                request = damaged(rng, message)
                waiting.append((method, request, channel.unary_unary(method).future(request, timeout=60)))
                if len(waiting) == AT_ONCE:
                    asked, request, call = waiting.popleft()
                    codes[call.code()] += 1
                    assert call.code() in EXPECTED, (call.code(), call.details(), asked, len(request), request[:2000])
                    assert call.code() is not grpc.StatusCode.OK or len(call.result()) <= LIMIT
                if number % 1000 == 0:
                    sizes.append(worker.memory_info().rss)
        finally:
            neighbour.stop.set()
            thread.join()
        print(f"{codes} sizes {sizes[0] >> 20} {sizes[len(sizes) // 4] >> 20} {sizes[-1] >> 20} MiB")
        print(
            f"the neighbour was answered {len(neighbour.waits)} times, at the latest after {max(neighbour.waits) * 1000:.0f} ms"
        )
        assert not neighbour.wrong
        assert max(sizes[len(sizes) // 4 :]) - sizes[len(sizes) // 4] < 32 << 20


def huge() -> list[bytes]:
    """Requests near the limit of a message: names without end, and more values than rows could have."""
    many = field(1, b"diet") + field(3, field(1, b"bird_id") + field(2, field(1, b"\x20\x01") * 900_000))
    return [
        features_request("kea" * 1_300_000).SerializeToString(),
        features_request(["a:b"] * 400_000).SerializeToString(),
        many,
    ]


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
