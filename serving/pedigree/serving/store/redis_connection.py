"""One connection to Redis on which every request's commands go out at once; replies come back in the order of commands.

A caller that stops waiting leaves its place in the queue, so its replies can never be taken for another's.
"""

from __future__ import annotations

import asyncio
import ssl
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import Any

import hiredis

from pedigree.online.store.address import Address, reason_of
from pedigree.online.store.redis_protocol import command

MORE = object()
"""What hiredis gives where no whole reply is there."""


class RedisConnectionError(Exception):
    """Redis cannot be reached, did not answer in time, or said no. The text is for the log."""


@dataclass(slots=True)
class Waiting:
    """A caller, how many replies it waits for and until when (by the loop's clock), and those that came."""

    future: asyncio.Future[list[Any]]
    count: int
    until: float
    replies: list[Any] = field(default_factory=list)


class RedisTransport(asyncio.Protocol):
    """A connection and those who wait on it: each no longer than `patience` seconds, by one timer for all."""

    def __init__(self, patience: float) -> None:
        self.reader = hiredis.Reader(notEnoughData=MORE)
        self.waiting: deque[Waiting] = deque()
        self.transport: Any = None
        self.lost = False
        self.patience = patience
        self.timer: asyncio.TimerHandle | None = None
        self.loop = asyncio.get_running_loop()

    def connection_made(self, transport: Any) -> None:
        """The connection stands."""
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        """Hand replies to those who wait, in order."""
        self.reader.feed(data)
        try:
            self.deal()
        except hiredis.ProtocolError as error:
            self.fail(RedisConnectionError(f"what came is not Redis's protocol: {error}"))

    def deal(self) -> None:
        """Take every whole reply that is there."""
        while self.waiting:
            first = self.waiting[0]
            first.replies.extend(islice(iter(self.reader.gets, MORE), first.count - len(first.replies)))
            if len(first.replies) < first.count:
                return
            self.waiting.popleft()
            if not first.future.done():
                first.future.set_result(first.replies)

    def connection_lost(self, exc: Exception | None) -> None:
        """Tell all who wait."""
        self.fail(RedisConnectionError(f"the connection is gone: {exc or 'closed by Redis'}"))

    def fail(self, error: RedisConnectionError) -> None:
        """End the connection; nobody gets a reply from it any more."""
        self.lost = True
        waiting, self.waiting = self.waiting, deque()
        for one in waiting:
            if not one.future.done():
                one.future.set_exception(error)
        if self.timer is not None:
            self.timer.cancel()
        if self.transport is not None:
            self.transport.abort()

    async def call(self, commands: bytes, count: int) -> list[Any]:
        """Send commands that are written as Redis wants them; returns their replies."""
        future: asyncio.Future[list[Any]] = self.loop.create_future()
        until = self.loop.time() + self.patience
        self.waiting.append(Waiting(future, count, until))
        if self.timer is None:
            self.timer = self.loop.call_at(until, self.look)
        self.transport.write(commands)
        return await future

    def look(self) -> None:
        """Tell those whose time is over; where the first in the queue waits for twice that, nothing will come back any more."""
        self.timer = None
        if not self.waiting:
            return
        now = self.loop.time()
        over = self.waiting[0].until + self.patience
        if over <= now:
            self.fail(RedisConnectionError(f"nothing came back for {2 * self.patience} s"))
            return
        for one in self.waiting:
            if one.until > now:
                over = min(over, one.until)
                break
            if not one.future.done():
                one.future.set_exception(RedisConnectionError(f"no reply within {self.patience} s"))
        self.timer = self.loop.call_at(over, self.look)


class RedisConnection:
    """A connection that is made when it is needed, and made anew when it broke.

    Args:
        patience: seconds that a caller waits; a connection on which nothing comes back for twice that is given up.
    """

    def __init__(self, address: Address, *, patience: float) -> None:
        self.address = address
        self.patience = patience
        self.connection: RedisTransport | None = None
        self.opening: asyncio.Task[RedisTransport] | None = None

    async def call(self, commands: bytes, count: int) -> list[Any]:
        """Send commands; returns their replies, of which each may be an error of Redis's.

        Raises:
            PipeError: Redis cannot be reached, did not answer in time, or the connection broke.
        """
        connection = self.connection
        if connection is None or connection.lost:
            connection = await self.opened()
        return await connection.call(commands, count)

    async def opened(self) -> RedisTransport:
        """The connection; callers that come while it is being made wait for the same one."""
        if self.opening is None:
            self.opening = asyncio.create_task(self.open())
            self.opening.add_done_callback(self.opening_ended)
        return await asyncio.shield(self.opening)

    def opening_ended(self, task: asyncio.Task[RedisTransport]) -> None:
        """Keep the connection, or try again next time."""
        self.opening = None
        if not task.cancelled() and task.exception() is None:
            self.connection = task.result()

    async def open(self) -> RedisTransport:
        """Connect and introduce ourselves."""
        try:
            async with asyncio.timeout(self.patience):
                host, port = await self.place()
                context = tls_context(self.address) if self.address.tls else None
                loop = asyncio.get_running_loop()
                _, connection = await loop.create_connection(
                    lambda: RedisTransport(self.patience), host, port, ssl=context
                )
                await introduce(connection, self.address)
        except (OSError, TimeoutError) as error:
            raise RedisConnectionError(f"{self.address} cannot be reached: {reason_of(error)}") from error
        return connection

    async def place(self) -> tuple[str, int]:
        """The host and port to connect to: the only one, or the master that the sentinels name now."""
        if self.address.kind != "redis_sentinel":
            return self.address.hosts[0]
        from redis.asyncio.retry import Retry
        from redis.asyncio.sentinel import Sentinel
        from redis.backoff import NoBackoff
        from redis.exceptions import RedisError

        once = {"retry": Retry(NoBackoff(), 0), "socket_timeout": self.patience}
        sentinel: Any = Sentinel(  # type: ignore[no-untyped-call]
            list(self.address.hosts), sentinel_kwargs={**self.address.sentinel_options, **once}
        )
        try:
            host, port = await sentinel.discover_master(self.address.master)
            return str(host), int(port)
        except RedisError as error:
            raise RedisConnectionError(
                f"no sentinel of {self.address} names a master {self.address.master!r}: {reason_of(error)}"
            ) from error
        finally:
            for client in sentinel.sentinels:
                await client.aclose()

    async def close(self) -> None:
        """End the connection."""
        if self.opening is not None:
            self.opening.cancel()
        if self.connection is not None:
            self.connection.fail(RedisConnectionError("the server stops"))


async def introduce(connection: RedisTransport, address: Address) -> None:
    """Say who we are and which database we want."""
    commands = []
    if address.password is not None:
        password = address.password.get_secret_value()
        who = (address.username, password) if address.username else (password,)
        commands.append(command(b"AUTH", *(part.encode() for part in who)))
    if address.db:
        commands.append(command(b"SELECT", str(address.db).encode()))
    if commands:
        for reply in await connection.call(b"".join(commands), len(commands)):
            if isinstance(reply, hiredis.ReplyError):
                connection.fail(RedisConnectionError(str(reply)))
                raise RedisConnectionError(f"{address} refused us: {reply}")


def tls_context(address: Address) -> ssl.SSLContext:
    """Certificates as the address names them."""
    options = address.tls_options
    context = ssl.create_default_context(cafile=options.get("ssl_ca_certs"))
    if options.get("ssl_certfile"):
        context.load_cert_chain(options["ssl_certfile"], options.get("ssl_keyfile"))
    if options.get("ssl_cert_reqs", "required").lower() == "none":
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return context


def first_error(replies: Sequence[Any]) -> hiredis.ReplyError | None:
    """The first error among replies."""
    if hiredis.ReplyError not in set(map(type, replies)):
        return None
    return next(reply for reply in replies if isinstance(reply, hiredis.ReplyError))
