"""Whether an address is reached from this machine alone."""

from __future__ import annotations

import socket
from ipaddress import IPv6Address, ip_address


def is_loopback(host: str) -> bool:
    """Whether a host is this machine, as it is written; no name is looked up."""
    try:
        address = ip_address(host.strip("[]").partition("%")[0])
    except ValueError:
        return host == "localhost"
    mapped = address.ipv4_mapped if isinstance(address, IPv6Address) else None
    return (mapped or address).is_loopback


def listened(host: str) -> list[str]:
    """The addresses that a server takes which listens on a host.

    Raises:
        OSError: it is no address, and no name of one.
    """
    found = socket.getaddrinfo(host.strip("[]"), None, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    return sorted({str(place[0]) for *_, place in found})


def is_reached_from_beyond(host: str) -> bool:
    """Whether a server that listens on a host can be reached from other machines.

    Raises:
        OSError: it is no address, and no name of one.
    """
    return not all(map(is_loopback, listened(host)))
