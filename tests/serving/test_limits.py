"""How much a server takes at once, and of whom how fast."""

from __future__ import annotations

from contextlib import ExitStack
from datetime import timedelta
from pathlib import Path
from typing import Any

import grpc
from feast.protos.feast.serving.ServingService_pb2 import GetFeastServingInfoRequest
from grpc_health.v1 import health_pb2, health_pb2_grpc

from pedigree.serving.limits import PRINCIPALS, Rates
from pedigree.serving.settings import RequestLimits

from ..redis_server import wait_for
from .conftest import Client, Repo, feast_stub, running
from .feast_requests import features_request, refused
from .token_issuer import Authority, issuing

DIET = features_request("diet", {"bird_id": [1]})
INFO = GetFeastServingInfoRequest()
EXHAUSTED = grpc.StatusCode.RESOURCE_EXHAUSTED
PATIENT = {"store_timeout": timedelta(seconds=60), "deadline": timedelta(seconds=60)}
SLOW = RequestLimits(rate=0.01, burst=2)


def retry_after(error: Any) -> int:
    """The milliseconds after which a refused call may come again."""
    return int(dict(error.trailing_metadata())["retry-after-ms"])


def codes(stub: Any, count: int, **more: Any) -> list[grpc.StatusCode]:
    """What calls end with, one after the other."""
    return [stub.GetFeastServingInfo.future(INFO, timeout=20, **more).code() for _ in range(count)]


def test_one_request_too_many_is_refused_at_once_and_told_when_to_come_again(own_repo: Repo) -> None:
    """With as many under way as may be, the next is RESOURCE_EXHAUSTED while they wait; health is answered; they end well."""
    with running(own_repo.settings(limits=RequestLimits(concurrent=2), **PATIENT)) as client:
        with own_repo.redis.paused():
            inside = [client.stub.GetOnlineFeatures.future(DIET, timeout=60) for _ in range(2)]
            wait_for(lambda: client.reads() == 2)
            one_more = client.stub.GetOnlineFeatures.future(DIET, timeout=20)
            assert (one_more.code(), retry_after(one_more)) == (EXHAUSTED, 100)
            assert "2 requests are under way here" in one_more.details()
            assert not any(one.done() for one in inside)
            assert health_pb2_grpc.HealthStub(client.channel).Check(health_pb2.HealthCheckRequest(), timeout=20)
        assert [one.code() for one in inside] == [grpc.StatusCode.OK] * 2
        assert client.stub.GetOnlineFeatures(DIET, timeout=20).results


def test_a_flood_is_refused_and_not_waited_for(own_repo: Repo) -> None:
    """Of a thousand calls some are answered and others ended at once; health is answered; then all is as before."""
    with running(own_repo.settings(limits=RequestLimits(waiting=2))) as client, ExitStack() as stack:
        options = (("grpc.use_local_subchannel_pool", 1),)
        channels = [stack.enter_context(grpc.insecure_channel(client.address, options=options)) for _ in range(10)]
        calls = [feast_stub(channel).GetOnlineFeatures.future(DIET, timeout=20) for channel in channels * 100]
        assert health_pb2_grpc.HealthStub(client.channel).Check(health_pb2.HealthCheckRequest(), timeout=20)
        ends = {call.code() for call in calls}
        assert ends == {grpc.StatusCode.OK, grpc.StatusCode.CANCELLED}
        assert client.stub.GetOnlineFeatures(DIET, timeout=20).results


def test_requests_that_were_given_up_leave_room(own_repo: Repo) -> None:
    """A cancelled request is under way no more."""
    with running(own_repo.settings(limits=RequestLimits(concurrent=1), **PATIENT)) as client:
        with own_repo.redis.paused():
            for _ in range(3):
                future = client.stub.GetOnlineFeatures.future(DIET, timeout=60)
                wait_for(lambda: client.reads() == 1)
                future.cancel()
                wait_for(lambda: client.reads() == 0)
        assert client.stub.GetFeastServingInfo(INFO, timeout=20).version


def test_who_asks_too_fast_is_told_when_to_come_again(repo: Repo) -> None:
    """Without names a host has one bucket, whatever connection it comes by; a burst is answered, and the next is not."""
    with running(repo.settings(limits=RequestLimits(rate=0.01, burst=3))) as client:
        assert codes(client.stub, 3) == [grpc.StatusCode.OK] * 3
        with grpc.insecure_channel(client.address) as another:
            error = feast_stub(another).GetFeastServingInfo.future(INFO, timeout=20)
            assert error.code() is EXHAUSTED
            assert 90_000 < retry_after(error) <= 100_000
            assert "0.01 requests a second" in error.details()


def test_a_bucket_fills_again(repo: Repo) -> None:
    """After its time a principal is answered again."""
    with running(repo.settings(limits=RequestLimits(rate=20, burst=1))) as client:
        assert EXHAUSTED in codes(client.stub, 5)
        wait_for(lambda: codes(client.stub, 1) == [grpc.StatusCode.OK])


def test_each_subject_has_its_own_rate(repo: Repo) -> None:
    """One subject's haste is not another's, from one host; a new token is no new bucket."""
    with issuing() as issuer, running(repo.settings(auth=issuer.auth(), limits=SLOW)) as client:

        def by(subject: str, **claims: Any) -> list[grpc.StatusCode]:
            token = issuer.token(sub=subject, **claims)
            return codes(client.stub, 1, metadata=(("authorization", f"Bearer {token}"),))

        assert by("kiwi") + by("kiwi", jti="2") + by("kiwi", jti="3") == [grpc.StatusCode.OK] * 2 + [EXHAUSTED]
        assert by("moa") == [grpc.StatusCode.OK]


def test_each_certificate_has_its_own_rate(repo: Repo, tmp_path: Path) -> None:
    """Where clients show certificates, their names are told apart."""
    authority = Authority(tmp_path)
    with running(repo.settings(tls=authority.server_files(mutual=True), limits=SLOW)) as client:
        assert by_certificate(client, authority, "kiwi", 3) == [grpc.StatusCode.OK] * 2 + [EXHAUSTED]
        assert by_certificate(client, authority, "moa", 1) == [grpc.StatusCode.OK]


def by_certificate(client: Client, authority: Authority, name: str, count: int) -> list[grpc.StatusCode]:
    """What calls with a new certificate end with."""
    key, cert = authority.pair(name)
    shown = grpc.ssl_channel_credentials(authority.own, key, cert)
    with grpc.secure_channel(client.address, shown) as channel:
        return codes(feast_stub(channel), count)


def test_a_message_that_is_too_large_is_refused(repo: Repo) -> None:
    """A request above the limit is RESOURCE_EXHAUSTED; one below is read."""
    with running(repo.settings(limits=RequestLimits(message_bytes=1000))) as client:
        large = features_request("diet", {"bird_id": ["x" * 2000]})
        assert refused(client.stub.GetOnlineFeatures, large)[0] is EXHAUSTED
        assert client.stub.GetOnlineFeatures(DIET, timeout=20).results


def test_a_reply_that_clients_would_not_take_is_refused_with_what_to_do(repo: Repo) -> None:
    """A reply above the limit is RESOURCE_EXHAUSTED and names both settings; fewer rows at once are answered."""
    with running(repo.settings(limits=RequestLimits(reply_bytes=400))) as client:
        code, details = refused(client.stub.GetOnlineFeatures, features_request("diet", {"bird_id": [1] * 100}))
        assert (code, "PEDIGREE_SERVING_MAX_REPLY_BYTES" in details) == (EXHAUSTED, True)
        assert "grpc.max_receive_message_length" in details
        assert client.stub.GetOnlineFeatures(DIET, timeout=20).results


def test_buckets_do_not_grow_without_end() -> None:
    """However many principals there were, a bounded number of buckets is kept: those of who came last."""
    rates = Rates(rate=1, burst=1)
    for number in range(PRINCIPALS + 5):
        rates.spend(str(number))
    assert len(rates.buckets) == PRINCIPALS
    assert "4" not in rates.buckets and "5" in rates.buckets
