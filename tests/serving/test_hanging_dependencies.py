"""Whatever hangs, what security needs goes on: keys are renewed, health and metrics answer, and a stop is not waited for."""

from __future__ import annotations

import os
import socket
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import grpc
import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from feast import FeatureService
from feast.permissions.action import AuthzedAction
from feast.permissions.permission import Permission
from feast.permissions.policy import RoleBasedPolicy
from grpc_health.v1 import health_pb2, health_pb2_grpc
from pydantic import SecretStr

from pedigree.lineage.settings import lineage_settings
from pedigree.online.feast_plugin import open_redis_store
from pedigree.online.plans.view_definitions import schema_of
from pedigree.online.records.record import Head, micros
from pedigree.online.store import redis_keys
from pedigree.online.store.load_state import Load
from pedigree.online.store.redis_store import RedisStore
from pedigree.serving.v1.pedigree_pb2 import ExplainRequest
from pedigree.serving.v1.value_pb2 import Value as OwnValue

from ..redis_server import wait_for
from .birds import FRESH, bird_weight, key, weights
from .conftest import Client, Repo, repository, running
from .feast_requests import by_name, features_request, refused
from .token_issuer import Issuer, issuing

DIET = features_request("diet", {"bird_id": [1]})
UNAUTHENTICATED = grpc.StatusCode.UNAUTHENTICATED
EXPLAIN = ExplainRequest(
    feature_service="diet", feature="bird_weight:weight_avg_1d", entity={"bird_id": OwnValue(int64_val=1)}
)
AT_ONCE = 40
"""Requests at once; more than a process has threads of any kind."""


@dataclass
class Silence:
    """A backend that takes connections and never answers."""

    port: int
    taken: int = 0


@contextmanager
def silence() -> Iterator[Silence]:
    """One, for as long as the block runs."""
    with socket.create_server(("127.0.0.1", 0), backlog=256) as server, ExitStack() as connections:
        made = Silence(server.getsockname()[1])

        def take() -> None:
            while True:
                try:
                    connection, _ = server.accept()
                except OSError:
                    return
                connections.enter_context(connection)
                made.taken += 1

        thread = threading.Thread(target=take)
        thread.start()
        try:
            yield made
        finally:
            server.shutdown(socket.SHUT_RDWR)
            thread.join()


def load_bird(redis_store: RedisStore, project: str) -> None:
    """Write bird 1 as a load does, so that there is a way back from it."""
    number = redis_store.begin(Load("bird_weight", "a-run", "file:///lake/bird_weight", 3))
    schema = schema_of(bird_weight)
    values = [value.SerializeToString() for value in weights(2.5, 3, "kiwi").values()]
    record = schema.pack(Head(micros(FRESH), None, number, schema.fingerprint), values)
    bird = key(bird_id=1).entity_values[0].SerializeToString()
    row = (redis_keys.entity_key(redis_keys.entity_prefix(project, ["bird_id"]), [bird]), record)
    redis_store.write(redis_keys.field("bird_weight", 0), [row])


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Repo]:
    """A repository with a permission, and a row that was loaded."""
    with repository(tmp_path_factory.mktemp("hanging")) as made:
        policy = RoleBasedPolicy(["reader"])
        actions = [AuthzedAction.READ_ONLINE]
        made.store.apply([Permission("all", types=[FeatureService], policy=policy, actions=actions)])
        redis_store = open_redis_store(made.store.config)
        load_bird(redis_store, made.store.project)
        redis_store.close()
        yield made


@pytest.fixture
def lineage(monkeypatch: pytest.MonkeyPatch) -> Iterator[Silence]:
    """The lineage backend of this process's settings hangs."""
    with silence() as made:
        monkeypatch.setenv("PEDIGREE_LINEAGE_URL", f"http://127.0.0.1:{made.port}")
        lineage_settings.cache_clear()
        yield made
    lineage_settings.cache_clear()


def bearing(token: str) -> dict[str, Any]:
    """How a call bears a token."""
    return {"metadata": (("authorization", f"Bearer {token}"),)}


def nickname(client: Client, token: str) -> object:
    """The nickname of bird 1, None where it is not told now."""
    try:
        return by_name(client.stub.GetOnlineFeatures(DIET, timeout=20, **bearing(token)))["nickname"][0].value
    except grpc.RpcError:
        return None


def explain(client: Client, token: str, *, seconds: float) -> list[Any]:
    """Many requests for the way back, under way."""
    call = client.channel.unary_unary(
        "/pedigree.serving.v1.FeatureService/Explain", request_serializer=ExplainRequest.SerializeToString
    )
    return [call.future(EXPLAIN, timeout=seconds, **bearing(token)) for _ in range(AT_ONCE)]


def is_ready(client: Client) -> bool:
    """What health says of `readiness`."""
    health = health_pb2_grpc.HealthStub(client.channel)
    reply = health.Check(health_pb2.HealthCheckRequest(service="readiness"), timeout=20)
    return bool(reply.status == health_pb2.HealthCheckResponse.SERVING)


def rotate(issuer: Issuer) -> None:
    """The issuer takes its key back, and has another one."""
    issuer.rsa_key, issuer.names = rsa.generate_private_key(65537, 2048), ("rsa-2", "ec-1")


def test_a_revoked_key_is_refused_while_lineage_hangs(guarded: Repo, lineage: Silence) -> None:
    """With every way back waiting for a backend that never answers, a key that is taken back is refused, health and a new plan
    are as ever, and a stop waits for none of it.
    """
    with (
        issuing() as issuer,
        running(guarded.settings(auth=issuer.auth(), plan_every=timedelta(seconds=0.05))) as client,
    ):
        old = issuer.token()
        wait_for(lambda: nickname(client, old) == "kiwi" and is_ready(client))
        waiting = explain(client, old, seconds=600)
        wait_for(lambda: lineage.taken >= 8)
        rotate(issuer)
        wait_for(lambda: nickname(client, issuer.token()) == "kiwi")
        assert refused(client.stub.GetOnlineFeatures, DIET, **bearing(old))[0] is UNAUTHENTICATED
        assert is_ready(client)
        guarded.store.apply([FeatureService(name="new", features=[bird_weight])])
        new = features_request("new", {"bird_id": [1]})
        wait_for(
            lambda: (
                not isinstance(
                    client.stub.GetOnlineFeatures.future(new, timeout=20, **bearing(issuer.token())).exception(),
                    grpc.RpcError,
                )
            )
        )
        for one in waiting:
            one.cancel()


def test_ways_back_beyond_the_threads_for_them_are_refused_at_once(guarded: Repo, lineage: Silence) -> None:
    """Those that find no thread for lineage are UNAVAILABLE, with the setting to look at; values are served meanwhile."""
    with issuing() as issuer, running(guarded.settings(auth=issuer.auth())) as client:
        token = issuer.token()
        wait_for(lambda: nickname(client, token) == "kiwi")
        waiting = explain(client, token, seconds=600)
        wait_for(lambda: sum(one.done() for one in waiting) == AT_ONCE - 8)
        errors = [one.exception() for one in waiting if one.done()]
        assert {one.code() for one in errors} == {grpc.StatusCode.UNAVAILABLE}
        assert all("PEDIGREE_LINEAGE_URL" in one.details() for one in errors)
        assert nickname(client, token) == "kiwi"
        for one in waiting:
            one.cancel()


def test_keys_that_cannot_be_read_hold_up_nothing(guarded: Repo, tmp_path: Path) -> None:
    """Where a read of the keys never ends, tokens are UNAVAILABLE after a while, health answers, and a stop waits for nothing."""
    source = tmp_path / "keys"
    os.mkfifo(source)
    with issuing() as issuer:
        auth = issuer.auth()
        hanging = type(auth)(SecretStr(str(source)), auth.issuer, auth.audience, keys_every=timedelta(seconds=0.1))
        with running(guarded.settings(auth=hanging)) as client:
            code, _ = refused(client.stub.GetOnlineFeatures, DIET, **bearing(issuer.token()))
            assert code is grpc.StatusCode.UNAVAILABLE
            assert not is_ready(client)
            health = health_pb2_grpc.HealthStub(client.channel)
            reply = health.Check(health_pb2.HealthCheckRequest(service="liveness"), timeout=20)
            assert reply.status == health_pb2.HealthCheckResponse.SERVING


def test_a_revoked_key_is_refused_while_redis_hangs(guarded: Repo) -> None:
    """With a store that stands still, with many reads waiting, a key that is taken back is refused."""
    with issuing() as issuer, running(guarded.settings(auth=issuer.auth())) as client:
        old = issuer.token()
        wait_for(lambda: nickname(client, old) == "kiwi")
        with guarded.redis.paused():
            reads = [client.stub.GetOnlineFeatures.future(DIET, timeout=20, **bearing(old)) for _ in range(AT_ONCE)]
            rotate(issuer)
            wait_for(lambda: refused(client.stub.GetOnlineFeatures, DIET, **bearing(old))[0] is UNAUTHENTICATED)
            assert {one.exception().code() for one in reads} <= {grpc.StatusCode.UNAVAILABLE, UNAUTHENTICATED}
        wait_for(lambda: nickname(client, issuer.token()) == "kiwi")


@pytest.mark.parametrize(
    "junk", [b"[" * 200_000, b'{"keys": ["rsa", 7, null]}', b'{"keys": {"kty": "RSA"}}', b"[1]", b"null", b"\xff"]
)
def test_junk_in_place_of_keys_leaves_the_last_good_ones(guarded: Repo, tmp_path: Path, junk: bytes) -> None:
    """Whatever a source of keys tells, tokens by the last good keys are taken; others are UNAUTHENTICATED, never INTERNAL."""
    source = tmp_path / "jwks.json"
    with issuing() as issuer:
        source.write_bytes(issuer.jwks())
        auth = issuer.auth()
        from_file = type(auth)(SecretStr(str(source)), auth.issuer, auth.audience, keys_every=timedelta(seconds=0.05))
        with running(guarded.settings(auth=from_file)) as client:
            wait_for(lambda: nickname(client, issuer.token()) == "kiwi")
            source.write_bytes(junk)
            code, _ = refused(client.stub.GetOnlineFeatures, DIET, **bearing(issuer.token(kid="who")))
            assert code is UNAUTHENTICATED
            assert nickname(client, issuer.token(sub="moa")) == "kiwi"
