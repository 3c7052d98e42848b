"""Where a server may be reached from other machines, and what it must have before."""

from __future__ import annotations

import asyncio
import socket
from pathlib import Path
from typing import Any

import grpc
import pytest
from pydantic import SecretStr

from pedigree.serving.errors import ServingSettingsError
from pedigree.serving.settings import Auth, Tls
from pedigree.serving.worker import listening

from .conftest import Repo, feast_stub, running
from .feast_requests import by_name, features_request
from .server_process import command, ended, started
from .token_issuer import Authority

DIET = features_request("diet", {"bird_id": [1]})
BEYOND = ("0.0.0.0", "[::]", "0", "192.0.2.77", "[2001:db8::7]", "[::ffff:192.0.2.77]")
AUTH = Auth(SecretStr("https://issuer.example/certs"), "https://issuer.example", "features")


def refusal(repo: Repo, **changed: Any) -> str:
    """Why a server does not start."""

    async def start() -> None:
        async with listening(repo.settings(**changed)):
            raise AssertionError("it listens")

    with pytest.raises(ServingSettingsError) as caught:
        asyncio.run(start())
    return str(caught.value)


def answers(host: str, address: str) -> bool:
    """Whether something listens on a port of an address of this machine."""
    try:
        with socket.create_connection((host, int(address.rpartition(":")[2])), timeout=5):
            return True
    except OSError:
        return False


def nickname(address: str) -> object:
    """The nickname of bird 1, as a server tells it."""
    with grpc.insecure_channel(address) as channel:
        return by_name(feast_stub(channel).GetOnlineFeatures(DIET, timeout=20))["nickname"][0].value


@pytest.mark.parametrize("host", BEYOND)
def test_without_tls_and_tokens_a_server_that_others_reach_does_not_start(repo: Repo, host: str) -> None:
    """Whatever way an address beyond this machine is written, the refusal names it and the settings that would do."""
    reason = refusal(repo, address=f"{host}:0")
    assert f"PEDIGREE_SERVING_ADDRESS='{host}:0' is reached from other machines" in reason
    assert "PEDIGREE_SERVING_TLS_CERT" in reason and "PEDIGREE_SERVING_AUTH_JWKS" in reason
    assert "PEDIGREE_SERVING_INSECURE=no-tls,no-tokens" in reason


@pytest.mark.parametrize("host", BEYOND)
def test_metrics_that_others_read_must_be_asked_for_by_name(repo: Repo, host: str) -> None:
    """/metrics has neither TLS nor tokens: beyond this machine it needs its own word, whatever else is allowed."""
    reason = refusal(repo, metrics_address=f"{host}:0", insecure=frozenset({"no-tls", "no-tokens"}))
    assert f"PEDIGREE_SERVING_METRICS_ADDRESS='{host}:0'" in reason
    assert "PEDIGREE_SERVING_INSECURE=open-metrics" in reason


def test_half_of_what_is_needed_is_not_enough(repo: Repo, tmp_path: Path) -> None:
    """TLS without tokens, tokens without TLS, and one word where two are needed: each refusal names what is left."""
    tls = Authority(tmp_path).server_files()
    address = "0.0.0.0:0"
    without_tokens = refusal(repo, address=address, tls=tls)
    without_tls = refusal(repo, address=address, auth=AUTH)
    one_word = refusal(repo, address=address, insecure=frozenset({"no-tls"}))
    assert "without tokens" in without_tokens and "without TLS" not in without_tokens
    assert "without TLS" in without_tls and "without tokens" not in without_tls
    assert "without tokens" in one_word and "INSECURE=no-tls,no-tokens" in one_word


def test_an_address_that_is_none_is_refused(repo: Repo) -> None:
    """A host that no address can be found of ends the start, and the setting is named."""
    assert "PEDIGREE_SERVING_ADDRESS='no such host:0' is no address" in refusal(repo, address="no such host:0")


def test_certificates_of_clients_are_as_good_as_tokens(repo: Repo, tmp_path: Path) -> None:
    """With mTLS a server may be reached from everywhere: who has no certificate is not let in."""
    tls: Tls = Authority(tmp_path).server_files(mutual=True)
    with running(repo.settings(address="0.0.0.0:0", tls=tls)) as client:
        assert answers("127.0.0.1", client.address)
        with grpc.secure_channel(
            client.address.replace("0.0.0.0", "127.0.0.1"),
            grpc.ssl_channel_credentials((tmp_path / "ca.pem").read_bytes()),
        ) as channel:
            call = feast_stub(channel).GetOnlineFeatures.future(DIET, timeout=5)
            assert call.exception().code() is grpc.StatusCode.UNAVAILABLE


def test_every_address_of_ipv4_opens_none_of_ipv6(repo: Repo) -> None:
    """0.0.0.0 is answered by IPv4 and not by IPv6; [::] is answered by both, and so is refused in the same way."""
    open_to_all = {"insecure": frozenset({"no-tls", "no-tokens"})}
    with running(repo.settings(address="0.0.0.0:0", **open_to_all)) as client:
        assert nickname(client.address.replace("0.0.0.0", "127.0.0.1")) == "kiwi"
        assert not answers("::1", client.address)
    with running(repo.settings(address="[::]:0", **open_to_all)) as client:
        assert nickname(client.address.replace("[::]", "[::1]")) == "kiwi"


def test_the_command_refuses_and_several_processes_open_no_ipv6(repo: Repo) -> None:
    """`python -m pedigree.serving.server`: refused unless allowed; then processes and /metrics answer on IPv4 alone."""
    everywhere = {"PEDIGREE_SERVING_METRICS_ADDRESS": "0.0.0.0:0", "PEDIGREE_SERVING_WORKERS": "2"}
    process = command(repo.path, "0.0.0.0:0", **everywhere)
    out, err = process.communicate(timeout=60)
    assert (process.returncode, out, err.count("\n")) == (1, "", 1)
    assert "PEDIGREE_SERVING_INSECURE=no-tls,no-tokens" in err and "PEDIGREE_SERVING_INSECURE=open-metrics" in err
    words = {"PEDIGREE_SERVING_INSECURE": "no-tls,no-tokens,open-metrics", "PEDIGREE_SERVING_ADDRESS": "0.0.0.0:0"}
    with started(repo.path, **everywhere, **words) as (process, address):
        assert process.stdout is not None
        metrics = process.stdout.readline().strip().removeprefix("metrics on ")
        assert nickname(address.replace("0.0.0.0", "127.0.0.1")) == "kiwi"
        assert [answers("127.0.0.1", one) for one in (address, metrics)] == [True, True]
        assert [answers("::1", one) for one in (address, metrics)] == [False, False]
        ended(process)


def test_a_word_that_allows_nothing_is_an_error(repo: Repo) -> None:
    """A misspelt word is refused, and not taken for none."""
    process = command(repo.path, "127.0.0.1:0", PEDIGREE_SERVING_INSECURE="no-tsl")
    assert (
        "PEDIGREE_SERVING_INSECURE='no-tsl' names something that is none of no-tls"
        in process.communicate(timeout=60)[1]
    )
