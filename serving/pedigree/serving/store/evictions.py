"""Whether a row that is missing may have been evicted: asked behind the rows, where Redis evicts or has evicted."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import TYPE_CHECKING

from pedigree.online.store import redis_keys
from pedigree.online.store.eviction import EVER, Baseline, Memory, may_lack_rows
from pedigree.serving.errors import EvictedRowError, StoreUnavailableError
from pedigree.serving.store.redis_connection import RedisConnectionError

if TYPE_CHECKING:
    from pedigree.serving.store.reader import Reader, Row

log = logging.getLogger(__name__)


async def refuse_evicted(
    reader: Reader, found: Sequence[Sequence[Row]], fields: Sequence[Sequence[bytes]], views: Sequence[Sequence[str]]
) -> None:
    """Raise where rows that are missing may have been there.

    Args:
        found: for each group of views, for each key, the record of each view.
        fields, views: of each group, what holds the records, and the views' names.
    Raises:
        EvictedRowError: keys were evicted since a view was filled.
    """
    missing = {
        field: view
        for rows, group_fields, group in zip(found, fields, views, strict=True)
        for row in rows
        for record, field, view in zip(row, group_fields, group, strict=True)
        if record is None
    }
    if not missing:
        return
    asked = ((redis_keys.evictions_key(reader.project),), tuple(missing))
    [texts] = await reader.answer(reader.store.hmget([asked]))
    memories = await learn_memories(reader) or ()
    for view, text in zip(missing.values(), texts, strict=True):
        if may_lack_rows(Baseline.read(text), memories, evictable=reader.marks[view][1].evictable):
            raise EvictedRowError(view)


async def learn_memories(reader: Reader) -> tuple[Memory, ...] | None:
    """What each Redis says of its memory now; None where our user may not ask."""
    try:
        reader.memories = tuple(Memory.read(text) for text in await reader.store.info())
    except RedisConnectionError as error:
        if not str(error).startswith("NOPERM"):
            log.warning("the online store cannot be asked of its memory: %s", error)
            raise StoreUnavailableError from error
        reader.memories = None
    return reader.memories


async def look_at_memory(reader: Reader) -> None:
    """Learn whether rows may have been evicted: where Redis evicts, where it has, and where it could when a view was filled."""
    memories = await learn_memories(reader) or ()
    [[ever]] = await reader.answer(reader.store.hmget([((redis_keys.evictions_key(reader.project),), (EVER,))]))
    reader.may_evict = ever is not None or any(one.evicts or one.evicted for one in memories)
