"""What is read of the online store for a request: records by key, and what is loaded of their views, in one round trip."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from typing import TypeVar

from pedigree.online.errors import DamagedError
from pedigree.online.records.record import Schema
from pedigree.online.store import redis_keys
from pedigree.online.store.address import Address
from pedigree.online.store.eviction import Memory
from pedigree.online.store.load_state import Load, LoadState
from pedigree.serving.errors import StoreUnavailableError, ViewNotLoadedError
from pedigree.serving.lru import Lru
from pedigree.serving.store.evictions import refuse_evicted
from pedigree.serving.store.redis_client import Store, open_store
from pedigree.serving.store.redis_connection import RedisConnectionError

log = logging.getLogger(__name__)

T = TypeVar("T")

Record = bytes | None
Row = Sequence[Record]
"""The records that one key has of some views, in their order."""

ATTEMPTS = 3
"""How often is read anew where views change under a reader: one is enough for a refresh."""
UNKNOWN = object()
"""In place of a mark that was not read yet."""
SCHEMAS_KEPT = 4096
"""How many layouts are known before those are forgotten that the store does not tell."""
VIEWS_KEPT = 1 << 14
"""How many views the ways of reading have, together, that are kept."""


@dataclass(frozen=True, slots=True)
class Lookup:
    """The records of some views, by their stored names, for some entities that all these views are about."""

    views: tuple[str, ...]
    keys: Sequence[bytes]


@dataclass(frozen=True, slots=True)
class Way:
    """How views are read for as long as nothing changes of what is loaded.

    Attributes:
        fields: what holds their records, by the groups in which they are wanted.
        views: all of them, each once.
        marks: what the store says of each while it is as we know it; UNKNOWN, which it never says, of one that cannot be read.
        evictable: whether Redis could evict rows of one of them while it was filled.
    """

    fields: tuple[tuple[bytes, ...], ...]
    views: tuple[str, ...]
    marks: list[object]
    evictable: bool
    state_lookup: tuple[tuple[bytes], tuple[bytes, ...]]


@dataclass(slots=True)
class Reader:
    """Reads records of one project.

    Attributes:
        marks: what was last seen to be loaded of each view; every read checks it.
        schemas: the layouts that records may have which are not of the plan's; None: the store does not tell one.
        ways: how views are read, by the groups in which they are wanted.
        memories: what each Redis last said of its memory; None where our user may not ask.
        may_evict: whether rows may have been evicted, so that one that is missing has to be asked about.
    """

    project: str
    store: Store
    marks: dict[str, tuple[bytes, LoadState]] = field(default_factory=dict)
    schemas: dict[bytes, Schema | None] = field(default_factory=dict)
    loads: dict[int, Load] = field(default_factory=dict)
    ways: Lru[tuple[tuple[str, ...], ...], Way] = field(default_factory=lambda: Lru(VIEWS_KEPT))
    memories: tuple[Memory, ...] | None = None
    may_evict: bool = False

    @classmethod
    def open(cls, project: str, address: Address, *, timeout: timedelta) -> Reader:
        """A reader of the store at an address, which never waits longer than `timeout` for an answer."""
        return cls(project, open_store(address, patience=timeout.total_seconds()))

    async def read(self, wanted: Sequence[Lookup]) -> list[list[Row]]:
        """For each of `wanted`, for each key, the record of each view; None where there is none.

        The marks are read behind the records: what they say was true when the records were read. Where a view is found to be
        in another generation, which happens once per full refresh, is read again.

        Raises:
            StoreUnavailableError: the store refused, or did not answer in time.
            NotLoadedError: a view is not loaded, so what is missing says nothing.
            DamagedError, NewerFormatError: what the store says of a view cannot be read.
            EvictedRowError: a row is missing, and the store may have evicted it.
        """
        views = tuple([one.views for one in wanted])
        way = self.ways.get(views) or self.way(views)
        for _ in range(ATTEMPTS):
            asked = [(one.keys, fields) for one, fields in zip(wanted, way.fields, strict=True)]
            replies = await self.answer(self.store.hmget([*asked, way.state_lookup]))
            marks = replies.pop()
            if marks == way.marks:
                return await self.whole(dealt(replies, wanted), way, views)
            before, way = way, self.learnt(way, marks, views)
            if way.fields == before.fields:
                return await self.whole(dealt(replies, wanted), way, views)
        raise StoreUnavailableError

    async def whole(self, found: list[list[Row]], way: Way, views: tuple[tuple[str, ...], ...]) -> list[list[Row]]:
        """What was found, where all that is missing never was."""
        if self.may_evict or way.evictable:
            await refuse_evicted(self, found, way.fields, views)
        return found

    async def answer(self, call: Awaitable[T]) -> T:
        """What the store answers.

        Raises:
            StoreUnavailableError: it does not.
        """
        try:
            return await call
        except RedisConnectionError as error:
            log.warning("the online store cannot be read: %s", error)
            raise StoreUnavailableError from error

    def learnt(self, way: Way, marks: Sequence[bytes | None], views: tuple[tuple[str, ...], ...]) -> Way:
        """How the same views are read by what the store says of them now.

        Raises:
            NotLoadedError: one of them is not loaded.
        """
        self.ways.clear()
        self.forget_missing_schemas()
        for view, text in zip(way.views, marks, strict=True):
            self.notice(view, text)
        return self.way(views)

    def notice(self, view: str, text: bytes | None) -> None:
        """Take note of what is loaded of a view.

        Raises:
            NotLoadedError: nothing is.
            DamagedError, NewerFormatError: what the store says of it cannot be read.
        """
        seen = self.marks.get(view)
        if seen is None or seen[0] != text:
            self.marks.pop(view, None)
            if text is None:
                raise ViewNotLoadedError(view)
            self.marks[view] = seen = (text, LoadState.read(text, view))
        if not seen[1].readable:
            raise ViewNotLoadedError(view)

    def way(self, views: tuple[tuple[str, ...], ...]) -> Way:
        """How views are read, as far as we know what is loaded of them."""
        every = tuple(dict.fromkeys(view for group in views for view in group))
        known = {view: self.marks[view] for view in every if view in self.marks and self.marks[view][1].readable}
        generations = {view: mark.generation for view, (_, mark) in known.items()}
        way = Way(
            fields=tuple(tuple(redis_keys.field(view, generations.get(view, 0)) for view in group) for group in views),
            views=every,
            marks=[known[view][0] if view in known else UNKNOWN for view in every],
            evictable=any(mark.evictable for _, mark in known.values()),
            state_lookup=((redis_keys.marks_key(self.project),), tuple(view.encode() for view in every)),
        )
        self.ways.keep(views, way, weight=1 + len(every))
        return way

    async def learn_schemas(self, fingerprints: set[bytes]) -> None:
        """Know layouts of records that were written under an older one; one that is damaged, or not there, stays unknown.

        Raises:
            NewerFormatError, RecordError: another release wrote records of this layout.
        """
        unknown = [one for one in fingerprints if self.schemas.get(one) is None]
        if not unknown:
            return
        if len(self.schemas) > SCHEMAS_KEPT:
            self.forget_missing_schemas()
        fields = tuple(one.hex().encode() for one in unknown)
        [texts] = await self.answer(self.store.hmget([((redis_keys.schemas_key(self.project),), fields)]))
        for fingerprint, text in zip(unknown, texts, strict=True):
            try:
                self.schemas[fingerprint] = None if text is None else Schema.kept(text, fingerprint)
            except DamagedError as error:
                log.error("%s", error)
                self.schemas[fingerprint] = None

    def forget_missing_schemas(self) -> None:
        """Ask the store again, with the next record, for layouts that it did not tell: it may have been mended."""
        for fingerprint in [one for one, schema in self.schemas.items() if schema is None]:
            del self.schemas[fingerprint]  # in place: requests that are under way look into this one

    async def learn_loads(self, numbers: set[int]) -> dict[int, Load]:
        """Who wrote records with these numbers; 0 is nobody: a row that came by itself.

        Raises:
            DamagedError, NewerFormatError: what the store says of a load cannot be read.
        """
        unknown = sorted(number for number in numbers if number and number not in self.loads)
        if unknown:
            fields = tuple(str(number).encode() for number in unknown)
            [texts] = await self.answer(self.store.hmget([((redis_keys.loads_key(self.project),), fields)]))
            for number, text in zip(unknown, texts, strict=True):
                if text is not None:
                    self.loads[number] = Load.read(text, number)
        return {number: self.loads[number] for number in numbers if number in self.loads}

    async def plan(self) -> bytes | None:
        """The plan as it is kept beside the rows."""
        text: bytes | None = await self.answer(self.store.get(redis_keys.plan_key(self.project)))
        return text

    async def ping(self) -> None:
        """Raises `StoreUnavailableError` where the store does not answer in time."""
        await self.answer(self.store.ping(redis_keys.marks_key(self.project)))

    async def close(self) -> None:
        """Let go of the store's connections."""
        await self.store.close()


def dealt(replies: list[Row], wanted: Sequence[Lookup]) -> list[list[Row]]:
    """Replies in the shape of what was wanted."""
    if len(wanted) == 1:
        return [replies]
    found, at = [], 0
    for one in wanted:
        found.append(replies[at : at + len(one.keys)])
        at += len(one.keys)
    return found
