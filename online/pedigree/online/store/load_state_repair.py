"""A view whose mark is damaged: nobody knows which generation of its rows is read. They say so themselves."""

from __future__ import annotations

import re

from pedigree.online.errors import DamagedError
from pedigree.online.store import redis_keys
from pedigree.online.store.load_state import LoadState, LoadStatus
from pedigree.online.store.redis_store import RedisStore


def known_generations(store: RedisStore, view: str, prefix: bytes) -> list[int]:
    """The generation of a view that is read; where its mark is damaged, all that it has rows in."""
    try:
        mark = store.mark(view)
    except DamagedError:
        return stored_generations(store, view, prefix)
    return [0 if mark is None else mark.generation]


def stored_generations(store: RedisStore, view: str, prefix: bytes) -> list[int]:
    """The generations that the entities whose keys start with `prefix` have rows of, in order."""
    field = re.compile(re.escape(redis_keys.field(view, 0)) + rb"(?:~(\d+))?", re.DOTALL)
    found: set[int] = set()
    for keys in store.entities(prefix):
        for fields in store.fields(keys):
            found.update(int(one[1] or 0) for one in map(field.fullmatch, fields) if one)
    return sorted(found)


def mend(store: RedisStore, view: str, prefix: bytes) -> None:
    """Make a view whose mark is damaged one whose first load broke off, to be loaded next; any other is left alone.

    Rows that were pushed go into a generation of their own, as no table has them. All others are deleted: whether they are those
    that were read, or what a refresh left that broke off, nobody knows. Broken off, it can be run again.
    """
    try:
        store.mark(view)
    except DamagedError:
        generations = stored_generations(store, view, prefix)
        new = max(generations, default=-1) + 1
        for generation in generations:
            store.move(redis_keys.field(view, generation), redis_keys.field(view, new), prefix, ends=True)
        store.set_mark(view, LoadState(LoadStatus.LOADING, generation=new))
