"""Every test writes to a lake of its own; set before anything reads the settings."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from pedigree.online.store.address import parse
from pedigree.online.store.redis_store import RedisStore

from .redis_server import RedisServer

SCRATCH = Path(tempfile.mkdtemp(prefix="pedigree-tests-"))
os.environ["PEDIGREE_LAKE"] = (SCRATCH / "lake").as_uri()
os.environ["PEDIGREE_LINEAGE_OUTBOX"] = str(SCRATCH / "outbox")
os.environ["PEDIGREE_LINEAGE_URL"] = "http://127.0.0.1:9"
"""Nobody listens there, so events wait in the outbox also where somebody's backend runs on this machine."""
os.environ.setdefault("SPARK_SUBMIT_OPTS", "-XX:TieredStopAtLevel=1")
"""A JVM of a test ends before the optimizing compiler pays for itself: a third less CPU."""


def pytest_unconfigure(config: pytest.Config) -> None:
    shutil.rmtree(SCRATCH, ignore_errors=True)


@pytest.fixture(scope="module")
def redis_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    """A Redis for the tests of a module."""
    made = RedisServer(tmp_path_factory.mktemp("redis"))
    made.start()
    yield made
    made.kill()


@pytest.fixture
def redis_store(redis_server: RedisServer) -> Iterator[RedisStore]:
    """An empty store of a project `shop`."""
    opened = RedisStore.open("shop", parse(f"127.0.0.1:{redis_server.port}"))
    opened.redis.flushall()
    yield opened
    opened.close()
