"""The few bytes of Redis's protocol that commands are written with. Pure."""

from __future__ import annotations


def command(*parts: bytes) -> bytes:
    """A command as Redis reads it."""
    return b"*%d\r\n" % len(parts) + b"".join(map(bulk, parts))


def bulk(part: bytes) -> bytes:
    """One part of a command."""
    return b"$%d\r\n%b\r\n" % (len(part), part)
