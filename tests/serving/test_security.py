"""Who is answered: certificates, tokens, permissions, and what somebody could write into Redis."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import logging
import pickle
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from time import time
from typing import Any

import grpc
import jwt
import pytest
import redis
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from feast import FeatureService, FeatureView
from feast.permissions.action import AuthzedAction
from feast.permissions.permission import Permission
from feast.permissions.policy import GroupBasedPolicy, RoleBasedPolicy
from feast.protos.feast.serving.ServingService_pb2 import GetFeastServingInfoRequest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc
from pydantic import SecretStr

from pedigree.serving.v1.pedigree_pb2 import GetVectorsRequest, GetVectorsResponse

from ..redis_server import wait_for
from .conftest import Client, Repo, repository, running
from .feast_requests import by_name, features_request, refused
from .token_issuer import AUDIENCE, Issuer, issuing

DIET = features_request("diet", {"bird_id": [1]})
UNAUTHENTICATED, DENIED = grpc.StatusCode.UNAUTHENTICATED, grpc.StatusCode.PERMISSION_DENIED
READ = [AuthzedAction.READ_ONLINE]
PERMISSIONS = [
    Permission(
        "diet", types=[FeatureService], name_patterns=["diet"], policy=RoleBasedPolicy(["reader"]), actions=READ
    ),
    Permission(
        "birds", types=[FeatureView], name_patterns=["bird_.*"], policy=GroupBasedPolicy(["ecology"]), actions=READ
    ),
    Permission("broken", types=[FeatureView], name_patterns=["("], policy=RoleBasedPolicy(["reader"]), actions=READ),
    Permission("nobody", types=[FeatureView], policy=RoleBasedPolicy([]), actions=READ),
]


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Repo]:
    """A repository with permissions."""
    with repository(tmp_path_factory.mktemp("guarded")) as made:
        made.store.apply(PERMISSIONS)
        yield made


@pytest.fixture(scope="module")
def issuer() -> Iterator[Issuer]:
    """An issuer that answers throughout."""
    with issuing() as made:
        yield made


@pytest.fixture(scope="module")
def client(guarded: Repo, issuer: Issuer) -> Iterator[Client]:
    """A client of a server that takes the issuer's tokens."""
    with running(guarded.settings(auth=issuer.auth(), store_timeout=timedelta(seconds=5))) as connected:
        wait_for(lambda: nickname(connected, issuer.token()))
        yield connected


def bearing(token: str) -> dict[str, Any]:
    """How a call bears a token."""
    return {"metadata": (("authorization", f"Bearer {token}"),)}


def nickname(client: Client, token: str) -> object:
    """The nickname of bird 1, None where it is not told now."""
    try:
        return by_name(client.stub.GetOnlineFeatures(DIET, timeout=20, **bearing(token)))["nickname"][0].value
    except grpc.RpcError:
        return None


def refusal(client: Client, token: str, request: Any = DIET) -> tuple[grpc.StatusCode, str]:
    """What a call with a token ends with."""
    return refused(client.stub.GetOnlineFeatures, request, **bearing(token))


def b64(data: bytes) -> str:
    """As tokens have it."""
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def unsigned(issuer: Issuer, algorithm: str = "none") -> str:
    """A token that says the right things and has no signature."""
    header = {"alg": algorithm, "typ": "JWT", "kid": issuer.names[0]}
    return f"{b64(json.dumps(header).encode())}.{b64(json.dumps(issuer.claims()).encode())}."


def signed_with_the_public_key(issuer: Issuer) -> str:
    """A token whose HMAC has the public key as its secret."""
    secret = issuer.rsa_key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    signed = unsigned(issuer, "HS256").removesuffix(".")
    return f"{signed}.{b64(hmac.new(secret, signed.encode(), hashlib.sha256).digest())}"


def tampered(issuer: Issuer) -> str:
    """A good token into which somebody wrote another subject."""
    header, _, signature = issuer.token().split(".")
    return f"{header}.{b64(json.dumps(issuer.claims(sub='moa')).encode())}.{signature}"


def by_a_stranger(issuer: Issuer) -> str:
    """A token by a key of somebody else's, under the issuer's name of a key."""
    stranger = rsa.generate_private_key(65537, 2048)
    return jwt.encode(issuer.claims(), stranger, algorithm="RS256", headers={"kid": issuer.names[0]})


WRONG: dict[str, Callable[[Issuer], str]] = {
    "expired": lambda issuer: issuer.token(exp=int(time()) - 1),
    "without an expiry": lambda issuer: issuer.token(exp=None),
    "not valid yet": lambda issuer: issuer.token(nbf=int(time()) + 300),
    "for another audience": lambda issuer: issuer.token(aud="somebody-else"),
    "without an audience": lambda issuer: issuer.token(aud=None),
    "of another issuer": lambda issuer: issuer.token(iss="https://evil.example"),
    "of nobody": lambda issuer: issuer.token(iss=None),
    "that names nobody": lambda issuer: issuer.token(sub=None),
    "unsigned": unsigned,
    "unsigned, and says RS256": lambda issuer: unsigned(issuer, "RS256"),
    "signed with the public key": signed_with_the_public_key,
    "tampered": tampered,
    "by a stranger": by_a_stranger,
    "by a key that nobody knows": lambda issuer: issuer.token(kid="who"),
    "by an algorithm that is not taken": lambda issuer: issuer.token(algorithm="RS512"),
    "garbage": lambda _: "a.b.c",
    "empty": lambda _: "",
}


@pytest.mark.parametrize("wrong", WRONG)
def test_a_wrong_token_is_refused_and_nothing_of_it_told(
    client: Client, issuer: Issuer, wrong: str, caplog: pytest.LogCaptureFixture
) -> None:
    """Each wrong token is UNAUTHENTICATED by one and the same message; neither it nor the log has anything of the token."""
    token = WRONG[wrong](issuer)
    with caplog.at_level(logging.DEBUG, logger="serving"):
        code, details = refusal(client, token)
    assert code is UNAUTHENTICATED
    assert details == refused(client.stub.GetOnlineFeatures, DIET)[1]
    parts = [part for part in token.split(".") if len(part) > 8]
    assert not [part for part in parts if part in details or part in caplog.text]


def test_two_tokens_are_none(client: Client, issuer: Issuer) -> None:
    """A request with two tokens is refused: nobody knows which one was meant."""
    twice = tuple(("authorization", f"Bearer {issuer.token(sub=sub)}") for sub in ("kiwi", "moa"))
    assert refused(client.stub.GetOnlineFeatures, DIET, metadata=twice)[0] is UNAUTHENTICATED


@pytest.mark.parametrize("algorithm", ["RS256", "ES256"])
def test_a_right_token_is_answered_by_every_rpc(client: Client, issuer: Issuer, algorithm: str) -> None:
    """A token that is right is answered: features, vectors and the version; without one none of them is."""
    token = issuer.token(algorithm=algorithm)
    assert nickname(client, token) == "kiwi"
    vectors = client.channel.unary_unary(
        "/pedigree.serving.v1.FeatureService/GetVectors",
        request_serializer=GetVectorsRequest.SerializeToString,
        response_deserializer=GetVectorsResponse.FromString,
    )
    request = GetVectorsRequest(feature_service="calendar")
    info = GetFeastServingInfoRequest()
    assert client.stub.GetFeastServingInfo(info, timeout=20, **bearing(token)).version
    assert refused(client.stub.GetFeastServingInfo, info)[0] is UNAUTHENTICATED
    assert refused(vectors, request)[0] is UNAUTHENTICATED
    assert refused(vectors, request, **bearing(token))[0] is DENIED


@pytest.mark.parametrize(
    "claims",
    [
        {"roles": ["reader"]},
        {"roles": None, "realm_access": {"roles": ["reader"]}},
        {"roles": None, "resource_access": {AUDIENCE: {"roles": ["reader"]}}},
        {"roles": [], "groups": ["ecology"]},
    ],
)
def test_whom_a_permission_names_may_read(client: Client, issuer: Issuer, claims: dict[str, Any]) -> None:
    """A role (where Keycloak tells it too) that a permission for the service names lets in; so do permissions for all views."""
    assert nickname(client, issuer.token(**claims)) == "kiwi"


@pytest.mark.parametrize(
    ("claims", "what"),
    [
        ({"roles": []}, "diet"),
        ({"roles": "reader"}, "diet"),
        ({"roles": [], "resource_access": {"another": {"roles": ["reader"]}}}, "diet"),
        ({"roles": ["reader"]}, "calendar"),
        ({"roles": ["reader"]}, ["bird_weight:nickname"]),
        ({"roles": [], "groups": ["ecology"]}, "travel"),
        ({"roles": [], "groups": ["ecology"]}, ["bird_weight:nickname", "season:month_name"]),
        ({"roles": ["reader"]}, "no_such_service"),
        ({"roles": ["reader"]}, ["no_such_view:nickname"]),
    ],
)
def test_what_no_permission_names_is_denied(client: Client, issuer: Issuer, claims: dict[str, Any], what: Any) -> None:
    """Without a permission for the service or all its views, or for each view: PERMISSION_DENIED, and so for unknown names."""
    code, details = refusal(client, issuer.token(**claims), features_request(what, {"bird_id": [1]}))
    assert (code, "that you may read" in details) == (DENIED, True)


def test_who_was_denied_is_in_the_log(client: Client, issuer: Issuer, caplog: pytest.LogCaptureFixture) -> None:
    """A line of a refused request names the subject of the token, and nothing else of it."""
    token = issuer.token(sub="kea@example.org", roles=[])
    with caplog.at_level(logging.INFO):
        refusal(client, token)
    [line] = [one.getMessage() for one in caplog.records if one.name.endswith("refusal_log")]
    assert line.startswith("refused 'subject:kea@example.org' with PERMISSION_DENIED (permission): ")
    assert not [part for part in token.split(".") if part in line]


def test_views_are_read_by_reference_with_permissions_for_each(client: Client, issuer: Issuer) -> None:
    """References to views that a group may read are answered to it."""
    token = issuer.token(roles=[], groups=["ecology"])
    both = features_request(
        ["bird_weight:nickname", "bird_on_island:visit_count_7d"], {"bird_id": [1], "island_code": ["NI"]}
    )
    answer = by_name(client.stub.GetOnlineFeatures(both, timeout=20, **bearing(token)))
    assert [answer[name][0].value for name in ("nickname", "visit_count_7d")] == ["kiwi", 7]


def test_health_needs_no_token_and_reflection_is_off(client: Client) -> None:
    """Where tokens are asked for, an orchestrator still sees health, and nobody is told what there is."""
    health = health_pb2_grpc.HealthStub(client.channel)
    assert health.Check(health_pb2.HealthCheckRequest(), timeout=20).status == health_pb2.HealthCheckResponse.SERVING
    reflection = reflection_pb2_grpc.ServerReflectionStub(client.channel)
    with pytest.raises(grpc.RpcError) as caught:
        list(reflection.ServerReflectionInfo(iter([reflection_pb2.ServerReflectionRequest(list_services="")])))
    assert caught.value.code() is grpc.StatusCode.UNIMPLEMENTED


def test_a_verified_token_is_refused_once_it_has_expired(client: Client, issuer: Issuer) -> None:
    """What is kept of a verified token is kept until it expires, and no longer."""
    token = issuer.token(exp=int(time()) + 2)
    assert nickname(client, token) == "kiwi"
    wait_for(lambda: nickname(client, token) is None)
    assert refusal(client, token)[0] is UNAUTHENTICATED


def test_keys_are_looked_for_at_a_bounded_rate_and_follow_the_issuer(guarded: Repo) -> None:
    """Tokens by unknown keys make few looks; a new key is taken up, and tokens by one that is gone are refused, kept or not."""
    with issuing() as issuer, running(guarded.settings(auth=issuer.auth())) as client:
        old = issuer.token()
        wait_for(lambda: nickname(client, old))
        before, began = issuer.asked, time()
        assert {refusal(client, issuer.token(kid=f"who-{one}"))[0] for one in range(100)} == {UNAUTHENTICATED}
        assert issuer.asked - before <= (time() - began) / 0.2 + 2
        issuer.rsa_key, issuer.names = rsa.generate_private_key(65537, 2048), ("rsa-2", "ec-1")
        wait_for(lambda: nickname(client, issuer.token()) == "kiwi")
        assert refusal(client, old)[0] is UNAUTHENTICATED


def test_without_keys_nobody_is_answered_until_there_are_some(guarded: Repo) -> None:
    """A server that never had a key set says UNAVAILABLE and is not ready; once it has one it keeps it."""
    with issuing() as issuer:
        issuer.is_down = True
        with running(guarded.settings(auth=issuer.auth())) as client:
            health = health_pb2_grpc.HealthStub(client.channel)
            ready = health_pb2.HealthCheckRequest(service="readiness")
            assert refusal(client, issuer.token())[0] is grpc.StatusCode.UNAVAILABLE
            assert health.Check(ready, timeout=20).status == health_pb2.HealthCheckResponse.NOT_SERVING
            issuer.is_down = False
            wait_for(lambda: nickname(client, issuer.token()) == "kiwi")
            issuer.is_down = True
            assert nickname(client, issuer.token(sub="moa")) == "kiwi"
            assert refusal(client, issuer.token(kid="who"))[0] is UNAUTHENTICATED
            wait_for(lambda: health.Check(ready).status == health_pb2.HealthCheckResponse.SERVING)


def test_keys_may_come_from_a_file(guarded: Repo, issuer: Issuer, tmp_path: Path) -> None:
    """A key set in a file is as good as one at a URL; a secret in it is no key."""
    path = tmp_path / "jwks.json"
    secret = {"kty": "oct", "k": b64(b"x" * 32), "kid": "secret"}
    path.write_text(json.dumps({"keys": [secret, *json.loads(issuer.jwks())["keys"]]}))
    auth = issuer.auth()
    settings = guarded.settings(auth=type(auth)(SecretStr(str(path)), auth.issuer, auth.audience))
    with running(settings) as client:
        wait_for(lambda: nickname(client, issuer.token()) == "kiwi")
        forged = jwt.encode(issuer.claims(), b"x" * 32, algorithm="HS256", headers={"kid": "secret"})
        assert refusal(client, forged)[0] is UNAUTHENTICATED


class Trap:
    """Unpickling one writes a file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> Any:
        return (Path.touch, (self.path,))


def poisons(good: bytes, trap: bytes) -> list[bytes]:
    """What somebody could write over the plan."""
    text = trap.decode("latin1")
    plan = json.loads(good)
    view = plan["views"]["bird_weight"]
    return [
        trap,
        b"\xff\x00garbage",
        b"",
        b"[" * 100_000,
        json.dumps(text).encode(),
        json.dumps({**plan, "views": text}).encode(),
        json.dumps({**plan, "permissions": text}).encode(),
        json.dumps({**plan, "project": text}).encode(),
        json.dumps({**plan, "views": {"bird_weight": {**view, "stored": [[text]]}}}).encode(),
        json.dumps({**plan, "views": {"bird_weight": {**view, "ttl_us": 10**30}}}).encode(),
        json.dumps({**plan, "views": {"bird_weight": {**view, "ttl_us": float("inf")}}}).encode(),
        json.dumps({**plan, "services": {"diet": {"views": [], "refused": {"bird_weight": text}}}}).encode(),
    ]


def test_a_poisoned_plan_runs_no_code_and_the_last_good_one_stays(own_repo: Repo, tmp_path: Path) -> None:
    """Whatever is written over the plan, requests are answered by the last good one, and no pickle in it is opened."""
    mark = tmp_path / "ran"
    trap = pickle.dumps(Trap(mark))
    settings = own_repo.settings(plan_every=timedelta(seconds=0.02), plan_file=tmp_path / "plan.json")
    with redis.Redis(port=own_repo.redis.port) as store, running(settings) as client:
        good = store.get("flightless:plan")
        try:
            for poison in poisons(good, trap):
                store.set("flightless:plan", poison)
                reads = store.info("commandstats")["cmdstat_get"]["calls"]
                wait_for(lambda reads=reads: store.info("commandstats")["cmdstat_get"]["calls"] >= reads + 3)
                assert by_name(client.stub.GetOnlineFeatures(DIET, timeout=20))["nickname"][0].value == "kiwi"
            assert (tmp_path / "plan.json").read_bytes() == good
        finally:
            store.set("flightless:plan", good)
    assert not mark.exists()


def test_strings_of_a_plan_are_strings(own_repo: Repo, tmp_path: Path) -> None:
    """A plan that can be read, with pickles for texts, is served by as text: the pickles are names, and nobody opens them."""
    mark = tmp_path / "ran"
    text = pickle.dumps(Trap(mark), protocol=0).decode("latin1")
    settings = own_repo.settings(plan_every=timedelta(seconds=0.02), plan_file=tmp_path / "plan.json")
    with redis.Redis(port=own_repo.redis.port) as store, running(settings) as client:
        good = store.get("flightless:plan")
        plan = json.loads(good)
        plan["services"][text] = plan["services"]["diet"]
        plan["tags"] = {text: {text: text}}
        try:
            store.set("flightless:plan", json.dumps(plan))
            wait_for(lambda: told_nickname(client, text) == "kiwi")
        finally:
            store.set("flightless:plan", good)
    assert not mark.exists()


def told_nickname(client: Client, service: str) -> object:
    """The nickname of bird 1 by a service, None where it is not known yet."""
    try:
        return by_name(client.stub.GetOnlineFeatures(features_request(service, {"bird_id": [1]}), timeout=20))[
            "nickname"
        ][0].value
    except grpc.RpcError:
        return None
