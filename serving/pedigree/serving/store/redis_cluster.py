"""A Redis Cluster: one pipe to each master, found by the slot of a key. Commands that a slot has moved from go after it."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from time import monotonic
from typing import Any

import hiredis
from redis.crc import key_slot

from pedigree.online.store.address import Address
from pedigree.online.store.redis_protocol import command
from pedigree.serving.store.redis_connection import RedisConnection, RedisConnectionError, first_error

Place = tuple[str, int]
Table = list[Place | None]

INFO = command(b"INFO")
SLOTS = command(b"CLUSTER", b"SLOTS")
ASKING = command(b"ASKING")
REDIRECTIONS = 5
"""How often a command is sent at most."""
PAUSE = 0.1
"""Seconds between two looks at who has which slot, at least."""


@dataclass(slots=True)
class SlotRequest:
    """A command about one key, who is asked, and what was said. `asking`: a slot is on its way there."""

    key: bytes
    text: bytes
    place: Place | None = None
    asking: bool = False
    reply: Any = None


class RedisCluster:
    """A Redis Cluster. See `pedigree.serving.store.redis_client.Store`.

    Attributes:
        hosts: whom to ask who has which slot; each look begins with another one, so that none that is stuck is in the way.
        table: for each slot who has it.
        is_stale: whether somebody has reason to doubt it.
    """

    def __init__(self, address: Address, *, patience: float) -> None:
        self.address = address
        self.patience = patience
        self.hosts = list(address.hosts)
        self.pipes: dict[Place, RedisConnection] = {}
        self.table: Table = []
        self.is_stale = True
        self.looked_at = -PAUSE
        self.looking = asyncio.Lock()

    async def hmget(self, asked: Sequence[tuple[Sequence[bytes], tuple[bytes, ...]]]) -> list[Any]:
        """The fields of each hash. The last is read when all before it were, as in a single Redis."""
        *before, last = [SlotRequest(key, command(b"HMGET", key, *fields)) for keys, fields in asked for key in keys]
        return await self.in_time(before, [last])

    async def get(self, key: bytes) -> Any:
        """One string."""
        return (await self.in_time([SlotRequest(key, command(b"GET", key))]))[0]

    async def ping(self, key: bytes) -> None:
        """Raises where the master that has this key does not answer for it."""
        await self.in_time([SlotRequest(key, command(b"EXISTS", key))])

    async def info(self) -> list[bytes]:
        """What INFO says, of every master."""
        try:
            async with asyncio.timeout(self.patience):
                masters = dict.fromkeys(place for place in await self.looked() if place)
                replies = [await self.pipe(place).call(INFO, 1) for place in masters]
        except TimeoutError as error:
            raise RedisConnectionError(f"no reply within {self.patience} s") from error
        refusal = first_error([one for reply in replies for one in reply])
        if refusal is not None:
            raise RedisConnectionError(str(refusal))
        return [one for reply in replies for one in reply]

    async def in_time(self, *parts: Sequence[SlotRequest]) -> list[Any]:
        """The replies to one part after the other, all within the time that there is.

        Raises:
            PipeError: they did not come.
        """
        try:
            async with asyncio.timeout(self.patience):
                return [reply for part in parts for reply in await self.call(part)]
        except TimeoutError as error:
            raise RedisConnectionError(f"no reply within {self.patience} s") from error

    async def close(self) -> None:
        """Let go of the connections."""
        for pipe in self.pipes.values():
            await pipe.close()

    async def call(self, errands: Sequence[SlotRequest]) -> list[Any]:
        """The reply to each. Whatever goes wrong, also time that is up, has a later call look anew who has what.

        Raises:
            PipeError: a master cannot be reached, or said no.
        """
        try:
            table = await self.looked()
            for errand in errands:
                errand.place = table[key_slot(errand.key)]
            await self.carried(errands)
        except (RedisConnectionError, asyncio.CancelledError):
            self.is_stale = True
            raise
        return [errand.reply for errand in errands]

    async def carried(self, errands: Sequence[SlotRequest]) -> None:
        """Have every errand replied to, following those that are sent elsewhere."""
        left = errands
        for _ in range(REDIRECTIONS):
            await asyncio.gather(*(self.told(place, mine) for place, mine in by_place(left)))
            left = [errand for errand in left if isinstance(errand.reply, hiredis.ReplyError)]
            if not left:
                return
            for errand in left:
                self.redirect(errand)
        raise RedisConnectionError(f"a command was sent on {REDIRECTIONS} times and never answered: {left[0].reply}")

    async def told(self, place: Place, errands: Sequence[SlotRequest]) -> None:
        """Take the replies of one master."""
        texts = [text for errand in errands for text in ((ASKING, errand.text) if errand.asking else (errand.text,))]
        replies = iter(await self.pipe(place).call(b"".join(texts), len(texts)))
        for errand in errands:
            if errand.asking:
                next(replies)
            errand.reply = next(replies)

    def redirect(self, errand: SlotRequest) -> None:
        """Send an errand where its reply says; raise what is no such reply."""
        kind, _, place = str(errand.reply).partition(" ")
        if kind not in ("MOVED", "ASK"):
            raise RedisConnectionError(str(errand.reply))
        host, _, port = place.rpartition(" ")[2].rpartition(":")
        errand.place, errand.asking = (host or (errand.place or self.hosts[0])[0], int(port)), kind == "ASK"
        self.is_stale = self.is_stale or kind == "MOVED"

    async def looked(self) -> Table:
        """Who has which slot; those who come while one looks wait for what it finds."""
        async with self.looking:
            if self.is_stale and monotonic() - self.looked_at > PAUSE:
                self.table = await self.look()
                self.is_stale, self.looked_at = False, monotonic()
                masters = {place for place in self.table if place}
                others = [place for place in self.address.hosts if place not in masters]
                self.hosts = [*sorted(masters, key=lambda place: place == self.hosts[-1]), *others]
            return self.table

    async def look(self) -> Table:
        """Ask for the slots, one host after the other."""
        error = RedisConnectionError(f"{self.address} names no host")
        for _ in range(len(self.hosts)):
            place = self.hosts[0]
            self.hosts = [*self.hosts[1:], place]
            try:
                [reply] = replies = await self.pipe(place).call(SLOTS, 1)
                refusal = first_error(replies)
                if refusal is None:
                    return table_of(reply, place[0])
                error = RedisConnectionError(str(refusal))
            except RedisConnectionError as unreachable:
                error = unreachable
        raise error

    def pipe(self, place: Place) -> RedisConnection:
        """The connection to a node."""
        if place not in self.pipes:
            node = replace(self.address, kind="redis", hosts=(place,), db=0)
            self.pipes[place] = RedisConnection(node, patience=self.patience)
        return self.pipes[place]


def by_place(errands: Iterable[SlotRequest]) -> Iterable[tuple[Place, list[SlotRequest]]]:
    """Errands by whom they go to."""
    found: dict[Place, list[SlotRequest]] = defaultdict(list)
    for errand in errands:
        if errand.place is None:
            raise RedisConnectionError("nobody in the cluster has the slot of a key")
        found[errand.place].append(errand)
    return found.items()


def table_of(reply: Any, asked: str) -> Table:
    """For each slot its master, of what CLUSTER SLOTS says; a node that has no name yet is the one that was asked."""
    table: Table = [None] * 16384
    for first, last, (host, port, *_), *_ in reply:
        table[first : last + 1] = [(host.decode() or asked, int(port))] * (last + 1 - first)
    return table
