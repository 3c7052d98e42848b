"""The end of a server: what was taken is answered, what comes is refused, and then the connections are cut.

gRPC's own stop ends calls that came and were not looked at yet, and those that come before a client has read that the connection
goes away, with CANCELLED: a client does not try those again, since it looks as if it had given up itself. On a connection that is
cut they are UNAVAILABLE.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from contextlib import closing, suppress
from pathlib import Path

OPEN_FILES = (Path("/proc/self/fd"), Path("/dev/fd"))


def cut_connections(port: int) -> None:
    """Listen no longer on a port of this process, and end all connections to it. What was written before still arrives."""
    for one in sockets_of(port):
        with closing(one), suppress(OSError):  # the other side was faster
            one.shutdown(socket.SHUT_RDWR)


def sockets_of(port: int) -> Iterator[socket.socket]:
    """Our own ends of the sockets on a port, those that listen first."""
    found = [one for one in map(opened, open_files()) if one is not None]
    ours = [one for one in found if port_of(one) == port]
    for one in set(found) - set(ours):
        one.close()
    yield from sorted(ours, key=lambda one: not is_listening(one))


def open_files() -> list[int]:
    """The numbers of the files that this process has open."""
    folder = next((one for one in OPEN_FILES if one.is_dir()), None)
    return [int(name) for name in os.listdir(folder) if name.isdecimal()] if folder else []  # noqa: PTH208 - names alone


def opened(number: int) -> socket.socket | None:
    """The socket that a file is, under a number of our own, so that nobody closes it meanwhile; None where it is none."""
    try:
        copy = os.dup(number)
    except OSError:
        return None
    try:
        return socket.socket(fileno=copy)
    except OSError:
        os.close(copy)
        return None


def port_of(one: socket.socket) -> int | None:
    """The port that a TCP socket has on our side."""
    if one.family not in (socket.AF_INET, socket.AF_INET6) or one.type != socket.SOCK_STREAM:
        return None
    try:
        return int(one.getsockname()[1])
    except OSError:
        return None


def is_listening(one: socket.socket) -> bool:
    """Whether a socket takes connections."""
    return bool(one.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN))
