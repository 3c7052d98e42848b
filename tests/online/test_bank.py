"""Writes into a real Redis: the newest wins, whoever comes in whatever order."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from itertools import chain
from pathlib import Path

import pytest
import redis

from online import names, scripts
from online.address import parse
from online.bank import Bank, escaped
from online.marks import Mark, State
from online.record import NO_CREATED, head_of

from ..redis_server import RedisServer, wait_for
from .random_rows import FIELD, record, rows_of

ROOT = Path(__file__).resolve().parents[2]
PREFIX = names.entity_prefix("p", ["id"])


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    made = RedisServer(tmp_path_factory.mktemp("redis"))
    made.start()
    yield made
    made.kill()


@pytest.fixture
def bank(server: RedisServer) -> Iterator[Bank]:
    """An empty store."""
    opened = Bank.open("p", parse(f"127.0.0.1:{server.port}"))
    opened.redis.flushall()
    yield opened
    opened.close()


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
def test_the_newer_of_two_rows_wins_in_either_order(bank: Bank, older: bytes, newer: bytes) -> None:
    """By event time, then created time (nobody told: oldest), then the later load; whichever comes first."""
    for first, second in ((older, newer), (newer, older)):
        bank.redis.flushall()
        bank.write(FIELD, [(b"k", first)])
        bank.write(FIELD, [(b"k", second)])
        assert bank.read([b"k"], FIELD) == [newer]


def order(row: bytes) -> tuple[int, int]:
    """What decides."""
    head = head_of(row)
    return head.event_us, head.created_us or 0


@pytest.mark.parametrize(
    ("each", "keys"), [(10_000, 500), pytest.param(125_000, 20_000, marks=pytest.mark.slow)], ids=["80k", "1M"]
)
def test_eight_writers_leave_every_key_at_its_newest(server: RedisServer, bank: Bank, each: int, keys: int) -> None:
    """Eight processes write random rows, duplicated and in any order: each key ends at its newest; none sees time go back."""
    seeds, backwards, ended = range(8), [], threading.Event()

    def watch() -> None:
        own, seen = Bank.open("p", parse(f"127.0.0.1:{server.port}")), dict[bytes, tuple[int, int]]()
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
    command = [sys.executable, str(Path(__file__).with_name("random_rows.py")), str(server.port), str(keys), str(each)]
    writers = [
        subprocess.Popen([*command, str(seed)], cwd=ROOT, env={**os.environ, "PYTHONPATH": str(ROOT)}) for seed in seeds
    ]
    assert [writer.wait() for writer in writers] == [0] * 8
    ended.set()
    watcher.join()
    best: dict[bytes, bytes] = {}
    for key, row in chain.from_iterable(rows_of(seed, keys=keys, each=each) for seed in seeds):
        best[key] = max(best.get(key, row), row, key=order)
    assert bank.read(list(best), FIELD) == list(best.values())
    assert backwards == []


def test_the_table_s_word_takes_the_place_of_a_newer_load_and_not_of_a_newer_push(bank: Bank) -> None:
    """Restoring writes an older row over a load's, deletes where there is none, and leaves a newer pushed row alone."""
    bank.write(FIELD, [(b"bad", record(9, load=5)), (b"new", record(9, load=5)), (b"pushed", record(9, load=0))])
    rows = [(b"bad", record(3, load=6)), (b"new", b""), (b"pushed", record(3, load=6)), (b"gone", record(2, load=6))]
    assert bank.write(FIELD, rows, scripts.RESTORE) == 3
    assert bank.read([b"bad", b"new", b"pushed", b"gone"], FIELD) == [
        record(3, load=6),
        None,
        record(9, load=0),
        record(2, load=6),
    ]


def test_pushed_rows_go_along_into_the_next_generation(bank: Bank) -> None:
    """Moving takes pushed rows that are newer, leaves loaded ones behind, and ends the old field."""
    old, new = names.field("view", 0), names.field("view", 1)
    one, two, three = (names.entity_key(PREFIX, [b"\x20" + bytes([number])]) for number in (1, 2, 3))
    bank.write(old, [(one, record(5)), (two, record(5)), (three, record(5, load=1))])
    bank.write(new, [(one, record(3, load=2)), (two, record(9, load=2)), (three, record(5, load=2))])
    assert bank.move(old, new, PREFIX, ends=True) == 1
    assert bank.read([one, two, three], new) == [record(5), record(9, load=2), record(5, load=2)]
    assert bank.read([one, two, three], old) == [None] * 3


def test_rows_pushed_into_a_flushed_store_do_not_make_it_look_full(bank: Bank) -> None:
    """A declared view is open once rows come; a view that the store does not know stays unknown."""
    bank.declare("known")
    for view in ("known", "unknown"):
        bank.open_view(view)
    assert bank.mark("known") == Mark(State.OPEN)
    assert bank.mark("unknown") is None
    bank.set_mark("known", Mark(State.LOADED, load=3))
    bank.open_view("known")
    bank.declare("known")
    assert bank.mark("known") == Mark(State.LOADED, load=3)


def test_forgetting_one_view_or_project_touches_no_other(bank: Bank) -> None:
    """A project whose name is a pattern of another's, and another view of the same entity, keep their rows."""
    mine, theirs = (names.entity_key(names.entity_prefix(name, ["id"]), [b"\x20\x01"]) for name in ("a", "aa"))
    other = names.field("other", 0)
    for key in (mine, theirs):
        bank.write(FIELD, [(key, record(1))])
        bank.write(other, [(key, record(1))])
    assert bank.forget(FIELD, names.entity_prefix("a", ["id"])) == 1
    assert bank.read([mine], FIELD) == [None]
    assert bank.read([theirs], FIELD) + bank.read([mine], other) == [record(1)] * 2
    assert escaped(b"a*[b]?") == b"a\\*\\[b\\]\\?"


def test_a_script_that_redis_forgot_is_sent_again(bank: Bank) -> None:
    """After SCRIPT FLUSH, as after a restart of Redis, writes go on."""
    bank.write(FIELD, [(b"k", record(1))])
    bank.redis.script_flush()
    assert bank.write(FIELD, [(b"k", record(2))]) == 1


def test_a_cluster_takes_the_same_writes(tmp_path: Path) -> None:
    """A Redis in cluster mode is written and read by the same calls, its keys in many slots."""
    server = RedisServer(tmp_path, options=("--cluster-enabled", "yes"))
    server.start()
    try:
        with redis.Redis(port=server.port) as node:
            node.execute_command("CLUSTER", "ADDSLOTS", *range(16384))
            wait_for(lambda: "cluster_state:ok" in str(node.execute_command("CLUSTER", "INFO")))
        bank = Bank.open("p", parse(f"127.0.0.1:{server.port}", kind="redis_cluster"))
        rows = [(names.entity_key(PREFIX, [b"\x20" + bytes([number])]), record(number)) for number in range(100)]
        assert bank.write(FIELD, rows) == 100
        assert bank.write(FIELD, rows[:50]) == 50
        assert bank.read([key for key, _ in rows], FIELD) == [row for _, row in rows]
        assert bank.forget(FIELD, PREFIX) == 100
        bank.close()
    finally:
        server.kill()
