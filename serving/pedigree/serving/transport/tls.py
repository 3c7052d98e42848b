"""Certificates that a running server takes up anew when their files change."""

from __future__ import annotations

import logging
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import grpc
from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_pem_private_key

from pedigree.serving.errors import ServingSettingsError
from pedigree.serving.settings import Tls

log = logging.getLogger(__name__)

State = tuple[tuple[int, int, int], ...]
"""For each file: which one it is, when it changed, and how long it is."""


@dataclass(slots=True)
class Certificates:
    """The files, and what they were when they were last read."""

    tls: Tls
    seen: State = field(default=())

    def read(self) -> Any:
        """What gRPC needs of them.

        Raises:
            ValueError: they cannot be used; nothing of the key is in the text.
        """
        self.seen = self.state()
        key, cert = self.tls.key.read_bytes(), self.tls.cert.read_bytes()
        roots = self.tls.client_ca.read_bytes() if self.tls.client_ca else None
        refuse_unfit(cert, key, roots)
        return grpc.ssl_server_certificate_configuration([(key, cert)], root_certificates=roots)

    def renewed(self) -> Any:
        """The same where the files have changed, and are fit; None: the last good ones stay. gRPC asks at every handshake."""
        try:
            if self.state() == self.seen:
                return None
            found = self.read()
        except (OSError, ValueError) as error:
            log.error("the new certificates are refused, and the last good ones stay: %s", error)
            return None
        log.info("new certificates are taken up")
        return found

    def state(self) -> State:
        """What the files are now."""
        return tuple(state_of(path) for path in (self.tls.cert, self.tls.key, self.tls.client_ca) if path)


def state_of(path: Path) -> tuple[int, int, int]:
    """What tells one content of a file from another; links, as Kubernetes makes them, are followed."""
    stat = path.stat()
    return (stat.st_ino, stat.st_mtime_ns, stat.st_size)


def refuse_unfit(cert: bytes, key: bytes, roots: bytes | None) -> None:
    """Raise ValueError where a key is not its certificate's (as while they are being replaced), or one is none at all."""
    try:
        certified = x509.load_pem_x509_certificates(cert)[0].public_key()
        own = load_pem_private_key(key, password=None).public_key()
    except (ValueError, TypeError, UnsupportedAlgorithm) as error:
        raise ValueError("the certificate or its key is not PEM, or the key has a password") from error
    form = (Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    if certified.public_bytes(*form) != own.public_bytes(*form):
        raise ValueError("the key is not that of the certificate")
    if roots is not None and not x509.load_pem_x509_certificates(roots):
        raise ValueError("there is no certificate to check clients' by")


def credentials(tls: Tls) -> Any:
    """Credentials of a server that follow their files.

    Raises:
        SettingsError: the files cannot be used.
    """
    certificates = Certificates(tls)
    try:
        first = certificates.read()
    except (OSError, ValueError) as error:
        names = ", ".join(str(path) for path in (tls.cert, tls.key, tls.client_ca) if path)
        raise ServingSettingsError([f"TLS cannot be had of {names}: {error}"]) from error
    return grpc.dynamic_ssl_server_credentials(
        first, certificates.renewed, require_client_authentication=tls.client_ca is not None
    )
