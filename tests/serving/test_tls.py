"""Certificates: who reads along, who may connect, and what happens when they are renewed."""

from __future__ import annotations

import socket
import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import grpc
import pytest
from cryptography import x509
from cryptography.x509.oid import NameOID

from pedigree.serving.errors import ServingSettingsError
from pedigree.serving.worker import bind

from .conftest import Client, Repo, feast_stub, running
from .feast_requests import by_name, features_request, refused
from .token_issuer import Authority

DIET = features_request("diet", {"bird_id": [1]})


@dataclass(frozen=True, slots=True)
class Secured:
    """A server with TLS, and who signed its certificates."""

    client: Client
    authority: Authority

    def ask(self, pair: tuple[bytes, bytes] | None = None, roots: bytes | None = None) -> object:
        """The nickname of bird 1, asked with a certificate of one's own or without."""
        key, cert = pair or (None, None)
        shown = grpc.ssl_channel_credentials(roots or self.authority.own, key, cert)
        with grpc.secure_channel(self.client.address, shown) as channel:
            return by_name(feast_stub(channel).GetOnlineFeatures(DIET, timeout=5))["nickname"][0].value

    def shown(self) -> str:
        """The name in the certificate that the server shows now."""
        context = ssl.create_default_context(cadata=self.authority.own.decode())
        host, _, port = self.client.address.rpartition(":")
        with socket.create_connection((host, int(port)), 5) as plain:
            context.set_alpn_protocols(["h2"])
            with context.wrap_socket(plain, server_hostname=host) as wrapped:
                der = wrapped.getpeercert(binary_form=True) or b""
        [name] = x509.load_der_x509_certificate(der).subject.get_attributes_for_oid(NameOID.COMMON_NAME)
        return str(name.value)


@contextmanager
def secured(repo: Repo, folder: Path, *, mutual: bool = False) -> Iterator[Secured]:
    """A server with certificates that were made for it."""
    authority = Authority(folder)
    with running(repo.settings(tls=authority.server_files(mutual=mutual))) as client:
        yield Secured(client, authority)


def test_with_tls_nobody_reads_along(repo: Repo, tmp_path: Path) -> None:
    """A client that trusts the authority is answered; one that trusts another, or speaks without TLS, is not."""
    with secured(repo, tmp_path) as server:
        assert server.ask() == "kiwi"
        with pytest.raises(grpc.RpcError):
            server.ask(roots=Authority(tmp_path).own)
        assert refused(server.client.stub.GetOnlineFeatures, DIET)[0] is grpc.StatusCode.UNAVAILABLE


def test_with_a_client_authority_a_certificate_is_needed(repo: Repo, tmp_path: Path) -> None:
    """A client with a certificate of the authority is answered; without one, or with a stranger's, the connection fails."""
    with secured(repo, tmp_path, mutual=True) as server:
        assert server.ask(server.authority.pair("kiwi")) == "kiwi"
        for pair in (None, Authority(tmp_path).pair("kiwi")):
            with pytest.raises(grpc.RpcError) as caught:
                server.ask(pair)
            assert caught.value.code() is grpc.StatusCode.UNAVAILABLE


def test_a_renewed_certificate_is_taken_up_and_a_broken_one_is_not(repo: Repo, tmp_path: Path) -> None:
    """New files are shown by the next connection without a restart; while they do not fit each other the last good ones stay."""
    with secured(repo, tmp_path) as server:
        assert server.shown() == "server"
        server.authority.server_files("renewed")
        assert (server.shown(), server.ask()) == ("renewed", "kiwi")
        (tmp_path / "key.pem").write_bytes(server.authority.pair("another")[0])
        assert (server.shown(), server.ask()) == ("renewed", "kiwi")
        (tmp_path / "key.pem").unlink()
        assert server.shown() == "renewed"
        server.authority.server_files("again")
        assert server.shown() == "again"


def test_certificates_that_cannot_be_used_are_an_error_at_start(tmp_path: Path) -> None:
    """A key that is not the certificate's ends the start with the files' names, and nothing of the key."""
    authority = Authority(tmp_path)
    tls = authority.server_files()
    tls.key.write_bytes(authority.pair("another")[0])
    with pytest.raises(ServingSettingsError, match=r"cert\.pem.*the key is not that of the certificate") as caught:
        bind(None, "127.0.0.1:0", tls)
    assert "PRIVATE" not in str(caught.value)
