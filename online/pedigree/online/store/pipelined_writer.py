"""Whole columns of records into the store: no object per row, and the next call on its way while Redis works on the last one."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import redis.exceptions

from pedigree.online.records.batch_encoder import lengths_of
from pedigree.online.store.redis_protocol import bulk
from pedigree.online.store.redis_store import BATCH, RedisStore, Written

AHEAD = 2
"""Calls that are on their way at a time: one that Redis works on, and one that it then finds."""

BROKEN_OFF = (redis.exceptions.ConnectionError, redis.exceptions.TimeoutError, redis.exceptions.NoScriptError)


@dataclass(frozen=True, slots=True)
class PipelinedWriter:
    """Values as Redis is sent them (`$length`, then the bytes), one behind the other.

    Attributes:
        offsets: where each of them starts in `content`, and where the last one ends.
    """

    content: memoryview
    offsets: npt.NDArray[np.int32]

    @classmethod
    def of(cls, values: pa.Array) -> PipelinedWriter:
        """The values of a binary column without nulls."""
        lengths, place = np.unique(lengths_of(values), return_inverse=True)
        fronts = pa.array([b"$%d\r\n" % length for length in lengths], pa.binary()).take(pa.array(place))
        end, between = pa.scalar(b"\r\n", pa.binary()), pa.scalar(b"", pa.binary())
        _, offsets, content = pc.binary_join_element_wise(fronts, values, end, between).buffers()
        return cls(memoryview(content), np.frombuffer(offsets, np.int32, len(values) + 1))

    def part(self, start: int, stop: int) -> memoryview:
        """The values from `start` to before `stop`."""
        return self.content[self.offsets[start] : self.offsets[stop]]


def write(store: RedisStore, field: bytes, keys: pa.Array, records: pa.Array, script: str) -> Written:
    """Write records in one field of many entities' hashes, as `RedisStore.write` does.

    If the connection breaks, `RedisStore.write` sends everything again; records that are there by then count as written. In a
    cluster it sends everything from the start, since all keys of a call must be of one slot.
    """
    if store.address.kind != "redis_cluster":
        try:
            return streamed(store, calls(store, script, field, PipelinedWriter.of(keys), PipelinedWriter.of(records)))
        except BROKEN_OFF:
            store.hashes.pop(script, None)
    return store.write(field, list(zip(keys.to_pylist(), records.to_pylist(), strict=True)), script)


def calls(
    store: RedisStore, script: str, field: bytes, keys: PipelinedWriter, records: PipelinedWriter
) -> Iterator[bytes]:
    """The calls of a script, as Redis is sent them."""
    name, rows = store.hash_of(store.redis, script).encode(), len(keys.offsets) - 1
    for start in range(0, rows, BATCH):
        stop = min(start + BATCH, rows)
        count = b"%d" % (stop - start)
        front = b"*%d\r\n$7\r\nEVALSHA\r\n%b%b" % (4 + 2 * (stop - start), bulk(name), bulk(count))
        yield b"".join((front, keys.part(start, stop), bulk(field), records.part(start, stop)))


def streamed(store: RedisStore, packed: Iterator[bytes]) -> Written:
    """Send calls over one connection, and add up what they answer."""
    pool = store.redis.connection_pool
    connection: Any = pool.get_connection()
    taken, waiting = Written(), 0
    try:
        for call in packed:
            connection.send_packed_command([call])
            waiting += 1
            if waiting == AHEAD:
                taken, waiting = taken + Written(*connection.read_response()), waiting - 1
        for _ in range(waiting):
            taken += Written(*connection.read_response())
    except BaseException:
        connection.disconnect()  # answers that are still to come are nobody's
        raise
    finally:
        pool.release(connection)
    return taken
