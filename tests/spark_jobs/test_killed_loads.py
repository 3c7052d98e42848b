"""Materialize, rollback and rebuild, killed at random moments and compared with a model of the table's versions."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from feast.protos.feast.types.Value_pb2 import Value
from pyspark.sql import SparkSession

from pedigree.jobs.errors import WithheldError
from pedigree.jobs.materialize.load import load, refresh, roll_back
from pedigree.jobs.materialize.redis_writer import Loading
from pedigree.online.records.record import Head, micros
from pedigree.online.store import redis_keys
from pedigree.online.store.load_state import LoadState
from pedigree.online.store.redis_store import RedisStore

from ..distributions import ROOT
from .purchases import DAY, EVENTS, LOADING, SCHEMA, rows_at
from .test_materialize import PREFIX, Table, stored

KILLS = int(os.environ.get("PEDIGREE_KILLS", "4"))
"""How often each way of loading is killed; PEDIGREE_KILLS sets it."""

PUSHED = {1_000_000: (micros(EVENTS[-1] + DAY), 5.0)}
"""A row that no table has and that every load must leave alone."""

WAYS = (("materialize", load), ("rollback", roll_back), ("rebuild", refresh))

Rows = dict[int, tuple[int, float]]


@dataclass(frozen=True)
class History:
    """A table of some versions, and what must be served of each."""

    uri: str
    served: dict[int, Rows]

    def loading(self, version: int) -> Loading:
        """One of the versions on its way into the store."""
        return replace(LOADING, uri=self.uri, version=version, published=version)


@pytest.fixture(scope="module")
def history(spark: SparkSession, tmp_path_factory: pytest.TempPathFactory) -> History:
    """Six versions: rows that come, go, and are put right."""
    table = Table(spark, (tmp_path_factory.mktemp("history") / "purchases").as_uri())
    table.append(rows_at(3000, customers=1500, seed=1))
    slice_of = f"event_at >= '{EVENTS[10]}' AND event_at < '{EVENTS[16]}'"
    fresh = rows_at(2000, customers=1500, seed=2)
    table.replace(fresh[(fresh.event_at >= EVENTS[10]) & (fresh.event_at < EVENTS[16])], slice_of)
    table.delete("customer < 300 OR spend > 90")
    table.append(rows_at(1000, customers=800, seed=3))
    table.delete(f"event_at >= '{EVENTS[24]}'")
    table.append(rows_at(500, customers=100, seed=4))
    made = History(table.uri, {})
    for version in range(6):
        made.served[version] = table.newest(made.loading(version)) | PUSHED
    return made


class Nursery:
    """Where loads run that are killed."""

    def __init__(self, spark: SparkSession, redis_store: RedisStore) -> None:
        gateway: Any = spark.sparkContext._gateway
        parameters = gateway.gateway_parameters if hasattr(gateway, "gateway_parameters") else gateway.java_parameters
        environment = {
            "PYTHONPATH": str(ROOT),
            "PYSPARK_GATEWAY_PORT": str(parameters.port),
            "PYSPARK_GATEWAY_SECRET": parameters.auth_token,
        }
        self.address, self.ended = str(redis_store.address), list[int]()
        self.process = subprocess.Popen(
            [sys.executable, str(Path(__file__).with_name("killed_loads.py"))],
            cwd=ROOT,
            env={**os.environ, **environment},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def kill(self, way: str, loading: Loading, *, after: float) -> None:
        """Begin a load and kill it some seconds later."""
        stdin, stdout = self.process.stdin, self.process.stdout
        assert stdin is not None and stdout is not None
        order = {"way": way, "uri": loading.uri, "version": loading.version, "address": self.address}
        stdin.write(json.dumps(order) + "\n")
        stdin.flush()
        child = int(stdout.readline())
        time.sleep(after)
        with suppress(ProcessLookupError):  # it has ended
            os.kill(child, signal.SIGKILL)
        self.ended.append(int(stdout.readline()))

    def expect_kills(self) -> None:
        """Every load was killed, or had ended just before; and not all of them had."""
        assert set(self.ended) <= {0, signal.SIGKILL}
        assert signal.SIGKILL in self.ended


@pytest.fixture
def nursery(spark: SparkSession, redis_store: RedisStore) -> Iterator[Nursery]:
    made = Nursery(spark, redis_store)
    yield made
    made.process.kill()
    made.process.wait()


class Rig:
    """A store with one pushed row, the table, and each way of loading with everything but the load given."""

    def __init__(self, history: History, redis_store: RedisStore, spark: SparkSession) -> None:
        self.history, self.redis_store = history, redis_store
        given = {"redis_store": redis_store, "spark": spark, "run_id": "again", "progress": lambda _rows: None}
        self.ways: dict[str, Any] = {name: partial(way, **given) for name, way in WAYS}
        self.took = 2.0

    def run(self, way: str, version: int) -> None:
        """One load to its end; how long it took tells how long the next one that is killed may take."""
        since = time.monotonic()
        self.ways[way](self.history.loading(version))
        self.took = (self.took + time.monotonic() - since) / 2

    def serve(self, version: int, *, withheld: int | None = None) -> None:
        """Have a version served, after a rollback of a later one where that is said."""
        self.ways["rebuild"](self.history.loading(version if withheld is None else withheld), includes_withheld=True)
        if withheld is not None:
            self.ways["rollback"](self.history.loading(version))
        assert stored(self.redis_store) == self.history.served[version]

    def push(self) -> None:
        """Write the row that no table has."""
        [(customer, (at, spend))] = PUSHED.items()
        values = [Value(double_val=spend).SerializeToString(), None, None]
        key = redis_keys.entity_key(PREFIX, [Value(int64_val=customer).SerializeToString()])
        mark = self.mark
        record = SCHEMA.pack(Head(at, None, 0, SCHEMA.fingerprint), values)
        self.redis_store.write(redis_keys.field("purchases", mark.generation), [(key, record)])

    @property
    def mark(self) -> LoadState:
        mark = self.redis_store.mark("purchases")
        assert mark is not None
        return mark

    def expect_halves(self, *versions: int) -> None:
        """Each key has its row of one of the versions."""
        now, halves = stored(self.redis_store), [self.history.served[version] for version in versions]
        for key in {*now, *halves[0], *halves[-1]}:
            assert now.get(key) in [half.get(key) for half in halves], key


@pytest.fixture
def rig(history: History, redis_store: RedisStore, spark: SparkSession) -> Rig:
    made = Rig(history, redis_store, spark)
    made.run("materialize", 0)
    made.push()
    return made


def two_versions(seed: str) -> Iterator[tuple[int, int, float]]:
    """An earlier and a later version, and after what part of its time to kill, as often as loads are killed."""
    rng = random.Random(seed)
    for _ in range(KILLS):
        older, newer = sorted(rng.sample(range(6), 2))
        yield older, newer, rng.random()


@pytest.mark.slow
def test_a_killed_load_leaves_nothing_half(rig: Rig, nursery: Nursery) -> None:
    """After a kill each key has its row of the one version or the other; run again, the load leaves what the model says."""
    for older, newer, part in two_versions("load"):
        rig.serve(older)
        nursery.kill("materialize", rig.history.loading(newer), after=part * rig.took)
        rig.expect_halves(older, newer)
        rig.run("materialize", newer)
        assert stored(rig.redis_store) == rig.history.served[newer]
        assert (rig.mark.version, rig.mark.withheld) == (newer, None)
    nursery.expect_kills()


@pytest.mark.slow
def test_a_killed_first_load_is_not_read(rig: Rig, nursery: Nursery) -> None:
    """Until a first load ends the view is not called loaded; run again, to another version too, it leaves what the model says."""
    for older, newer, part in two_versions("first"):
        rig.redis_store.redis.flushall()
        nursery.kill("materialize", rig.history.loading(older), after=part * rig.took)
        mark = rig.redis_store.mark("purchases")
        assert mark is None or not mark.readable or mark.version == older
        rig.run("materialize", newer)
        rig.push()
        assert stored(rig.redis_store) == rig.history.served[newer]
    nursery.expect_kills()


@pytest.mark.slow
def test_a_killed_rollback_leaves_nothing_half(rig: Rig, nursery: Nursery) -> None:
    """After a kill each key has its row of the one version or the other; run again, the rollback is whole, and holds."""
    for older, newer, part in two_versions("rollback"):
        rig.serve(newer)
        nursery.kill("rollback", rig.history.loading(older), after=part * rig.took)
        rig.expect_halves(older, newer)
        if rig.mark.version == newer:
            rig.run("rollback", older)
        assert stored(rig.redis_store) == rig.history.served[older]
        assert (rig.mark.version, rig.mark.withheld) == (older, newer)
        with pytest.raises(WithheldError):
            rig.ways["materialize"](rig.history.loading(newer))
    nursery.expect_kills()


@pytest.mark.slow
def test_a_killed_rebuild_changes_nothing(rig: Rig, nursery: Nursery) -> None:
    """A rebuild that is killed is not seen at all, and one that goes to its end after it keeps to what was rolled back."""
    for older, newer, part in two_versions("rebuild"):
        rig.serve(older, withheld=newer)
        nursery.kill("rebuild", rig.history.loading(older), after=part * rig.took)
        assert stored(rig.redis_store) == rig.history.served[older]
        rig.run("rebuild", older)
        assert stored(rig.redis_store) == rig.history.served[older]
        assert (rig.mark.version, rig.mark.withheld) == (older, newer)
    nursery.expect_kills()
