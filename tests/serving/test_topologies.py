"""Redis as people run it: a cluster, sentinels, TLS, users who may see only their own keys. Feast writes, the server reads."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import grpc
import pytest
import redis
from feast import FeatureStore
from grpc_health.v1 import health_pb2

from pedigree.online.errors import StoreAwayError
from pedigree.online.feast_plugin import PedigreeOnlineStore
from pedigree.online.row_encoder import key_of
from pedigree.online.store import redis_keys
from pedigree.serving.errors import StoreUnreachableError
from pedigree.serving.worker import listening

from ..redis_server import RedisServer, wait_for
from ..redis_topologies import Cluster, Watched, clustered, started, watched, with_tls
from .birds import FRESH, bird_weight, key, weights, write
from .conftest import Client, Repo, filled, running
from .feast_requests import by_name, features_request, refused
from .test_store_faults import health_of
from .token_issuer import Authority

ALL = features_request("diet", {"bird_id": [1, 2, 3, 4, 404]})
NICKNAMES = ["kiwi", None, "ostrich", None, None]


def nicknames(client: Client) -> list[Any]:
    """The nicknames of all birds."""
    return [one.value for one in by_name(client.stub.GetOnlineFeatures(ALL, timeout=20))["nickname"]]


def is_right(client: Client) -> bool:
    """Whether the server answers; that it cannot is the only other thing that it may say."""
    try:
        assert nicknames(client) == NICKNAMES
    except grpc.RpcError as error:
        assert error.code() is grpc.StatusCode.UNAVAILABLE, error  # noqa: PT017 - the call may also succeed
        return False
    return True


def stored(number: int) -> bytes:
    """The key of a bird's hash."""
    return key_of("flightless", key(bird_id=number))


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    with clustered(tmp_path_factory.mktemp("cluster")) as made:
        yield made


@pytest.fixture(scope="module")
def in_cluster(cluster: Cluster, tmp_path_factory: pytest.TempPathFactory) -> Repo:
    """A repository whose store is a cluster."""
    folder = tmp_path_factory.mktemp("repo")
    return filled(folder, cluster.nodes[0], cluster.address, redis_type="redis_cluster")


def test_a_cluster_is_written_and_read(in_cluster: Repo, cluster: Cluster) -> None:
    """Rows lie on several masters, and Feast's own read and the server's both find them, by one host's name as well."""
    assert len({cluster.node_of(stored(number)).port for number in range(1, 5)}) > 1
    found = in_cluster.store.get_online_features(["bird_weight:nickname"], [{"bird_id": 1}, {"bird_id": 3}])
    assert found.to_dict()["nickname"] == ["kiwi", "ostrich"]
    one_host = at(in_cluster, cluster.address, f"127.0.0.1:{cluster.nodes[2].port}")
    for repo in (in_cluster, one_host):
        with running(repo.settings()) as client:
            assert nicknames(client) == NICKNAMES


def test_a_slot_that_moves_is_followed(in_cluster: Repo, cluster: Cluster) -> None:
    """While a slot moves and after it has, each read is right, by the old master's word and by the new one's; writes too."""
    bird = stored(1)
    target = next(node for node in cluster.nodes if node is not cluster.node_of(bird))
    with running(in_cluster.settings()) as client:
        assert nicknames(client) == NICKNAMES
        cluster.start_moving(bird, target)
        assert nicknames(client) == NICKNAMES
        cluster.move_keys(bird, target)
        assert nicknames(client) == NICKNAMES
        write(in_cluster.store, bird_weight, [(key(bird_id=1), weights(2.5, 3, "kiwi"), FRESH + timedelta(seconds=1))])
        cluster.end_moving(bird, target)
        assert nicknames(client) == NICKNAMES
        wait_for(lambda: cluster.node_of(bird) is target)
        assert nicknames(client) == NICKNAMES


def test_what_is_loaded_is_read_behind_the_rows(in_cluster: Repo, cluster: Cluster) -> None:
    """The master that knows what is loaded is asked only once the rows have come, although it is another than theirs."""
    marks = cluster.node_of(redis_keys.marks_key("flightless"))
    number = next(number for number in range(1, 5) if cluster.node_of(stored(number)) is not marks)
    patient = in_cluster.settings(store_timeout=timedelta(seconds=20), deadline=timedelta(seconds=20))
    with running(patient) as client, redis.Redis(port=marks.port) as node:
        assert nicknames(client) == NICKNAMES
        before = reads_of(node)
        with cluster.node_of(stored(number)).paused():
            call = client.stub.GetOnlineFeatures.future(features_request("diet", {"bird_id": [number]}), timeout=20)
            wait_for(lambda: client.reads() == 1)
            with pytest.raises(grpc.FutureTimeoutError):
                call.result(timeout=0.3)
            assert reads_of(node) == before
        assert by_name(call.result())["nickname"][0].value == NICKNAMES[number - 1]
        assert reads_of(node) == before + 1


def reads_of(node: redis.Redis) -> int:
    """How many hashes a node was asked for."""
    stats: Any = node.info("commandstats")
    return int(stats.get("cmdstat_hmget", {"calls": 0})["calls"])


def test_a_master_that_stands_still_is_unavailable_and_nothing_is_mixed_up(in_cluster: Repo, cluster: Cluster) -> None:
    """While one of three masters is paused each read ends UNAVAILABLE; when it goes on, each reply is its caller's own."""
    with running(in_cluster.settings()) as client:
        assert nicknames(client) == NICKNAMES
        with cluster.node_of(stored(1)).paused():
            ends = [client.stub.GetOnlineFeatures.future(ALL) for _ in range(50)]
            assert {one.exception(timeout=20).code() for one in ends} == {grpc.StatusCode.UNAVAILABLE}
            assert health_of(client, "liveness") == health_pb2.HealthCheckResponse.SERVING
        wait_for(lambda: is_right(client))
        for number, nickname in enumerate(NICKNAMES[:3], 1):
            asked = features_request("diet", {"bird_id": [number] * 3})
            assert [one.value for one in by_name(client.stub.GetOnlineFeatures(asked))["nickname"]] == [nickname] * 3


def test_a_master_that_is_gone_is_unavailable_until_it_is_back(in_cluster: Repo, cluster: Cluster) -> None:
    """With a master killed no read is answered wrong; the server says that it is not ready, and is when the master is back."""
    node = cluster.node_of(stored(1))
    with running(in_cluster.settings()) as client:
        wait_for(lambda: health_of(client, "readiness") == health_pb2.HealthCheckResponse.SERVING)
        node.kill()
        try:
            assert refused(client.stub.GetOnlineFeatures, ALL)[0] is grpc.StatusCode.UNAVAILABLE
            wait_for(lambda: health_of(client, "readiness") == health_pb2.HealthCheckResponse.NOT_SERVING)
            assert not is_right(client)
        finally:
            node.start()
        wait_for(lambda: is_right(client))
        wait_for(lambda: health_of(client, "readiness") == health_pb2.HealthCheckResponse.SERVING)


def test_a_replica_that_takes_over_is_read(tmp_path: Path) -> None:
    """When a master of a cluster dies and its replica takes its slots, reads and writes go there, as those say that are left."""
    with clustered(tmp_path / "cluster", replicated=True) as cluster:
        repo = filled(tmp_path, cluster.nodes[0], cluster.address, redis_type="redis_cluster")
        with running(repo.settings()) as client:
            assert nicknames(client) == NICKNAMES
            node = cluster.node_of(stored(1))
            node.kill()
            wait_for(lambda: cluster.node_of(stored(1)) is not node)
            wait_for(lambda: is_right(client))
            write(repo.store, bird_weight, [(key(bird_id=1), weights(2.5, 3, "rowi"), FRESH + timedelta(seconds=1))])
            assert nicknames(client) == ["rowi", *NICKNAMES[1:]]


def test_a_cluster_is_reached_by_tls(tmp_path: Path) -> None:
    """Every node is written and read through TLS, by a URL that names one of them."""
    authority = Authority(tmp_path)
    (tmp_path / "own_ca.pem").write_bytes(authority.own)
    with clustered(tmp_path / "cluster", tls=authority.server_files()) as cluster:
        url = f"rediss+cluster://127.0.0.1:{cluster.announced[0]}?ssl_ca_certs={tmp_path}/own_ca.pem"
        repo = filled(tmp_path, cluster.nodes[0], url)
        assert len({cluster.node_of(stored(number)).port for number in range(1, 5)}) > 1
        with running(repo.settings()) as client:
            assert nicknames(client) == NICKNAMES


@pytest.fixture
def sentinel(tmp_path: Path) -> Iterator[Watched]:
    with watched(tmp_path) as made:
        yield made


def test_a_new_master_is_written_and_read(sentinel: Watched, tmp_path: Path) -> None:
    """When the master dies the sentinel's word is followed: the server reads the replica that took over; writes go there too."""
    repo = filled(tmp_path, sentinel.master, f"redis+sentinel://127.0.0.1:{sentinel.sentinel}/birds")
    sentinel.wait_for_replica()
    with running(repo.settings()) as client:
        assert nicknames(client) == NICKNAMES
        sentinel.master.kill()
        assert not is_right(client)
        wait_for(lambda: sentinel.master_port() == sentinel.replica.port)
        wait_for(lambda: is_right(client))
        write(repo.store, bird_weight, [(key(bird_id=1), weights(2.5, 3, "tokoeka"), FRESH + timedelta(seconds=1))])
        assert nicknames(client) == ["tokoeka", *NICKNAMES[1:]]


def test_a_master_that_was_replaced_while_it_lived_is_left(sentinel: Watched, tmp_path: Path) -> None:
    """After a failover by hand the old master goes on as a replica; the server reads the new one, and no stale rows."""
    address = f"127.0.0.1:{sentinel.sentinel}"
    repo = filled(tmp_path, sentinel.master, address, redis_type="redis_sentinel", sentinel_master="birds")
    sentinel.wait_for_replica()
    with running(repo.settings()) as client:
        assert nicknames(client) == NICKNAMES
        with redis.Redis(port=sentinel.sentinel) as told_to:
            told_to.execute_command("SENTINEL", "FAILOVER", "birds")
        wait_for(lambda: sentinel.master_port() == sentinel.replica.port)
        wait_for(lambda: is_right(client))
        write(repo.store, bird_weight, [(key(bird_id=1), weights(2.5, 3, "rowi"), FRESH + timedelta(seconds=1))])
        wait_for(lambda: nicknames(client)[0] == "rowi")


def test_a_sentinel_that_wants_a_password_is_given_it(tmp_path: Path) -> None:
    """With the sentinel's own password rows are written and read; without it both sides say what is wrong."""
    with watched(tmp_path, password="hush") as guarded:
        url = f"redis+sentinel://127.0.0.1:{guarded.sentinel}/birds"
        repo = filled(tmp_path, guarded.master, f"{url}?sentinel_password=hush")
        with running(repo.settings()) as client:
            assert nicknames(client) == NICKNAMES
        unknown = at(repo, "?sentinel_password=hush", "")
        assert "names a master 'birds': auth:AuthenticationError" in started_error(unknown)
        with pytest.raises(StoreAwayError, match="cannot be written: auth:AuthenticationError"):
            publish(unknown)


@pytest.mark.parametrize("mutual", [False, True], ids=["TLS", "with a certificate of our own"])
def test_the_store_is_reached_by_tls(tmp_path: Path, *, mutual: bool) -> None:
    """Rows are written and read through TLS; where Redis wants a client's certificate, both show theirs."""
    authority = Authority(tmp_path)
    tls = authority.server_files(mutual=mutual)
    (tmp_path / "own_ca.pem").write_bytes(authority.own)
    own = ""
    if mutual:
        for name, text in zip(("own_key.pem", "own_cert.pem"), authority.pair("features"), strict=True):
            (tmp_path / name).write_bytes(text)
        own = f"&ssl_certfile={tmp_path}/own_cert.pem&ssl_keyfile={tmp_path}/own_key.pem"
    with started(tmp_path / "redis") as server, with_tls(server.port, tls) as port:
        url = f"rediss://127.0.0.1:{port}?ssl_ca_certs={tmp_path}/own_ca.pem{own}"
        repo = filled(tmp_path, server, url)
        with running(repo.settings()) as client:
            assert nicknames(client) == NICKNAMES
        unchecked = at(repo, url, f"127.0.0.1:{port},ssl=true,ssl_cert_reqs=none")
        if mutual:
            assert "cannot be read" in started_error(unchecked)
        else:
            publish(unchecked)
            with running(unchecked.settings()) as client:
                assert nicknames(client) == NICKNAMES


def at(repo: Repo, old: str, new: str) -> Repo:
    """The same repository with something else in its configuration, and no plan from an earlier start."""
    folder = repo.path.parent / str(len(list(repo.path.parent.iterdir())))
    folder.mkdir()
    path = folder / "feature_store.yaml"
    text = repo.path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))
    return replace(repo, path=path)


def started_error(repo: Repo) -> str:
    """The sentence with which a server of a repository does not start."""

    async def start() -> None:
        async with listening(repo.settings()):
            raise AssertionError("it started")

    with pytest.raises(StoreUnreachableError) as caught:
        asyncio.run(start())
    return str(caught.value)


def test_an_authority_that_is_not_redis_s_is_refused_and_said(tmp_path: Path) -> None:
    """With the wrong authority neither `feast apply` nor the server takes Redis for what it is not; both say what is wrong."""
    authority, stranger = Authority(tmp_path), tmp_path / "stranger.pem"
    stranger.write_bytes(Authority(tmp_path).own)
    (tmp_path / "own_ca.pem").write_bytes(authority.own)
    tls = authority.server_files()
    with started(tmp_path / "redis") as server, with_tls(server.port, tls) as port:
        repo = filled(tmp_path, server, f"rediss://127.0.0.1:{port}?ssl_ca_certs={tmp_path}/own_ca.pem")
        wrong = at(repo, f"{tmp_path}/own_ca.pem", str(stranger))
        with pytest.raises(StoreAwayError, match="certificate verify failed"):
            publish(wrong)
        assert "certificate verify failed" in started_error(wrong)
        plain = at(repo, "rediss:", "redis:")
        assert "cannot be read: the connection is gone" in started_error(plain)


def publish(repo: Repo) -> None:
    """What `feast apply` does at the online store."""
    store = FeatureStore(fs_yaml_file=repo.path)
    PedigreeOnlineStore().update(store.config, [], [bird_weight], [], [], partial=True)


@pytest.fixture
def guarded(tmp_path: Path) -> Iterator[RedisServer]:
    """A Redis where one user may fill the project's keys, one may read them, and nobody else anything."""
    with started(tmp_path / "redis") as server:
        with redis.Redis(port=server.port) as admin:
            for user in (
                "filler on >fi,ll@er ~flightless:* +@all -@admin -@dangerous",
                "reader on >re:ad@er ~flightless:* +hmget +get +exists",
                "default off",
            ):
                admin.execute_command("ACL", "SETUSER", *user.split())
        yield server


def test_a_user_may_have_only_the_keys_of_its_project(guarded: RedisServer, tmp_path: Path) -> None:
    """One user fills a project, one reads it, each with no more rights than that; other keys are refused to both."""
    filler = f"redis://filler:fi%2Cll%40er@127.0.0.1:{guarded.port}"
    repo = filled(tmp_path, guarded, filler)
    reading = at(repo, filler, f"127.0.0.1:{guarded.port},username=reader,password=re:ad@er")
    with running(reading.settings()) as client:
        assert nicknames(client) == NICKNAMES
        wait_for(lambda: health_of(client, "readiness") == health_pb2.HealthCheckResponse.SERVING)
    with pytest.raises(StoreAwayError, match="no permissions"):
        publish(reading)
    for one in (repo, reading):
        other = at(one, "project: flightless", "project: strange")
        assert "NOPERM" in started_error(other)
    with pytest.raises(StoreAwayError, match="no permissions to access one of the keys"):
        publish(at(repo, "project: flightless", "project: strange"))
    nobody = at(repo, filler, f"127.0.0.1:{guarded.port},username=reader,password=wrong")
    assert "WRONGPASS" in started_error(nobody)
    with pytest.raises(StoreAwayError, match="invalid username-password pair"):
        publish(nobody)


def test_users_of_a_cluster_have_no_more_rights_than_they_need(in_cluster: Repo, cluster: Cluster) -> None:
    """In a cluster who fills and who reads need the slots beside what they need of a single Redis, and nothing else."""
    users = (
        "filler on >fill ~flightless:* +@all -@admin -@dangerous +cluster|slots",
        "reader on >read ~flightless:* +hmget +get +exists +cluster|slots +asking",
    )
    for node in cluster.nodes:
        with redis.Redis(port=node.port) as admin:
            for user in users:
                admin.execute_command("ACL", "SETUSER", *user.split())
    filling, reading = (
        at(in_cluster, f'"{cluster.address}"', f'"redis+cluster://{who}@{cluster.address}"')
        for who in ("filler:fill", "reader:read")
    )
    publish(filling)
    write(FeatureStore(fs_yaml_file=filling.path), bird_weight, [(key(bird_id=7), weights(1.0, 1, "rowi"), FRESH)])
    with running(reading.settings()) as client:
        assert (
            by_name(client.stub.GetOnlineFeatures(features_request("diet", {"bird_id": [7, 1]})))["nickname"][0].value
            == "rowi"
        )
