"""A view whose mark is damaged, made ready for a load: no pushed row is lost, and no row is left of which nobody knows."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from pedigree.online.errors import NewerFormatError
from pedigree.online.records.record import Head, Schema
from pedigree.online.store import redis_keys
from pedigree.online.store.address import parse
from pedigree.online.store.load_state import LoadState, LoadStatus
from pedigree.online.store.load_state_repair import mend
from pedigree.online.store.redis_store import RedisStore

from ..redis_server import RedisServer

SCHEMA = Schema.of([("weight", "DOUBLE")])
PREFIX = redis_keys.entity_prefix("birds", ["bird"])
LOADED, PUSHED = 7, 0


@pytest.fixture
def redis_store(tmp_path: Path) -> Iterator[RedisStore]:
    """An empty store."""
    server = RedisServer(tmp_path)
    server.start()
    made = RedisStore.open("birds", parse(f"127.0.0.1:{server.port}"))
    yield made
    made.close()
    server.kill()


def record(event_us: int, load: int) -> bytes:
    """A row."""
    return SCHEMA.pack(Head(event_us, None, load, SCHEMA.fingerprint), [None])


def rows(redis_store: RedisStore, view: str, generation: int) -> dict[bytes, bytes]:
    """What a generation has, by entity."""
    keys = [key for part in redis_store.entities(PREFIX) for key in part]
    found = zip(keys, redis_store.read(keys, redis_keys.field(view, generation)), strict=True)
    return {key.removeprefix(PREFIX): row for key, row in found if row is not None}


def fill(redis_store: RedisStore, view: str, generation: int, *named: tuple[bytes, int, int]) -> None:
    """Rows of (entity, event time, load)."""
    redis_store.write(redis_keys.field(view, generation), [(PREFIX + key, record(at, load)) for key, at, load in named])


def test_pushed_rows_stay_and_loaded_ones_of_nobody_knows_when_go(redis_store: RedisStore) -> None:
    """Of every generation the newest pushed row of each entity goes on into a new one, which no mark calls readable; another
    view, and one whose name starts alike, keep what they have. Done twice it is the same.
    """
    fill(redis_store, "weights", 0, (b"kiwi", 10, LOADED), (b"moa", 20, PUSHED), (b"emu", 30, PUSHED))
    fill(redis_store, "weights", 12, (b"kiwi", 40, PUSHED), (b"emu", 20, PUSHED), (b"rhea", 50, LOADED))
    fill(redis_store, "weights_2", 12, (b"kiwi", 1, LOADED))
    for view in ("weights", "weights"):
        redis_store.redis.hset(redis_keys.marks_key("birds"), view, b"{junk")
        mend(redis_store, view, PREFIX)
        mark = redis_store.mark("weights")
        assert mark is not None and mark.state is LoadStatus.LOADING
        assert rows(redis_store, "weights", mark.generation) == {
            b"kiwi": record(40, PUSHED),
            b"moa": record(20, PUSHED),
            b"emu": record(30, PUSHED),
        }
        assert rows(redis_store, "weights", 0) == rows(redis_store, "weights", 12) == {}
    assert rows(redis_store, "weights_2", 12) == {b"kiwi": record(1, LOADED)}


def test_what_is_whole_or_newer_is_left_alone(redis_store: RedisStore) -> None:
    """A readable mark, and one of a newer release, are not touched, nor are their rows."""
    fill(redis_store, "weights", 3, (b"kiwi", 10, LOADED))
    redis_store.set_mark("weights", LoadState(LoadStatus.LOADED, generation=3))
    mend(redis_store, "weights", PREFIX)
    assert redis_store.mark("weights") == LoadState(LoadStatus.LOADED, generation=3)
    redis_store.redis.hset(redis_keys.marks_key("birds"), "weights", b'{"format":99}')
    with pytest.raises(NewerFormatError):
        mend(redis_store, "weights", PREFIX)
    assert rows(redis_store, "weights", 3) == {b"kiwi": record(10, LOADED)}


def test_a_view_that_nothing_is_stored_of_is_mended_too(redis_store: RedisStore) -> None:
    """A damaged mark without any row becomes one of a load to come."""
    redis_store.redis.hset(redis_keys.marks_key("birds"), "weights", b"\xff")
    mend(redis_store, "weights", PREFIX)
    assert redis_store.mark("weights") == LoadState(LoadStatus.LOADING, generation=0)
