"""What happens while the online store stands still, is gone, or comes back."""

from __future__ import annotations

from datetime import timedelta

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc

from pedigree.serving.settings import RequestLimits

from ..redis_server import wait_for
from .conftest import Client, Repo, running
from .feast_requests import by_name, features_request, refused

SERVING = health_pb2.HealthCheckResponse.SERVING
PATIENT = {"store_timeout": timedelta(seconds=60), "deadline": timedelta(seconds=60)}

DIET = features_request("diet", {"bird_id": [1]})


def nickname(client: Client) -> object:
    """The nickname of bird 1."""
    return by_name(client.stub.GetOnlineFeatures(DIET, timeout=20))["nickname"][0].value


def is_answered(client: Client) -> bool:
    """Whether the server answers; UNAVAILABLE is the only other thing that it may say."""
    try:
        return nickname(client) == "kiwi"
    except grpc.RpcError as error:
        assert error.code() is grpc.StatusCode.UNAVAILABLE, error  # noqa: PT017 - the call may also succeed
        return False


def health_of(client: Client, name: str) -> object:
    """What health says of `name`."""
    stub = health_pb2_grpc.HealthStub(client.channel)
    return stub.Check(health_pb2.HealthCheckRequest(service=name), timeout=20).status


def test_a_paused_store_is_unavailable_health_goes_on_and_service_comes_back(own_repo: Repo) -> None:
    """While Redis stands still requests end UNAVAILABLE and health stays SERVING; when it goes on, so do the answers."""
    with running(own_repo.settings()) as client:
        assert nickname(client) == "kiwi"
        with own_repo.redis.paused():
            for _ in range(3):
                assert refused(client.stub.GetOnlineFeatures, DIET) == (
                    grpc.StatusCode.UNAVAILABLE,
                    "The online store does not answer. Nothing was changed; try again.",
                )
                assert health_of(client, "liveness") == SERVING
        wait_for(lambda: is_answered(client))
        wait_for(lambda: client.reads() == 0)


def test_many_requests_to_a_paused_store_all_end_and_leave_nothing_mixed_up(own_repo: Repo) -> None:
    """A hundred requests given up while Redis stood still leave no reply behind that a later request could take for its own."""
    with running(
        own_repo.settings(limits=RequestLimits(waiting=200))
    ) as client:  # else gRPC refuses some before they are read
        assert nickname(client) == "kiwi"
        with own_repo.redis.paused():
            abandoned = [
                client.stub.GetOnlineFeatures.future(features_request("diet", {"bird_id": [3]})) for _ in range(100)
            ]
            assert {one.exception(timeout=20).code() for one in abandoned} == {grpc.StatusCode.UNAVAILABLE}
        wait_for(lambda: is_answered(client))
        assert {nickname(client) for _ in range(100)} == {"kiwi"}


def test_the_server_s_own_deadline_is_kept_when_the_caller_names_none(own_repo: Repo) -> None:
    """A request without a deadline ends DEADLINE_EXCEEDED when the server's own has passed."""
    with running(own_repo.settings(deadline=timedelta(seconds=0.2), store_timeout=timedelta(seconds=60))) as client:
        with own_repo.redis.paused():
            future = client.stub.GetOnlineFeatures.future(DIET)
            error = future.exception(timeout=20)
        assert error.code() is grpc.StatusCode.DEADLINE_EXCEEDED
        wait_for(lambda: client.reads() == 0)


def test_a_caller_s_deadline_ends_the_read(own_repo: Repo) -> None:
    """When the caller's deadline passes it reads DEADLINE_EXCEEDED, and the server stops reading for it."""
    with running(own_repo.settings(**PATIENT)) as client, own_repo.redis.paused():
        future = client.stub.GetOnlineFeatures.future(DIET, timeout=0.5)
        assert future.exception(timeout=20).code() is grpc.StatusCode.DEADLINE_EXCEEDED
        wait_for(lambda: client.reads() == 0)


def test_a_cancelled_request_cancels_its_read(own_repo: Repo) -> None:
    """A read is under way until the caller cancels its request, and then no longer."""
    with running(own_repo.settings(**PATIENT)) as client, own_repo.redis.paused():
        future = client.stub.GetOnlineFeatures.future(DIET)
        wait_for(lambda: client.reads() == 1)
        future.cancel()
        wait_for(lambda: client.reads() == 0)


def test_a_killed_store_is_unavailable_until_it_is_started_again(own_repo: Repo) -> None:
    """Without Redis requests end UNAVAILABLE; after a restart the same server answers again. It also starts without Redis."""
    with running(own_repo.settings()) as before:
        assert nickname(before) == "kiwi"
        own_repo.redis.kill()
        try:
            assert refused(before.stub.GetOnlineFeatures, DIET)[0] is grpc.StatusCode.UNAVAILABLE
            with running(own_repo.settings()) as without:
                assert refused(without.stub.GetOnlineFeatures, DIET)[0] is grpc.StatusCode.UNAVAILABLE
                assert health_of(without, "") == SERVING
        finally:
            own_repo.redis.start()
        wait_for(lambda: is_answered(before))
