"""A server that is stopped under load: what it has taken it answers, and what it has not may be asked elsewhere."""

from __future__ import annotations

import threading
import time
from collections import Counter
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import grpc
import pytest

from pedigree.serving.v1.pedigree_pb2 import GetVectorsRequest, Keys

from .conftest import Repo
from .feast_requests import features_request
from .server_process import ended, started

OK, UNAVAILABLE = grpc.StatusCode.OK, grpc.StatusCode.UNAVAILABLE
ASKED = {
    "/feast.serving.ServingService/GetOnlineFeatures": features_request("diet", {"bird_id": [1]}).SerializeToString(),
    "/pedigree.serving.v1.FeatureService/GetVectors": GetVectorsRequest(
        feature_service="diet", keys=[Keys(name="bird_id", ints=[1])]
    ).SerializeToString(),
}


@dataclass
class Caller:
    """Asks one thing after another over a connection of its own, several at a time, until it is refused."""

    address: str
    at_once: int
    method: str
    ends: Counter[grpc.StatusCode] = field(default_factory=Counter)
    wrong: list[Any] = field(default_factory=list)
    stop: threading.Event = field(default_factory=threading.Event)

    def run(self) -> None:
        """Ask until a call is refused, and a little longer."""
        options = (("grpc.use_local_subchannel_pool", 1), ("grpc.enable_retries", 0))
        with grpc.insecure_channel(self.address, options=options) as channel:
            ask = channel.unary_unary(self.method)
            while not self.stop.is_set():
                self.settle([ask.future(ASKED[self.method], timeout=30) for _ in range(self.at_once)])

    def settle(self, calls: list[Any]) -> None:
        """Take note of how calls end."""
        for call in calls:
            code = call.code()
            self.ends[code] += 1
            if code is OK and b"kiwi" not in call.result():
                self.wrong.append(call.result())
            elif code not in (OK, UNAVAILABLE):
                self.wrong.append((code, call.details()))


def stopped_under_load(repo: Repo, tmp_path: Path, *, callers: int, at_once: int, workers: int) -> list[Caller]:
    """Several clients call while a server is told to stop; returns them once it has ended, and checks that it ended well."""
    more = {"PEDIGREE_SERVING_WORKERS": str(workers), "PEDIGREE_SERVING_PLAN": str(tmp_path / "plan.json")}
    patient = {"PEDIGREE_SERVING_STORE_TIMEOUT": "20", "PEDIGREE_SERVING_DRAIN": "20"}
    with started(repo.path, **more, **patient) as (process, address), ExitStack() as stack:
        many = [Caller(address, at_once, method) for method in ASKED for _ in range(callers)]
        threads = [threading.Thread(target=one.run) for one in many]
        for one, thread in zip(many, threads, strict=True):
            stack.callback(thread.join)
            stack.callback(one.stop.set)
            thread.start()
        while min(one.ends[OK] for one in many) < 50:
            time.sleep(0.01)
        stderr = ended(process)
        assert process.returncode == 0
        assert "Traceback" not in stderr, stderr
    return many


@pytest.mark.parametrize(("callers", "at_once", "workers"), [(4, 1, 1), (2, 8, 2), (1, 25, 1)])
def test_a_stop_under_load_loses_nothing(repo: Repo, tmp_path: Path, callers: int, at_once: int, workers: int) -> None:
    """Of all calls of several clients while a server stops each is answered right or is UNAVAILABLE, and may be tried again
    elsewhere; the server ends by itself, without an error in its log.
    """
    many = stopped_under_load(repo, tmp_path, callers=callers, at_once=at_once, workers=workers)
    assert not [wrong for one in many for wrong in one.wrong]
    assert sum((one.ends for one in many), Counter())[UNAVAILABLE]
