"""Records that nothing reads: of a view that is gone, of a load that was killed, of a generation that was replaced."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection
from dataclasses import dataclass

from pedigree.online.store import redis_keys
from pedigree.online.store.redis_store import RedisStore

BEFORE = b"~"
"""What stands before a generation's number in the name of a field."""


@dataclass(frozen=True, slots=True)
class Strays:
    """What was found.

    Attributes:
        entities: how many entities were looked at.
        records: how many records of theirs nothing reads.
        is_whole: whether all entities were looked at.
    """

    entities: int
    records: int
    is_whole: bool = True


def find_strays(store: RedisStore, *, gone: Collection[str] = (), seconds: float | None = None) -> Strays:
    """Count the records that nothing reads; none is deleted.

    Args:
        gone: views that the store knows, and nobody else does.
        seconds: how long to look; None looks at all.
    """
    return each_stray(store, lambda _key, _fields: None, gone=gone, seconds=seconds)


def remove_strays(store: RedisStore, told: Callable[[int], object] = lambda _entities: None) -> Strays:
    """Delete the records that nothing reads.

    Args:
        told: hears how many more entities were looked at.
    """
    return each_stray(store, lambda key, fields: store.redis.hdel(key, *fields), told=told)


def each_stray(
    store: RedisStore,
    act: Callable[[bytes, list[bytes]], object],
    *,
    gone: Collection[str] = (),
    told: Callable[[int], object] = lambda _entities: None,
    seconds: float | None = None,
) -> Strays:
    """Look at entities, and act on those with records that nothing reads."""
    began, newest = time.monotonic(), store.last_load()
    entities = records = 0
    for keys in store.entities(redis_keys.project_prefix(store.project)):
        found = store.fields(keys)
        live = live_fields(store, gone=gone)  # read after them: a view that came meanwhile has records, too
        for key, fields in zip(keys, found, strict=True):
            strays = [field for field in fields if field not in live and generation(field) <= newest]
            records += len(strays)
            if strays:
                act(key, strays)
        entities += len(keys)
        told(len(keys))
        if seconds is not None and time.monotonic() - began > seconds:
            return Strays(entities, records, is_whole=False)
    return Strays(entities, records)


def live_fields(store: RedisStore, *, gone: Collection[str] = ()) -> set[bytes]:
    """The fields that are read, and those that loads under way write.

    Raises:
        DamagedError: a mark cannot be read, so nobody can say what is read.
    """
    live = set()
    for view in store.views().difference(gone):
        mark = store.mark(view)
        if mark is not None:
            live.add(redis_keys.field(view, mark.generation))
        live.update(redis_keys.field(view, number) for number in store.open_loads(view))
    return live


def generation(field: bytes) -> int:
    """The number of the load that a field was made by; 0 where there is none."""
    number = field[redis_keys.FIELD_BYTES :].removeprefix(BEFORE)
    return int(number) if number.isdigit() else 0
