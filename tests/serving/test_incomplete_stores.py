"""Answers are never silently wrong: flushed, emptied, half-filled and cut-off stores, and definitions that change meanwhile."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import grpc
import pytest
import redis
from feast import FeatureService, Field
from feast.types import Int64

from pedigree.online.apply import publish_plan
from pedigree.online.plans.view_definitions import schema_of
from pedigree.online.records.record import head_of
from pedigree.online.store import redis_keys
from pedigree.online.store.load_state import LoadState, LoadStatus

from ..redis_server import wait_for
from .birds import FRESH, bird, bird_weight, key, view, weights, write
from .conftest import Client, Repo, repository, running
from .feast_requests import by_name, features_request, refused

DIET = features_request("diet", {"bird_id": [1, 2]})
UNAVAILABLE = grpc.StatusCode.UNAVAILABLE


@pytest.fixture
def fresh(tmp_path: Path) -> Iterator[Repo]:
    """A repository of a test's own."""
    with repository(tmp_path) as made:
        yield made


def nicknames(client: Client) -> list[object]:
    """What is answered for birds 1 and 2."""
    return [cell.value for cell in by_name(client.stub.GetOnlineFeatures(DIET, timeout=20))["nickname"]]


def test_a_flushed_store_is_unavailable_and_not_full_of_nulls(fresh: Repo) -> None:
    """After FLUSHALL every view is UNAVAILABLE with the command that fills it, and rows that are pushed do not hide that."""
    with running(fresh.settings()) as client, redis.Redis(port=fresh.redis.port) as store:
        assert nicknames(client) == ["kiwi", None]
        store.flushall()
        code, details = refused(client.stub.GetOnlineFeatures, DIET)
        assert (code, "pedigree rebuild bird_weight" in details) == (UNAVAILABLE, True)
        write(fresh.store, bird_weight, [(key(bird_id=1), weights(1.0, 1, "pushed"), FRESH)])
        assert refused(client.stub.GetOnlineFeatures, DIET)[0] is UNAVAILABLE


def test_a_redis_that_came_back_empty_is_unavailable(fresh: Repo) -> None:
    """Killed and started anew without its rows, the store is recognised as empty by the server that was reading it."""
    with running(fresh.settings()) as client:
        assert nicknames(client) == ["kiwi", None]
        fresh.redis.kill()
        for file in fresh.redis.folder.glob("*.aof"):
            file.unlink()
        fresh.redis.start()
        wait_for(lambda: "not loaded" in refused(client.stub.GetOnlineFeatures, DIET)[1])


def test_a_view_whose_first_load_broke_off_is_unavailable(fresh: Repo) -> None:
    """A half-filled view answers UNAVAILABLE, and from the moment that its load has ended it answers."""
    with running(fresh.settings()) as client, redis.Redis(port=fresh.redis.port) as store:
        views = redis_keys.marks_key("flightless")
        store.hset(views, "bird_weight", LoadState(LoadStatus.LOADING).text())
        assert refused(client.stub.GetOnlineFeatures, DIET)[0] is UNAVAILABLE
        store.hset(views, "bird_weight", LoadState(LoadStatus.LOADED, load=1).text())
        assert nicknames(client) == ["kiwi", None]


def test_a_refresh_is_taken_up_between_two_requests(fresh: Repo) -> None:
    """A request that finds the view in another generation reads that one: no reply mixes two, or misses rows."""
    with running(fresh.settings()) as client, redis.Redis(port=fresh.redis.port) as store:
        assert nicknames(client) == ["kiwi", None]
        old, new = redis_keys.field("bird_weight", 0), redis_keys.field("bird_weight", 1)
        layout = schema_of(fresh.store.get_feature_view("bird_weight"))
        for name in store.scan_iter("flightless:bird_id:*"):
            record = store.hget(name, old)
            if record is not None:
                store.hset(
                    name,
                    new,
                    layout.pack(
                        head_of(record), [one and one.replace(b"kiwi", b"moa!") for one in layout.unpack(record)]
                    ),
                )
        store.hset(redis_keys.marks_key("flightless"), "bird_weight", LoadState(LoadStatus.LOADED, generation=1).text())
        assert nicknames(client) == ["moa!", None]


def test_new_definitions_are_taken_up_without_a_request_lost(fresh: Repo) -> None:
    """While `feast apply` changes a service again and again, every request is answered by the old plan or the new one."""
    errors: list[grpc.RpcError] = []
    ended = threading.Event()
    with running(fresh.settings(plan_every=fresh.settings().plan_every / 40)) as client:

        def ask() -> None:
            while not ended.is_set():
                try:
                    client.stub.GetOnlineFeatures(DIET, timeout=20)
                except grpc.RpcError as error:
                    errors.append(error)

        askers = [threading.Thread(target=ask) for _ in range(4)]
        for asker in askers:
            asker.start()
        for part, expected in ((bird_weight[["nickname"]], 2), (bird_weight, 4), (bird_weight[["weight_avg_1d"]], 2)):
            fresh.store.apply([FeatureService(name="diet", features=[part])])
            wait_for(lambda count=expected: len(client.stub.GetOnlineFeatures(DIET, timeout=20).results) == count)
        ended.set()
        for asker in askers:
            asker.join()
    assert errors == []


def test_a_plan_that_cannot_be_read_leaves_the_last_good_one(fresh: Repo, caplog: pytest.LogCaptureFixture) -> None:
    """Garbage in place of the plan is refused and logged; a server that starts then takes the last good one from disk."""
    settings = fresh.settings(plan_every=fresh.settings().plan_every / 40)
    with running(settings) as client, redis.Redis(port=fresh.redis.port) as store:
        store.set(redis_keys.plan_key("flightless"), b"cposix\nsystem\n(S'touch /tmp/owned'\ntR.")
        wait_for(lambda: "a new plan is refused" in caplog.text)
        assert nicknames(client) == ["kiwi", None]
        store.delete(redis_keys.plan_key("flightless"))
        with running(settings) as late:
            assert nicknames(late) == ["kiwi", None]
    publish_plan(fresh.store.config, fresh.store._get_provider().online_store.opened(fresh.store.config))


def test_records_of_an_older_layout_are_read(fresh: Repo) -> None:
    """After a view has gained a feature, rows written before are answered by name, and what they do not have is NOT_FOUND."""
    grown = view("bird_weight", [bird], [*bird_weight.features, Field(name="wing_count", dtype=Int64)])
    with running(fresh.settings(plan_every=fresh.settings().plan_every / 40)) as client:
        fresh.store.apply([grown, FeatureService(name="diet", features=[grown])])
        wait_for(lambda: "wing_count" in by_name(client.stub.GetOnlineFeatures(DIET, timeout=20)))
        assert nicknames(client) == ["kiwi", None]
        wings = by_name(client.stub.GetOnlineFeatures(DIET, timeout=20))["wing_count"]
        assert [(cell.value, cell.status) for cell in wings] == [(None, "NOT_FOUND")] * 2
        write(fresh.store, grown, [(key(bird_id=1), weights(9.0, 1, "new"), FRESH + FRESH.resolution)])
        assert nicknames(client) == ["new", None]


@contextmanager
def proxy(port: int, *, cut_after: int) -> Iterator[int]:
    """A way to Redis that breaks after so many bytes of every connection's replies."""
    listener = socket.create_server(("127.0.0.1", 0))

    def pump(source: socket.socket, sink: socket.socket, limit: int | None) -> None:
        try:
            while data := source.recv(65536):
                part = data if limit is None else data[:limit]
                sink.sendall(part)
                limit = None if limit is None else limit - len(part)
                if limit == 0:
                    break
        except OSError:
            return
        finally:
            for one in (source, sink):
                one.close()

    def accept() -> None:
        while True:
            try:
                client, _ = listener.accept()
            except OSError:
                return
            server = socket.create_connection(("127.0.0.1", port))
            threading.Thread(target=pump, args=(client, server, None), daemon=True).start()
            threading.Thread(target=pump, args=(server, client, cut_after), daemon=True).start()

    threading.Thread(target=accept, daemon=True).start()
    try:
        yield listener.getsockname()[1]
    finally:
        listener.close()


@pytest.mark.parametrize("cut_after", [1, 300, 1_000, 5_000])
def test_a_connection_that_is_cut_anywhere_gives_right_answers_or_none(
    repo: Repo, tmp_path: Path, cut_after: int
) -> None:
    """Through a way that breaks in the middle of replies each answer is the right one or UNAVAILABLE, and service goes on."""
    with proxy(repo.redis.port, cut_after=cut_after) as port:
        yaml = tmp_path / "feature_store.yaml"
        yaml.write_text(repo.path.read_text().replace(f":{repo.redis.port}", f":{port}"))
        plan = tmp_path / "plan.json"
        kept: Any = redis.Redis(port=repo.redis.port).get(redis_keys.plan_key("flightless"))
        plan.write_bytes(kept)
        outcomes = set()
        with running(repo.settings(feature_store_yaml=yaml, plan_file=plan)) as client:
            for _ in range(60):
                try:
                    outcomes.add(tuple(nicknames(client)))
                except grpc.RpcError as error:
                    outcomes.add(error.code())
        assert outcomes <= {("kiwi", None), UNAVAILABLE}
        assert UNAVAILABLE in outcomes or cut_after == 5_000
        assert ("kiwi", None) in outcomes or cut_after < 1_000
