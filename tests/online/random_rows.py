"""Random rows of few keys, and a writer of them: `python random_rows.py <port> <keys> <each> <seed>`."""

from __future__ import annotations

import random
import sys

from pedigree.online.records.record import Head, Schema
from pedigree.online.store import redis_keys
from pedigree.online.store.address import parse
from pedigree.online.store.redis_store import RedisStore

SCHEMA = Schema.of([("amount", "INT64")])
FIELD = redis_keys.field("view", 0)
BATCH = 500


def record(event: int, created: int | None = None, *, load: int = 0, amount: int = 1) -> bytes:
    """A record of one whole number below 128."""
    return SCHEMA.pack(Head(event, created, load, SCHEMA.fingerprint), [b"\x20" + bytes([amount])])


def rows_of(seed: int, *, keys: int, each: int) -> list[tuple[bytes, bytes]]:
    """So many rows for some keys, a tenth of them twice, in any order."""
    rng = random.Random(seed)
    rows = [(b"k%d" % rng.randrange(keys), record(rng.randrange(1_000_000), rng.randrange(50))) for _ in range(each)]
    rows += rng.choices(rows, k=each // 10)
    rng.shuffle(rows)
    return rows


def main() -> None:
    """Write the rows of one seed."""
    port, keys, each, seed = map(int, sys.argv[1:])
    redis_store, rows = RedisStore.open("p", parse(f"127.0.0.1:{port}")), rows_of(seed, keys=keys, each=each)
    for start in range(0, len(rows), BATCH):
        redis_store.write(FIELD, rows[start : start + BATCH])
    redis_store.close()


if __name__ == "__main__":
    main()
