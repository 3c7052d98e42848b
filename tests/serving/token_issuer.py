"""An issuer of tokens with a real JWKS endpoint, and an authority that signs real certificates."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from ipaddress import ip_address
from pathlib import Path
from time import time
from typing import Any

import jwt
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID
from jwt.algorithms import ECAlgorithm, RSAAlgorithm
from pydantic import SecretStr

from pedigree.serving.settings import Auth, Tls

ISSUER, AUDIENCE = "https://issuer.example/realms/birds", "feature-server"


@dataclass
class Issuer:
    """Signs tokens by one RSA and one EC key, and tells the public ones at `url`. `asked` counts who came for them."""

    url: str = ""
    asked: int = 0
    is_down: bool = False
    rsa_key: Any = field(default_factory=lambda: rsa.generate_private_key(65537, 2048))
    ec_key: Any = field(default_factory=lambda: ec.generate_private_key(ec.SECP256R1()))
    names: tuple[str, str] = ("rsa-1", "ec-1")

    def jwks(self) -> bytes:
        """The public keys."""
        keys = [
            {**RSAAlgorithm.to_jwk(self.rsa_key.public_key(), as_dict=True), "kid": self.names[0], "use": "sig"},
            {**ECAlgorithm.to_jwk(self.ec_key.public_key(), as_dict=True), "kid": self.names[1], "alg": "ES256"},
        ]
        return json.dumps({"keys": keys}).encode()

    def claims(self, **changed: Any) -> dict[str, Any]:
        """What a good token says."""
        now = int(time())
        good = {"iss": ISSUER, "aud": AUDIENCE, "sub": "kiwi", "iat": now, "exp": now + 300, "roles": ["reader"]}
        return {name: value for name, value in {**good, **changed}.items() if value is not None}

    def token(self, *, algorithm: str = "RS256", kid: str | None = None, **changed: Any) -> str:
        """A token signed by us."""
        key, name = (self.rsa_key, self.names[0]) if algorithm.startswith("RS") else (self.ec_key, self.names[1])
        return jwt.encode(self.claims(**changed), key, algorithm=algorithm, headers={"kid": kid or name})

    def auth(self, **changed: Any) -> Auth:
        """Settings that take our tokens; fast ones, that no test has to wait for."""
        values: dict[str, Any] = {"leeway": timedelta(0), "keys_every": timedelta(seconds=0.2), **changed}
        return Auth(jwks=SecretStr(self.url), issuer=ISSUER, audience=AUDIENCE, **values)


@contextmanager
def issuing() -> Iterator[Issuer]:
    """An issuer whose endpoint answers."""
    issuer = Issuer()

    class Endpoint(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            issuer.asked += 1
            self.send_response(500 if issuer.is_down else 200)
            self.end_headers()
            self.wfile.write(b"" if issuer.is_down else issuer.jwks())

        def log_message(self, format: str, *args: Any) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Endpoint) as server:
        issuer.url = f"http://127.0.0.1:{server.server_port}/certs"
        thread = threading.Thread(target=server.serve_forever, args=(0.05,))
        thread.start()
        try:
            yield issuer
        finally:
            server.shutdown()
            thread.join()


@dataclass
class Authority:
    """Signs certificates, and writes them to a folder."""

    folder: Path
    key: Any = field(default_factory=lambda: ec.generate_private_key(ec.SECP256R1()))
    name: x509.Name = field(default_factory=lambda: named("an authority of tests"))

    @property
    def own(self) -> bytes:
        """Our own certificate."""
        builder = self.builder(self.name, self.key).add_extension(
            x509.BasicConstraints(ca=True, path_length=None), True
        )
        return builder.sign(self.key, hashes.SHA256()).public_bytes(Encoding.PEM)

    def builder(self, subject: x509.Name, key: Any) -> x509.CertificateBuilder:
        """A certificate for an hour."""
        now = datetime.now(UTC)
        return (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(self.name)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - timedelta(minutes=5))
            .not_valid_after(now + timedelta(hours=1))
        )

    def pair(self, common_name: str) -> tuple[bytes, bytes]:
        """A new key, and its certificate for this machine."""
        key = ec.generate_private_key(ec.SECP256R1())
        here = x509.SubjectAlternativeName([x509.IPAddress(ip_address("127.0.0.1"))])
        cert = self.builder(named(common_name), key).add_extension(here, False).sign(self.key, hashes.SHA256())
        text = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        return text, cert.public_bytes(Encoding.PEM)

    def server_files(self, common_name: str = "server", *, mutual: bool = False) -> Tls:
        """Files of a server's TLS; written anew each time this is called."""
        key, cert = self.pair(common_name)
        tls = Tls(self.folder / "cert.pem", self.folder / "key.pem", self.folder / "ca.pem" if mutual else None)
        tls.key.write_bytes(key)
        tls.cert.write_bytes(cert)
        if tls.client_ca:
            tls.client_ca.write_bytes(self.own)
        return tls


def named(common_name: str) -> x509.Name:
    """A name with a common name."""
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name)])
