"""The online store of one project, as those see it who fill it: schemas, loads, marks, and rows of which the newest wins."""

from __future__ import annotations

import logging
from collections import defaultdict
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import redis.exceptions

from pedigree.online.errors import DamagedError
from pedigree.online.records.record import Schema
from pedigree.online.store import redis_keys, scripts
from pedigree.online.store.address import Address, client
from pedigree.online.store.eviction import EVER, Baseline, Memory, may_lack_rows
from pedigree.online.store.load_state import Load, LoadState, LoadStatus, OpenLoad

log = logging.getLogger(__name__)

BATCH = 256
"""Rows per script call: Redis does nothing else meanwhile, which is about a millisecond."""

SCAN = 1000
ALIVE = 60
"""Seconds after which a load that is not heard of is taken for dead. Nothing but the room that it takes hangs on it."""

AT_ONCE = 1000
"""Script calls that are sent to a master of a cluster without waiting for its replies."""

Call = tuple[Sequence[bytes], Sequence[Any]]
"""The keys and the arguments of a script."""


@dataclass(frozen=True, slots=True)
class Written:
    """What became of records that were written.

    Attributes:
        written: keys that the store took one of, as not older than what was there.
        again: records that found another one of their own load for their key.
    """

    written: int = 0
    again: int = 0

    def __add__(self, other: Written) -> Written:
        return Written(self.written + other.written, self.again + other.again)


@dataclass(frozen=True, slots=True)
class RedisStore:
    """The rows of one project in Redis, and what is known of them."""

    project: str
    address: Address
    redis: Any = field(repr=False)
    hashes: dict[str, str] = field(default_factory=dict)

    @classmethod
    def open(cls, project: str, address: Address) -> RedisStore:
        """The store at an address; it is first spoken to by the first call."""
        return cls(project, address, client(address))

    def close(self) -> None:
        """Let go of the connections."""
        self.redis.close()

    def memories(self) -> tuple[Memory, ...] | None:
        """What each Redis that holds rows says of its memory; None where our user may not ask."""
        try:
            if self.address.kind != "redis_cluster":
                return (Memory.of(self.redis.info()),)
            found = self.redis.info(target_nodes=type(self.redis).PRIMARIES)
        except redis.exceptions.NoPermissionError:
            return None
        nodes = [found] if "run_id" in found else found.values()
        return tuple(Memory.of(info) for info in nodes)

    def set_baseline(self, field: bytes, memories: Sequence[Memory] | None) -> None:
        """Remember how much had been evicted before a view's field was filled."""
        if memories is None:
            return
        key, baseline = redis_keys.evictions_key(self.project), Baseline.of(memories)
        self.redis.hset(key, field, baseline.text())
        if baseline.evicts:
            self.redis.hset(key, EVER, "1")

    def may_lack_rows(self, view: str, mark: LoadState) -> bool:
        """Whether rows of a view may have been evicted since it was filled, as its mark says."""
        field = redis_keys.field(view, mark.generation)
        baseline = Baseline.read(self.redis.hget(redis_keys.evictions_key(self.project), field))
        return may_lack_rows(baseline, self.memories() or (), evictable=mark.evictable)

    def register(self, schema: Schema) -> None:
        """Tell readers the layout of records that are about to be written."""
        self.redis.hset(redis_keys.schemas_key(self.project), schema.fingerprint.hex(), schema.text)

    def schema(self, fingerprint: bytes) -> Schema | None:
        """The layout with a fingerprint; None where the store does not tell it.

        Raises:
            NewerFormatError, RecordError: another release wrote records of this layout.
        """
        text = self.redis.hget(redis_keys.schemas_key(self.project), fingerprint.hex())
        try:
            return None if text is None else Schema.kept(text, fingerprint)
        except DamagedError as error:
            log.error("%s", error)
            return None

    def begin(self, load: Load) -> int:
        """The number of a new load, which is open from here on: others that begin later know of it."""
        number = int(self.redis.incr(redis_keys.last_load_key(self.project)))
        self.redis.hset(redis_keys.loads_key(self.project), str(number), load.text())
        self.keep_alive(number)
        self.redis.hset(redis_keys.open_loads_key(self.project), str(number), OpenLoad(load.view).text())
        return number

    def last_load(self) -> int:
        """The number of the newest load; 0 where there was none."""
        return int(self.redis.get(redis_keys.last_load_key(self.project)) or 0)

    def keep_alive(self, number: int) -> None:
        """A load is still under way."""
        self.redis.set(redis_keys.alive_key(self.project, number), "1", ex=ALIVE)

    def is_alive(self, number: int) -> bool:
        """True where a load was heard of lately."""
        return bool(self.redis.exists(redis_keys.alive_key(self.project, number)))

    def open_loads(self, view: str) -> dict[int, OpenLoad]:
        """The loads of a view that have begun and not ended well, by their numbers."""
        texts = self.redis.hgetall(redis_keys.open_loads_key(self.project))
        every = {int(number): OpenLoad.read(text, int(number)) for number, text in texts.items()}
        return {number: load for number, load in sorted(every.items()) if load.view == view}

    def strike_off(self, numbers: Collection[int]) -> None:
        """Loads are open no more, and can set no mark: what they wrote is gone, or is read by nobody."""
        if numbers:
            self.redis.hdel(redis_keys.open_loads_key(self.project), *(str(number) for number in numbers))

    def add_progress(self, number: int, rows: int) -> None:
        """A load is so many rows further."""
        self.redis.hincrby(redis_keys.progress_key(self.project), str(number), rows)

    def progress(self, number: int) -> int:
        """How many rows of a load are done."""
        return int(self.redis.hget(redis_keys.progress_key(self.project), str(number)) or 0)

    def end_progress(self, number: int) -> None:
        """A load has ended, well or not."""
        self.redis.hdel(redis_keys.progress_key(self.project), str(number))
        self.redis.delete(redis_keys.alive_key(self.project, number))

    def mark_text(self, view: str) -> bytes:
        """The mark of a view as it is kept, empty where the store does not know the view."""
        return self.redis.hget(redis_keys.marks_key(self.project), view) or b""

    def mark(self, view: str) -> LoadState | None:
        """What is loaded of a view; None where the store does not know it.

        Raises:
            DamagedError, NewerFormatError: what the store says of it cannot be read.
        """
        text = self.redis.hget(redis_keys.marks_key(self.project), view)
        return None if text is None else LoadState.read(text, view)

    def views(self) -> set[str]:
        """The views that the store knows."""
        return {name.decode(errors="replace") for name in self.redis.hkeys(redis_keys.marks_key(self.project))}

    def set_mark(self, view: str, mark: LoadState) -> None:
        """Say what is loaded of a view."""
        self.redis.hset(redis_keys.marks_key(self.project), view, mark.text())

    def swap_mark(self, view: str, seen: bytes, mark: LoadState, *, number: int, becomes: OpenLoad | None) -> bool:
        """Say what is loaded of a view, where nobody has said otherwise since `seen`; False where somebody has.

        Args:
            seen: the mark as it was kept when the load read it.
            number: the load that says so; one that was struck off says nothing.
            becomes: what the load still has to do; None where it has ended with this.
        """
        keys = [redis_keys.marks_key(self.project), redis_keys.open_loads_key(self.project)]
        arguments = [view, seen, mark.text(), str(number), becomes.text() if becomes else ""]
        return bool(self.script(self.redis, scripts.SWAP_MARK, keys, arguments))

    def declare(self, view: str) -> None:
        """Make a view known that is new."""
        self.redis.hsetnx(redis_keys.marks_key(self.project), view, LoadState(LoadStatus.DECLARED).text())

    def open_view(self, view: str, *, evictable: bool = False) -> None:
        """Rows of a declared view come one by one from here on, into a Redis that may evict them where it is `evictable`."""
        mark = LoadState(LoadStatus.OPEN, evictable=evictable)
        self.script(self.redis, scripts.OPEN, [redis_keys.marks_key(self.project)], [view, mark.text()])

    def write(self, field: bytes, rows: Sequence[tuple[bytes, bytes]], script: str = scripts.WRITE) -> Written:
        """Write records in one field of many entities' hashes, where they are not older than what is there.

        Args:
            rows: the key of each entity's hash, and its record.
            script: `scripts.WRITE` or `scripts.RESTORE`.
        """
        calls = [([key for key, _ in part], [field, *(record for _, record in part)]) for part in self.parted(rows)]
        return sum((Written(*told) for told in self.each(script, calls)), Written())

    def parted(self, rows: Sequence[tuple[bytes, bytes]]) -> Iterator[Sequence[tuple[bytes, bytes]]]:
        """Rows in parts that may go in one script; in a cluster a script has keys of one slot."""
        slots: dict[int, list[tuple[bytes, bytes]]] = defaultdict(list)
        is_cluster = self.address.kind == "redis_cluster"
        for row in rows if is_cluster else ():
            slots[self.redis.keyslot(row[0])].append(row)
        for mine in slots.values() if is_cluster else (rows,):
            for start in range(0, len(mine), BATCH):
                yield mine[start : start + BATCH]

    def each(self, script: str, calls: Sequence[Call]) -> Iterator[Any]:
        """What a script says to each of many calls; in a cluster many go to a master at once, as each has few keys."""
        if self.address.kind != "redis_cluster":
            for keys, arguments in calls:
                yield self.script(self.redis, script, keys, arguments)
            return
        nodes: dict[str, list[Call]] = defaultdict(list)
        for call in calls:
            nodes[self.redis.get_node_from_key(call[0][0]).name].append(call)
        for name, mine in nodes.items():
            for start in range(0, len(mine), AT_ONCE):
                yield from self.at_once(name, script, mine[start : start + AT_ONCE])

    def at_once(self, node: str, script: str, calls: Sequence[Call]) -> Iterator[Any]:
        """The same of one master; what it does not answer goes one by one to whoever has the slot by now."""
        pipe = self.redis.get_redis_connection(self.redis.get_node(node_name=node)).pipeline(transaction=False)
        for keys, arguments in calls:
            pipe.evalsha(self.hash_of(self.redis, script), len(keys), *keys, *arguments)
        try:
            replies = pipe.execute(raise_on_error=False)
        except (redis.exceptions.ConnectionError, redis.exceptions.TimeoutError) as error:
            replies = [error] * len(calls)
        for call, reply in zip(calls, replies, strict=True):
            yield self.script(self.redis, script, *call) if isinstance(reply, Exception) else reply

    def script(self, node: Any, script: str, keys: Sequence[bytes], arguments: Sequence[Any]) -> Any:
        """Run a script, which Redis is sent once."""
        name = self.hash_of(node, script)
        try:
            return node.evalsha(name, len(keys), *keys, *arguments)
        except redis.exceptions.NoScriptError:
            node.script_load(script)
            return node.evalsha(name, len(keys), *keys, *arguments)

    def hash_of(self, node: Any, script: str) -> str:
        """The name by which Redis knows a script that it was sent."""
        if script not in self.hashes:
            self.hashes[script] = node.script_load(script)
        return self.hashes[script]

    def read(self, keys: Sequence[bytes], field: bytes) -> list[bytes | None]:
        """The record of each entity in one field."""
        pipe = self.redis.pipeline(**({} if self.address.kind == "redis_cluster" else {"transaction": False}))
        for key in keys:
            pipe.hget(key, field)
        return list(pipe.execute())

    def fields(self, keys: Sequence[bytes]) -> list[list[bytes]]:
        """The names of all fields of each entity's hash."""
        pipe = self.redis.pipeline(**({} if self.address.kind == "redis_cluster" else {"transaction": False}))
        for key in keys:
            pipe.hkeys(key)
        return list(pipe.execute())

    def forget(self, field: bytes, prefix: bytes, told: Callable[[int], object] = lambda _rows: None) -> int:
        """Delete one field of every entity whose key starts with `prefix`; returns of how many."""
        gone = 0
        for keys in self.entities(prefix):
            pipe = self.redis.pipeline(**({} if self.address.kind == "redis_cluster" else {"transaction": False}))
            for key in keys:
                pipe.hdel(key, field)
            gone += sum(pipe.execute())
            told(len(keys))
        self.redis.hdel(redis_keys.evictions_key(self.project), field)
        return gone

    def forget_load(self, field: bytes, prefix: bytes, number: int) -> int:
        """Delete what one load wrote into a field; returns how many records."""
        return self.in_every(scripts.FORGET_LOAD, prefix, [field, str(number)])

    def move(self, old: bytes, new: bytes, prefix: bytes, *, ends: bool) -> int:
        """Take pushed rows from one generation's field into the next, and end the old one where it `ends`; returns how many."""
        return self.in_every(scripts.MOVE, prefix, [old, new, "1" if ends else "0"])

    def move_keys(self, old: bytes, new: bytes, keys: Sequence[bytes]) -> int:
        """Take the pushed rows of some entities into the next generation's field, and end the old one; returns how many."""
        return self.in_these(scripts.MOVE, keys, [old, new, "1"])

    def in_every(self, script: str, prefix: bytes, arguments: Sequence[Any]) -> int:
        """Run a script over all entities whose key starts with `prefix`; returns the sum of what it says."""
        return sum(self.in_these(script, keys, arguments) for keys in self.entities(prefix))

    def in_these(self, script: str, keys: Sequence[bytes], arguments: Sequence[Any]) -> int:
        """Run a script over some entities; returns the sum of what it says."""
        calls = [([key for key, _ in part], arguments) for part in self.parted([(key, b"") for key in keys])]
        return sum(int(said) for said in self.each(script, calls))

    def entities(self, prefix: bytes) -> Iterator[list[bytes]]:
        """The keys of all entities that start with `prefix`, in parts; nothing in a prefix is a pattern."""
        part: list[bytes] = []
        for key in self.redis.scan_iter(match=escaped(prefix) + b"*", count=SCAN):
            if not redis_keys.is_entity_key(key):
                continue
            part.append(key)
            if len(part) == SCAN:
                yield part
                part = []
        if part:
            yield part

    def drop_project(self) -> None:
        """Forget everything of the project but its entities' records."""
        every = (redis_keys.marks_key, redis_keys.loads_key, redis_keys.last_load_key, redis_keys.progress_key)
        more = (redis_keys.open_loads_key, redis_keys.evictions_key, redis_keys.schemas_key, redis_keys.plan_key)
        for key in (*every, *more):
            self.redis.delete(key(self.project))

    def drop(self, view: str) -> None:
        """No longer know a view."""
        self.redis.hdel(redis_keys.marks_key(self.project), view)

    def plan(self) -> str:
        """The plan that servers go by, as it is kept; empty where there is none."""
        return (self.redis.get(redis_keys.plan_key(self.project)) or b"").decode()

    def replace_plan(self, old: str, new: str) -> None:
        """Give the servers a new plan in place of one that was seen, unless somebody else has given them another since."""
        self.script(self.redis, scripts.REPLACE, [redis_keys.plan_key(self.project)], [old, new])

    def loads(self, numbers: Sequence[int]) -> Mapping[int, Load]:
        """Who wrote the records with these numbers."""
        if not numbers:
            return {}
        texts = self.redis.hmget(redis_keys.loads_key(self.project), [str(number) for number in numbers])
        return {
            number: Load.read(text, number) for number, text in zip(numbers, texts, strict=True) if text is not None
        }


def escaped(prefix: bytes) -> bytes:
    """A prefix in which nothing stands for anything else, for Redis's MATCH."""
    return b"".join(b"\\" + bytes([byte]) if byte in b"*?[]^\\-" else bytes([byte]) for byte in prefix)
