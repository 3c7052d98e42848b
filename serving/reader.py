"""What is read of the online store for a request: records by key, and what is loaded of their views, in one round trip."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any, Protocol

from online import names
from online.address import Address
from online.marks import Load, Mark
from online.record import Schema
from serving.errors import NotLoadedError, StoreUnavailableError
from serving.pipe import Pipe, PipeError, bulk, command, first_error

log = logging.getLogger(__name__)

Record = bytes | None
HMGET = b"$5\r\nHMGET\r\n"


@dataclass(frozen=True, slots=True)
class Wanted:
    """The records of some views, by their stored names, for some entities that all these views are about."""

    views: tuple[str, ...]
    keys: Sequence[bytes]


class Store(Protocol):
    """What a reader needs of a Redis, or of a cluster of them."""

    async def hmget(self, asked: Sequence[tuple[bytes, tuple[bytes, ...]]]) -> list[Any]:
        """The fields of each hash, in the order of `asked`. The last is read when all before it were."""

    async def get(self, key: bytes) -> Any:
        """One string."""

    async def ping(self, key: bytes) -> None:
        """Raises where nobody answers who has this key."""

    async def close(self) -> None:
        """Let go of the connections."""


class PipeStore:
    """A single Redis, or the master of its sentinels."""

    def __init__(self, address: Address, *, patience: float) -> None:
        self.pipe = Pipe(address, patience=patience)

    async def hmget(self, asked: Sequence[tuple[bytes, tuple[bytes, ...]]]) -> list[Any]:
        """See `Store`."""
        commands, last, start, end = [], None, b"", b""
        for key, fields in asked:
            if fields is not last:
                start, end, last = b"*%d\r\n" % (len(fields) + 2) + HMGET, b"".join(map(bulk, fields)), fields
            commands.append(b"%b$%d\r\n%b\r\n%b" % (start, len(key), key, end))
        return await self.call(b"".join(commands), len(commands))

    async def get(self, key: bytes) -> Any:
        """See `Store`."""
        return (await self.call(command(b"GET", key), 1))[0]

    async def ping(self, key: bytes) -> None:
        """See `Store`."""
        await self.call(command(b"EXISTS", key), 1)

    async def call(self, commands: bytes, count: int) -> list[Any]:
        """Send commands; a reply that is an error is raised."""
        replies = await self.pipe.call(commands, count)
        error = first_error(replies)
        if error is not None:
            raise PipeError(str(error))
        return replies

    async def close(self) -> None:
        """See `Store`."""
        await self.pipe.close()


def open_store(address: Address, *, patience: float) -> Store:
    """The store at an address; it is first spoken to by the first read."""
    if address.kind == "redis_cluster":
        from serving.cluster import ClusterStore

        return ClusterStore(address, patience=patience)
    return PipeStore(address, patience=patience)


@dataclass(slots=True)
class Reader:
    """Reads records of one project. Never waits longer than `timeout`.

    Attributes:
        marks: what was last seen to be loaded of each view; every read checks it.
        schemas: the layouts of records that were seen under another than the plan's.
    """

    project: str
    store: Store
    timeout: timedelta
    marks: dict[str, tuple[bytes, Mark]] = field(default_factory=dict)
    schemas: dict[bytes, Schema] = field(default_factory=dict)
    loads: dict[int, Load] = field(default_factory=dict)
    fields: dict[tuple[tuple[str, int], ...], tuple[bytes, ...]] = field(default_factory=dict)

    @classmethod
    def open(cls, project: str, address: Address, *, timeout: timedelta) -> Reader:
        """A reader of the store at an address."""
        return cls(project, open_store(address, patience=timeout.total_seconds()), timeout)

    async def read(self, wanted: Sequence[Wanted]) -> list[list[list[Record]]]:
        """For each of `wanted`, for each key, the record of each view; None where there is none.

        Raises:
            StoreUnavailableError: the store refused, or did not answer in time.
            NotLoadedError: a view is not loaded, so what is missing says nothing.
        """
        found: list[list[list[Record]]] = await self.in_time(self.read_now(wanted))
        return found

    async def in_time(self, work: Any) -> Any:
        """The result of reading, within the time that there is."""
        try:
            async with asyncio.timeout(self.timeout.total_seconds()):
                return await work
        except TimeoutError as error:
            log.warning("the online store did not answer within %s", self.timeout)
            raise StoreUnavailableError from error
        except PipeError as error:
            log.warning("the online store cannot be read: %s", error)
            raise StoreUnavailableError from error

    async def read_now(self, wanted: Sequence[Wanted]) -> list[list[list[Record]]]:
        """Read; and read again where a view was found to be in another generation, which happens once per full refresh.

        The marks are read behind the records: what they say was true when the records were read.
        """
        views = tuple(dict.fromkeys(view for one in wanted for view in one.views))
        told_views = tuple(view.encode() for view in views)
        for _ in range(3):
            before = [self.generation(view) for view in views]
            asked = [(key, fields) for one in wanted for fields in (self.fields_of(one.views),) for key in one.keys]
            *replies, marks = await self.store.hmget([*asked, (names.views_key(self.project), told_views)])
            for view, text in zip(views, marks, strict=True):
                self.notice(view, text)
            if [self.generation(view) for view in views] == before:
                return dealt(replies, wanted)
        raise StoreUnavailableError

    def generation(self, view: str) -> int:
        """The generation that is read of a view, as far as we know."""
        return self.marks[view][1].generation if view in self.marks else 0

    def notice(self, view: str, text: bytes | None) -> None:
        """Take note of what is loaded of a view."""
        seen = self.marks.get(view)
        if seen is None or seen[0] != text:
            if text is None:
                self.marks.pop(view, None)
                raise NotLoadedError(view)
            self.marks[view] = seen = (text, Mark.read(text))
        if not seen[1].readable:
            raise NotLoadedError(view)

    def fields_of(self, views: tuple[str, ...]) -> tuple[bytes, ...]:
        """The fields that hold the records of views; the same tuple each time."""
        name = tuple((view, self.generation(view)) for view in views)
        found = self.fields.get(name)
        if found is None:
            found = self.fields[name] = tuple(names.field(view, generation) for view, generation in name)
        return found

    async def learn_schemas(self, fingerprints: set[bytes]) -> None:
        """Know layouts of records that were written under an older one."""
        unknown = [one for one in fingerprints if one not in self.schemas]
        if not unknown:
            return
        fields = tuple(one.hex().encode() for one in unknown)
        [texts] = await self.in_time(self.store.hmget([(names.schemas_key(self.project), fields)]))
        for fingerprint, text in zip(unknown, texts, strict=True):
            if text is not None:
                self.schemas[fingerprint] = Schema.read(text.decode())

    async def learn_loads(self, numbers: set[int]) -> dict[int, Load]:
        """Who wrote records with these numbers; 0 is nobody: a row that came by itself."""
        unknown = sorted(number for number in numbers if number and number not in self.loads)
        if unknown:
            fields = tuple(str(number).encode() for number in unknown)
            [texts] = await self.in_time(self.store.hmget([(names.loads_key(self.project), fields)]))
            for number, text in zip(unknown, texts, strict=True):
                if text is not None:
                    self.loads[number] = Load.read(text)
        return {number: self.loads[number] for number in numbers if number in self.loads}

    async def plan(self) -> bytes | None:
        """The plan as it is kept beside the rows."""
        text: bytes | None = await self.in_time(self.store.get(names.plan_key(self.project)))
        return text

    async def ping(self) -> None:
        """Raises `StoreUnavailableError` where the store does not answer in time."""
        await self.in_time(self.store.ping(names.views_key(self.project)))

    async def close(self) -> None:
        """Let go of the store's connections."""
        await self.store.close()


def dealt(replies: Sequence[Any], wanted: Sequence[Wanted]) -> list[list[list[Record]]]:
    """Replies in the shape of what was wanted."""
    found, at = [], 0
    for one in wanted:
        found.append(list(replies[at : at + len(one.keys)]))
        at += len(one.keys)
    return found
