"""A real Redis, a small Feast repository of the tests' own, and the real server with Feast's own client."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import grpc
import pytest
from feast import FeatureStore
from feast.protos.feast.serving.ServingService_pb2_grpc import ServingServiceStub

from pedigree.serving.settings import ServingSettings
from pedigree.serving.worker import listening

from ..redis_server import RedisServer
from .birds import CLOCK_AT, apply, write_rows

SETTINGS = ServingSettings(address="127.0.0.1:0", clock_at=CLOCK_AT)


@dataclass(frozen=True, slots=True)
class Repo:
    """A Feast repository with rows in its online store."""

    path: Path
    store: FeatureStore
    redis: RedisServer

    def settings(self, **changed: Any) -> ServingSettings:
        """Settings of a server of this repository on a free port."""
        values = {name: getattr(SETTINGS, name) for name in ServingSettings.__dataclass_fields__}
        return ServingSettings(
            **{**values, "feature_store_yaml": self.path, "plan_file": self.path.with_name("plan.json"), **changed}
        )


@dataclass(frozen=True, slots=True)
class Client:
    """Feast's own client of a running server."""

    address: str
    channel: grpc.Channel
    stub: ServingServiceStub
    loop: asyncio.AbstractEventLoop

    def reads(self) -> int:
        """How many requests the server has under way, each waiting for the online store."""
        names = [getattr(task.get_coro(), "__qualname__", "") for task in asyncio.all_tasks(self.loop)]
        return sum("rpc_coro" in name for name in names)


def feast_stub(channel: grpc.Channel) -> ServingServiceStub:
    """Feast's own generated client."""
    return ServingServiceStub(channel)  # generated without types


@contextmanager
def running(settings: ServingSettings) -> Iterator[Client]:
    """The real server on an event loop of its own thread, and Feast's client connected to it."""
    ready = threading.Event()
    found: dict[str, Any] = {}

    async def run() -> None:
        found["loop"], found["stop"] = asyncio.get_running_loop(), asyncio.Event()
        async with listening(settings) as server:
            found["address"] = server.address
            ready.set()
            await found["stop"].wait()

    thread = threading.Thread(target=asyncio.run, args=(run(),))
    thread.start()
    assert ready.wait(30), "the server did not start"
    try:
        with grpc.insecure_channel(found["address"]) as channel:
            yield Client(address=found["address"], channel=channel, stub=feast_stub(channel), loop=found["loop"])
    finally:
        found["loop"].call_soon_threadsafe(found["stop"].set)
        thread.join(30)


@contextmanager
def repository(folder: Path) -> Iterator[Repo]:
    """A new repository with a Redis of its own."""
    server = RedisServer(folder)
    server.start()
    try:
        yield filled(folder, server, f"127.0.0.1:{server.port}")
    finally:
        server.kill()


def filled(folder: Path, server: RedisServer, connection_string: str, **more: str) -> Repo:
    """A new repository whose rows are in the store at an address; `more` is what else its online_store says."""
    path = folder / "feature_store.yaml"
    parts = {"type": "pedigree.online.feast_plugin.PedigreeOnlineStore", "connection_string": connection_string, **more}
    store = apply(path, online_store=json.dumps(parts))
    write_rows(store)
    return Repo(path=path, store=store, redis=server)


@pytest.fixture(scope="session")
def repo(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Repo]:
    """A repository that tests only read."""
    with repository(tmp_path_factory.mktemp("repo")) as made:
        yield made


@pytest.fixture(scope="session")
def own_repo(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Repo]:
    """A repository whose Redis tests may pause and kill, as long as they leave it running."""
    with repository(tmp_path_factory.mktemp("own")) as made:
        yield made


@pytest.fixture(scope="session")
def client(repo: Repo) -> Iterator[Client]:
    """Feast's client of a server of `repo`, with a generous store timeout."""
    with running(repo.settings(store_timeout=timedelta(seconds=5))) as connected:
        yield connected
