"""What a server must have before other machines reach it, and an address of IPv4 that opens no IPv6."""

from __future__ import annotations

import errno
import socket
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Literal

from pedigree.lineage.loopback import is_reached_from_beyond, listened
from pedigree.serving.errors import AddressTakenError, ServingSettingsError
from pedigree.serving.settings import Insecurity, ServingSettings

Setting = Literal["PEDIGREE_SERVING_ADDRESS", "PEDIGREE_SERVING_METRICS_ADDRESS"]

ATTEMPTS, PAUSE = 500, 0.02
"""How often, and after how many seconds, a port is tried that another process of the server may hold for a moment."""

CURES: dict[Insecurity, str] = {
    "no-tls": "without TLS whoever is on the way reads along (set PEDIGREE_SERVING_TLS_CERT and PEDIGREE_SERVING_TLS_KEY)",
    "no-tokens": "without tokens anybody reads everything (set PEDIGREE_SERVING_AUTH_JWKS, …_ISSUER and …_AUDIENCE, or ask "
    "clients for a certificate by PEDIGREE_SERVING_TLS_CLIENT_CA)",
    "open-metrics": "/metrics has neither TLS nor tokens",
}


def refuse_exposed(settings: ServingSettings) -> None:
    """Raise where other machines reach a server that lacks something, unless the settings say that it may.

    Raises:
        SettingsError: it must not start; each address is named, and the setting that would allow it.
    """
    problems = [
        *problems_of("PEDIGREE_SERVING_ADDRESS", settings.address, lacking(settings), settings),
        *problems_of("PEDIGREE_SERVING_METRICS_ADDRESS", settings.metrics_address, ["open-metrics"], settings),
    ]
    if problems:
        raise ServingSettingsError(problems)


def lacking(settings: ServingSettings) -> list[Insecurity]:
    """What a server does without. Clients that show a certificate are known, with tokens or without."""
    found: list[Insecurity] = []
    if settings.tls is None:
        found.append("no-tls")
    if settings.auth is None and not (settings.tls and settings.tls.client_ca):
        found.append("no-tokens")
    return found


def problems_of(name: Setting, address: str | None, lacks: list[Insecurity], settings: ServingSettings) -> list[str]:
    """What is wrong with listening at an address."""
    if address is None:
        return []
    host = address.rpartition(":")[0]
    try:
        if not is_reached_from_beyond(host):
            return []
    except OSError as error:
        return [f"{name}={address!r} is no address to listen on ({error})"]
    reasons = [CURES[one] for one in lacks if one not in settings.insecure]
    if not reasons:
        return []
    return [
        f"{name}={address!r} is reached from other machines, and {' and '.join(reasons)}. Otherwise listen on 127.0.0.1, or, "
        f"where something else sees to it, say so: PEDIGREE_SERVING_INSECURE={','.join(lacks)}"
    ]


@contextmanager
def without_ipv6(address: str) -> Iterator[str]:
    """The address, with a port: where it is every address of IPv4, gRPC can take none of IPv6 with it while the block runs.

    gRPC takes 0.0.0.0 for every address of both kinds, and falls back on IPv4 alone where the port of IPv6 is taken. So we hold
    it, and listen to nobody. Processes that share a port do so one after the other: where several bind at once, Linux lets one
    of them past a port that is taken.

    Raises:
        AddressTakenError: the port cannot be taken.
    """
    host, _, port = address.rpartition(":")
    if listened(host) != ["0.0.0.0"]:  # noqa: S104 - compared, not bound to
        yield address
        return
    with ExitStack() as stack:
        try:
            guard = stack.enter_context(socket.socket(socket.AF_INET6))
            guard.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            take_turn(guard, int(port))
            place = f"{host}:{guard.getsockname()[1]}"
        except OSError as error:
            if error.errno == errno.EADDRINUSE:
                raise AddressTakenError(address) from error
            place = address  # this machine has no IPv6
        yield place


def take_turn(guard: socket.socket, port: int) -> None:
    """Hold a port of IPv6, as soon as the others of our kind have let go of it."""
    for left in reversed(range(ATTEMPTS)):
        try:
            guard.bind(("::", port))
            return
        except OSError as error:
            if error.errno != errno.EADDRINUSE or not left:
                raise
            time.sleep(PAUSE)
