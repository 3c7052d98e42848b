"""Writes into a real Redis: the newest wins, whoever comes in whatever order."""

from __future__ import annotations

import os
import random
import subprocess
import sys
import threading
from collections.abc import Iterator, Sequence
from itertools import chain
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
import redis

from pedigree.online.records.record import NO_CREATED, head_of
from pedigree.online.store import pipelined_writer, redis_keys, scripts
from pedigree.online.store.address import parse
from pedigree.online.store.load_state import Load, LoadState, LoadStatus, OpenLoad
from pedigree.online.store.redis_store import RedisStore, Written, escaped

from ..distributions import ROOT
from ..redis_server import RedisServer, wait_for
from .random_rows import FIELD, record, rows_of

PREFIX = redis_keys.entity_prefix("p", ["id"])


@pytest.mark.parametrize(
    ("older", "newer"),
    [
        (record(1), record(2)),
        (record(1, 9), record(2, 1)),
        (record(1, 1), record(1, 2)),
        (record(1), record(1, 1)),
        (record(1, 1, load=1), record(1, 1, load=2)),
        (record(-5), record(3)),
        (record(2**52 - 1), record(2**52)),
        (record(1, NO_CREATED + 1), record(1, NO_CREATED + 2)),
    ],
)
def test_the_newer_of_two_rows_wins_in_either_order(redis_store: RedisStore, older: bytes, newer: bytes) -> None:
    """By event time, then created time (nobody told: oldest), then the later load; whichever comes first."""
    for first, second in ((older, newer), (newer, older)):
        redis_store.redis.flushall()
        redis_store.write(FIELD, [(b"k", first)])
        redis_store.write(FIELD, [(b"k", second)])
        assert redis_store.read([b"k"], FIELD) == [newer]


def order(row: bytes) -> tuple[int, int]:
    """What decides."""
    head = head_of(row)
    return head.event_us, head.created_us or 0


@pytest.mark.parametrize(
    ("each", "keys"), [(10_000, 500), pytest.param(125_000, 20_000, marks=pytest.mark.slow)], ids=["80k", "1M"]
)
def test_eight_writers_leave_every_key_at_its_newest(
    redis_server: RedisServer, redis_store: RedisStore, each: int, keys: int
) -> None:
    """Eight processes write random rows, duplicated and in any order: each key ends at its newest; none sees time go back."""
    seeds, backwards, ended = range(8), [], threading.Event()

    def watch() -> None:
        own, seen = RedisStore.open("p", parse(f"127.0.0.1:{redis_server.port}")), dict[bytes, tuple[int, int]]()
        watched = [b"k%d" % number for number in range(50)]
        while not ended.is_set():
            for key, row in zip(watched, own.read(watched, FIELD), strict=True):
                if row is not None:
                    if order(row) < seen.get(key, (0, 0)):
                        backwards.append(key)
                    seen[key] = order(row)
        own.close()

    watcher = threading.Thread(target=watch)
    watcher.start()
    command = [
        sys.executable,
        str(Path(__file__).with_name("random_rows.py")),
        str(redis_server.port),
        str(keys),
        str(each),
    ]
    writers = [
        subprocess.Popen([*command, str(seed)], cwd=ROOT, env={**os.environ, "PYTHONPATH": str(ROOT)}) for seed in seeds
    ]
    assert [writer.wait() for writer in writers] == [0] * 8
    ended.set()
    watcher.join()
    best: dict[bytes, bytes] = {}
    for key, row in chain.from_iterable(rows_of(seed, keys=keys, each=each) for seed in seeds):
        best[key] = max(best.get(key, row), row, key=order)
    assert redis_store.read(list(best), FIELD) == list(best.values())
    assert backwards == []


def test_the_table_s_word_takes_the_place_of_a_newer_load_and_not_of_a_newer_push(redis_store: RedisStore) -> None:
    """Restoring writes an older row over a load's, deletes where there is none, and leaves a newer pushed row alone."""
    redis_store.write(FIELD, [(b"bad", record(9, load=5)), (b"new", record(9, load=5)), (b"pushed", record(9, load=0))])
    rows = [(b"bad", record(3, load=6)), (b"new", b""), (b"pushed", record(3, load=6)), (b"gone", record(2, load=6))]
    assert redis_store.write(FIELD, rows, scripts.RESTORE).written == 3
    assert redis_store.read([b"bad", b"new", b"pushed", b"gone"], FIELD) == [
        record(3, load=6),
        None,
        record(9, load=0),
        record(2, load=6),
    ]


def test_pushed_rows_go_along_into_the_next_generation(redis_store: RedisStore) -> None:
    """Moving takes pushed rows that are newer, leaves loaded ones behind, and ends the old field."""
    old, new = redis_keys.field("view", 0), redis_keys.field("view", 1)
    one, two, three = (redis_keys.entity_key(PREFIX, [b"\x20" + bytes([number])]) for number in (1, 2, 3))
    redis_store.write(old, [(one, record(5)), (two, record(5)), (three, record(5, load=1))])
    redis_store.write(new, [(one, record(3, load=2)), (two, record(9, load=2)), (three, record(5, load=2))])
    assert redis_store.move(old, new, PREFIX, ends=True) == 1
    assert redis_store.read([one, two, three], new) == [record(5), record(9, load=2), record(5, load=2)]
    assert redis_store.read([one, two, three], old) == [None] * 3


def test_rows_pushed_into_a_flushed_store_do_not_make_it_look_full(redis_store: RedisStore) -> None:
    """A declared view is open once rows come; a view that the store does not know stays unknown."""
    redis_store.declare("known")
    for view in ("known", "unknown"):
        redis_store.open_view(view)
    assert redis_store.mark("known") == LoadState(LoadStatus.OPEN)
    assert redis_store.mark("unknown") is None
    redis_store.set_mark("known", LoadState(LoadStatus.LOADED, load=3))
    redis_store.open_view("known")
    redis_store.declare("known")
    assert redis_store.mark("known") == LoadState(LoadStatus.LOADED, load=3)


def test_a_mark_is_set_by_a_load_that_knows_the_last_one(redis_store: RedisStore) -> None:
    """Of loads that read the same mark one may set it; neither may one that was struck off, and what is left to do is kept."""
    one, two, three = (redis_store.begin(Load("view", "a-run", "a-table", version)) for version in range(3))
    assert list(redis_store.open_loads("view")) == [one, two, three]
    first, second = LoadState(LoadStatus.LOADED, load=one), LoadState(LoadStatus.LOADED, load=two)
    assert redis_store.swap_mark("view", b"", first, number=one, becomes=OpenLoad("view", moves_from=7))
    assert not redis_store.swap_mark("view", b"", second, number=two, becomes=None)
    redis_store.strike_off([two])
    assert not redis_store.swap_mark("view", redis_store.mark_text("view"), second, number=two, becomes=None)
    assert redis_store.mark("view") == first
    assert redis_store.open_loads("view") == {one: OpenLoad("view", 7), three: OpenLoad("view")}
    assert redis_store.open_loads("another") == {}


def test_what_one_load_wrote_is_forgotten_and_nothing_else(redis_store: RedisStore) -> None:
    """Records of another load, and pushed ones, stay."""
    one, two, three = (redis_keys.entity_key(PREFIX, [b"\x20" + bytes([number])]) for number in (1, 2, 3))
    redis_store.write(FIELD, [(one, record(1, load=4)), (two, record(1, load=5)), (three, record(1))])
    assert redis_store.forget_load(FIELD, PREFIX, 4) == 1
    assert redis_store.read([one, two, three], FIELD) == [None, record(1, load=5), record(1)]


def test_forgetting_one_view_or_project_touches_no_other(redis_store: RedisStore) -> None:
    """A project whose name is a pattern of another's, and another view of the same entity, keep their rows."""
    mine, theirs = (
        redis_keys.entity_key(redis_keys.entity_prefix(name, ["id"]), [b"\x20\x01"]) for name in ("a", "aa")
    )
    other = redis_keys.field("other", 0)
    for key in (mine, theirs):
        redis_store.write(FIELD, [(key, record(1))])
        redis_store.write(other, [(key, record(1))])
    assert redis_store.forget(FIELD, redis_keys.entity_prefix("a", ["id"])) == 1
    assert redis_store.read([mine], FIELD) == [None]
    assert redis_store.read([theirs], FIELD) + redis_store.read([mine], other) == [record(1)] * 2
    assert escaped(b"a*[b]?") == b"a\\*\\[b\\]\\?"


def test_a_script_that_redis_forgot_is_sent_again(redis_store: RedisStore) -> None:
    """After SCRIPT FLUSH, as after a restart of Redis, writes go on."""
    redis_store.write(FIELD, [(b"k", record(1))])
    redis_store.redis.script_flush()
    assert redis_store.write(FIELD, [(b"k", record(2))]).written == 1


@pytest.mark.parametrize("script", [scripts.WRITE, scripts.RESTORE])
def test_columns_are_written_as_rows_are(redis_store: RedisStore, monkeypatch: pytest.MonkeyPatch, script: str) -> None:
    """Rows sent by column, in calls of any size, leave and count what the same rows sent one by one do."""
    rng = random.Random(3)
    rows = [
        (b"k%d" % rng.randrange(90), record(rng.randrange(50), rng.randrange(9), load=7) + bytes(rng.randrange(300)))
        for _ in range(500)
    ]
    keys = list(dict(rows))
    one_by_one = sum((redis_store.write(FIELD, [row], script) for row in rows), Written())
    expected = redis_store.read(keys, FIELD)
    assert script == scripts.RESTORE or one_by_one == Written(len(keys), len(rows) - len(keys))
    for size in (1, 7, 256, 1000):
        monkeypatch.setattr(pipelined_writer, "BATCH", size)
        redis_store.redis.flushall()
        assert pipelined_writer.write(redis_store, FIELD, *columns_of(rows), script) == one_by_one
        assert redis_store.read(keys, FIELD) == expected


def test_rows_of_no_number_are_sent_in_no_call(redis_store: RedisStore) -> None:
    """An empty batch is no error."""
    assert pipelined_writer.write(redis_store, FIELD, *columns_of([]), scripts.WRITE) == Written()


def test_a_stream_that_breaks_off_is_sent_again(redis_store: RedisStore, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the connection is lost in the middle, or Redis forgot the script, every row is there in the end, and counted once."""
    rows = [(b"k%d" % number, record(number, load=7)) for number in range(1000)]
    parts, connections = pipelined_writer.calls, redis.Redis(port=redis_store.address.hosts[0][1])

    def cut(*arguments: Any) -> Iterator[bytes]:
        for number, call in enumerate(parts(*arguments)):
            if number == 2:
                connections.client_kill_filter(_type="normal", skipme=True)
            yield call

    redis_store.write(FIELD, rows[:1])
    with monkeypatch.context() as patch:
        patch.setattr(pipelined_writer, "calls", cut)
        assert pipelined_writer.write(redis_store, FIELD, *columns_of(rows), scripts.WRITE) == Written(1000)
    redis_store.redis.script_flush()
    assert pipelined_writer.write(redis_store, FIELD, *columns_of(rows), scripts.WRITE) == Written(1000)
    assert redis_store.read([key for key, _ in rows], FIELD) == [row for _, row in rows]
    connections.close()


def test_what_redis_refuses_is_an_error(redis_store: RedisStore) -> None:
    """A key of another type ends a write with Redis's own words, and the connection is fit for the next."""
    redis_store.redis.set(b"k5", b"text")
    rows = [(b"k%d" % number, record(number, load=7)) for number in range(1000)]
    with pytest.raises(redis.exceptions.ResponseError, match="WRONGTYPE"):
        pipelined_writer.write(redis_store, FIELD, *columns_of(rows), scripts.WRITE)
    redis_store.redis.delete(b"k5")
    assert pipelined_writer.write(redis_store, FIELD, *columns_of(rows), scripts.WRITE).written == 1000


def columns_of(rows: Sequence[tuple[bytes, bytes]]) -> tuple[pa.Array, pa.Array]:
    """Keys and records as columns."""
    return pa.array([key for key, _ in rows], pa.binary()), pa.array([row for _, row in rows], pa.binary())


def test_a_cluster_takes_the_same_writes(tmp_path: Path) -> None:
    """A Redis in cluster mode is written, marked and read by the same calls, its keys in many slots."""
    server = RedisServer(tmp_path, options=("--cluster-enabled", "yes"))
    server.start()
    try:
        with redis.Redis(port=server.port) as node:
            node.execute_command("CLUSTER", "ADDSLOTS", *range(16384))
            wait_for(lambda: "cluster_state:ok" in str(node.execute_command("CLUSTER", "INFO")))
        redis_store = RedisStore.open("p", parse(f"127.0.0.1:{server.port}", kind="redis_cluster"))
        rows = [(redis_keys.entity_key(PREFIX, [b"\x20" + bytes([number])]), record(number)) for number in range(100)]
        assert redis_store.write(FIELD, rows).written == 100
        assert pipelined_writer.write(redis_store, FIELD, *columns_of(rows[:50]), scripts.WRITE).written == 50
        assert redis_store.read([key for key, _ in rows], FIELD) == [row for _, row in rows]
        number = redis_store.begin(Load("view", "a-run", "a-table", 0))
        mark = LoadState(LoadStatus.LOADED, load=number)
        assert redis_store.swap_mark("view", b"", mark, number=number, becomes=None)
        assert (redis_store.mark("view"), redis_store.open_loads("view")) == (mark, {})
        assert redis_store.forget(FIELD, PREFIX) == 100
        redis_store.close()
    finally:
        server.kill()
