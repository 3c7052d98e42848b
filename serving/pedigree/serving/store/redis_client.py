"""The commands that reads need, for a single Redis or a cluster."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Any, Protocol

from pedigree.online.store.address import Address
from pedigree.online.store.redis_protocol import bulk, command
from pedigree.serving.store.redis_connection import RedisConnection, RedisConnectionError, first_error

HashFields = Sequence[tuple[Sequence[bytes], tuple[bytes, ...]]]
"""Groups of hashes, by their keys, and the fields to read of each hash of a group."""


class Store(Protocol):
    """What a reader needs of a Redis, or of a cluster of them."""

    async def hmget(self, hash_fields: HashFields) -> list[Any]:
        """The fields of each hash, in the order of `hash_fields`. The last is read when all before it were.

        Raises:
            RedisConnectionError: the store cannot be reached, did not answer in time, or said no. So do the others.
        """

    async def get(self, key: bytes) -> Any:
        """One string."""

    async def info(self) -> list[bytes]:
        """What INFO says, of each Redis that holds rows."""

    async def ping(self, key: bytes) -> None:
        """Raises where nobody answers who has this key."""

    async def close(self) -> None:
        """Let go of the connections."""


class SingleRedis:
    """A single Redis, or the master of its sentinels."""

    def __init__(self, address: Address, *, patience: float) -> None:
        self.pipe = RedisConnection(address, patience=patience)

    async def hmget(self, hash_fields: HashFields) -> list[Any]:
        """See `Store`."""
        commands = b"".join([hmget_commands(keys, fields) for keys, fields in hash_fields])
        return await self.call(commands, sum([len(keys) for keys, _ in hash_fields]))

    async def get(self, key: bytes) -> Any:
        """See `Store`."""
        return (await self.call(command(b"GET", key), 1))[0]

    async def info(self) -> list[bytes]:
        """See `Store`."""
        return await self.call(command(b"INFO"), 1)

    async def ping(self, key: bytes) -> None:
        """See `Store`."""
        await self.call(command(b"EXISTS", key), 1)

    async def call(self, commands: bytes, count: int) -> list[Any]:
        """Send commands; a reply that is an error is raised."""
        replies = await self.pipe.call(commands, count)
        error = first_error(replies)
        if error is not None:
            raise RedisConnectionError(str(error))
        return replies

    async def close(self) -> None:
        """See `Store`."""
        await self.pipe.close()


def open_store(address: Address, *, patience: float) -> Store:
    """The store at an address; it is first spoken to by the first read."""
    if address.kind == "redis_cluster":
        from pedigree.serving.store.redis_cluster import RedisCluster

        return RedisCluster(address, patience=patience)
    return SingleRedis(address, patience=patience)


def hmget_commands(keys: Sequence[bytes], fields: tuple[bytes, ...]) -> bytes:
    """A command for each hash, as Redis reads it."""
    start, end = around_key(fields)
    starts = {size: b"%b$%d\r\n" % (start, size) for size in set(map(len, keys))}
    return end.join([starts[len(key)] + key for key in keys]) + end


@lru_cache(maxsize=4096)
def around_key(fields: tuple[bytes, ...]) -> tuple[bytes, bytes]:
    """What an HMGET of some fields has before its key, and behind it."""
    return b"*%d\r\n%b" % (len(fields) + 2, bulk(b"HMGET")), b"\r\n" + b"".join(map(bulk, fields))
