"""A Redis that drops rows to make room: nobody is told that a row never was which was evicted."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import grpc
import pytest
import redis
from click.testing import CliRunner
from feast import FeatureStore

from pedigree.cli.doctor.doctor import doctor
from pedigree.cli.errors import PedigreeError
from pedigree.online.errors import NotLoadedError, RowsEvictedError
from pedigree.online.store import redis_keys
from pedigree.online.store.eviction import Baseline, Memory, may_have_evicted, policy_problem

from ..redis_server import RedisServer, wait_for
from .birds import FRESH, bird_weight, key, weights, write
from .conftest import Client, Repo, filled, running
from .feast_requests import by_name, features_request, refused

BIRDS = range(1000, 1500)
NOBODY = 404


@pytest.fixture
def evicting(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Repo]:
    """A repository of five hundred birds in a Redis with an eviction policy, and still enough memory."""
    server = RedisServer(tmp_path, options=("--maxmemory", "1gb", "--maxmemory-policy", request.param))
    server.start()
    try:
        repo = filled(tmp_path, server, f"127.0.0.1:{server.port}")
        rows = [(key(bird_id=number), weights(number, 1, "k" * 2000), FRESH) for number in BIRDS]
        write(repo.store, bird_weight, rows)
        yield repo
    finally:
        server.kill()


def squeeze(repo: Repo, by: int = 200_000) -> int:
    """Leave Redis so much less memory than it uses, until it has evicted keys for that; returns how many.

    Which keys go is chance. Those that are no rows are put back, so that what is asked afterwards is about rows.
    """
    with redis.Redis(port=repo.redis.port) as store:
        others = {name: store.dump(name) for name in store.scan_iter() if not redis_keys.is_entity_key(name)}
        limit = store.info()["maxmemory"]
        store.config_set("maxmemory", store.info()["used_memory"] - by)
        evicted = int(store.info()["evicted_keys"])
        store.config_set("maxmemory", limit)
        for name, content in others.items():
            store.restore(name, 0, content, replace=True)
        return evicted


def answer(client: Client, number: int) -> str:
    """What a caller is told of one bird: its status, or the code with which the request ends."""
    try:
        found = by_name(client.stub.GetOnlineFeatures(features_request("diet", {"bird_id": [number]}), timeout=20))
    except grpc.RpcError as error:
        return str(error.code().name)
    cell = found["weight_avg_1d"][0]
    assert cell.status != "PRESENT" or cell.value == number
    return cell.status


def answers(client: Client) -> set[str]:
    """What a caller is told of all birds that were written."""
    return {answer(client, number) for number in BIRDS}


@contextmanager
def watched(repo: Repo) -> Iterator[Client]:
    """A server that has looked at the store since whatever happened."""
    with running(repo.settings()) as client:
        yield client


@pytest.mark.parametrize("evicting", ["allkeys-lru", "allkeys-random"], indirect=True)
def test_a_row_that_is_missing_is_unavailable_once_keys_were_evicted(evicting: Repo) -> None:
    """NOT_FOUND before any key was evicted; UNAVAILABLE after it, for what was evicted and what never was; rows that are there
    are served. The policy put right, or the server started anew, changes nothing: the rows are still gone.
    """
    with watched(evicting) as client:
        assert (answer(client, NOBODY), answers(client)) == ("NOT_FOUND", {"PRESENT"})
        assert squeeze(evicting) > 0
        assert (answer(client, NOBODY), answers(client) - {"PRESENT"}) == ("UNAVAILABLE", {"UNAVAILABLE"})
        with redis.Redis(port=evicting.redis.port) as store:
            store.config_set("maxmemory-policy", "noeviction")
        assert (answer(client, NOBODY), answers(client) - {"PRESENT"}) == ("UNAVAILABLE", {"UNAVAILABLE"})
    with watched(evicting) as client:
        assert answer(client, NOBODY) == "UNAVAILABLE"
        code, text = refused(client.stub.GetOnlineFeatures, features_request("diet", {"bird_id": [NOBODY]}))
        assert code is grpc.StatusCode.UNAVAILABLE
        assert "pedigree rebuild bird_weight" in text
    with pytest.raises((RowsEvictedError, NotLoadedError), match="pedigree rebuild bird_weight"):
        FeatureStore(fs_yaml_file=evicting.path).get_online_features(["bird_weight:nickname"], [{"bird_id": NOBODY}])


@pytest.mark.parametrize("evicting", ["allkeys-lru"], indirect=True)
def test_a_redis_that_was_started_anew_has_forgotten_what_it_evicted(evicting: Repo) -> None:
    """Its count begins at 0 again, so what was filled before, while rows could be evicted, is not taken for complete."""
    assert squeeze(evicting) > 0
    evicting.redis.kill()
    evicting.redis.options = ()
    evicting.redis.start()
    with watched(evicting) as client:
        assert answer(client, NOBODY) == "UNAVAILABLE"


@pytest.mark.parametrize("evicting", ["allkeys-lru"], indirect=True)
def test_what_had_been_counted_may_itself_be_evicted(evicting: Repo) -> None:
    """The baselines are a key like any other. Where they are gone and Redis was started anew, the view's mark still tells."""
    assert squeeze(evicting) > 0
    with redis.Redis(port=evicting.redis.port) as store:
        store.delete(redis_keys.evictions_key(evicting.store.project))
    with watched(evicting) as client:
        assert answer(client, NOBODY) == "UNAVAILABLE"
    evicting.redis.kill()
    evicting.redis.options = ()
    evicting.redis.start()
    with watched(evicting) as client:
        assert answer(client, NOBODY) == "UNAVAILABLE"


@pytest.mark.parametrize("evicting", ["volatile-lru", "noeviction"], indirect=True)
def test_policies_that_take_no_row_of_ours_are_no_reason_to_doubt(evicting: Repo) -> None:
    """Under `volatile-…` keys that expire are evicted, and ours never do; a full Redis refuses rows. NOT_FOUND stays true."""
    with redis.Redis(port=evicting.redis.port) as store:
        for number in range(100):
            store.set(f"another:{number}", "x" * 10_000, ex=3600)
    evicted = squeeze(evicting)
    with redis.Redis(port=evicting.redis.port) as store:
        assert (evicted > 0) == (store.config_get("maxmemory-policy")["maxmemory-policy"] == "volatile-lru")
    with watched(evicting) as client:
        assert (answer(client, NOBODY), answers(client)) == ("NOT_FOUND", {"PRESENT"})


@pytest.mark.parametrize("evicting", ["allkeys-lru"], indirect=True)
def test_an_evicting_redis_is_warned_of_at_every_door(
    evicting: Repo, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The server's start, `feast apply` and `pedigree doctor` name the policy and what to set; the doctor's command fails."""
    said = "it evicts rows when it is full (maxmemory-policy allkeys-lru"
    with caplog.at_level(logging.WARNING):
        evicting.store.apply([bird_weight])
        assert said in caplog.text
        caplog.clear()
        with watched(evicting):
            assert said in caplog.text
    monkeypatch.setenv("PEDIGREE_FEATURE_STORE_YAML", str(evicting.path))
    from pedigree.serving.settings import serving_settings

    serving_settings.cache_clear()
    try:
        result = CliRunner().invoke(doctor)
        assert said in result.output
        assert isinstance(result.exception, PedigreeError)
        with redis.Redis(port=evicting.redis.port) as store:
            store.config_set("maxmemory-policy", "noeviction")
        result = CliRunner().invoke(doctor)
        assert "ok  eviction of online store" in result.output
        assert "evicts no rows (noeviction)" in result.output
        evicting.redis.kill()
        assert "it does not answer" in CliRunner().invoke(doctor).output
    finally:
        serving_settings.cache_clear()


@pytest.mark.parametrize("evicting", ["allkeys-lru"], indirect=True)
def test_a_policy_that_is_changed_while_the_server_runs_is_noticed(
    evicting: Repo, caplog: pytest.LogCaptureFixture
) -> None:
    """The server looks every second, and says so when Redis begins to evict and when it ends to."""
    with redis.Redis(port=evicting.redis.port) as store, caplog.at_level(logging.INFO):
        store.config_set("maxmemory-policy", "noeviction")
        with watched(evicting):
            assert "evicts rows" not in caplog.text
            store.config_set("maxmemory-policy", "allkeys-random")
            wait_for(lambda: "it evicts rows when it is full (maxmemory-policy allkeys-random" in caplog.text)
            store.config_set("maxmemory-policy", "noeviction")
            wait_for(lambda: "evicts no rows any more" in caplog.text)


def memory(policy: str, evicted: int, run: str = "a") -> Memory:
    """What a Redis of one gigabyte says."""
    return Memory(run, policy, 2**30, evicted)


def test_what_may_have_been_evicted_is_judged_by_what_was_counted() -> None:
    """Same process, same count: nothing. More: rows, unless only keys that expire can go. Another process: nobody has counted."""
    safe, unsafe = Baseline.of([memory("noeviction", 3)]), Baseline.of([memory("allkeys-lru", 3)])
    assert not may_have_evicted(unsafe, memory("allkeys-lru", 3))
    assert may_have_evicted(unsafe, memory("allkeys-lru", 4))
    assert may_have_evicted(unsafe, memory("noeviction", 4))
    assert may_have_evicted(unsafe, memory("volatile-lru", 4))
    assert may_have_evicted(safe, memory("allkeys-lru", 4))
    assert may_have_evicted(safe, memory("noeviction", 4))
    assert not may_have_evicted(safe, memory("volatile-lru", 4))
    assert may_have_evicted(unsafe, memory("noeviction", 0, run="b"))
    assert may_have_evicted(safe, memory("allkeys-lru", 0, run="b"))
    assert not may_have_evicted(safe, memory("noeviction", 0, run="b"))
    assert may_have_evicted(None, memory("allkeys-lru", 1))
    assert not may_have_evicted(None, memory("allkeys-lru", 0))
    assert Baseline.read(unsafe.text().encode()) == unsafe
    assert policy_problem([Memory("a", "allkeys-lru", 0, 0)]) is None
    assert "may not use INFO" in str(policy_problem(None))
