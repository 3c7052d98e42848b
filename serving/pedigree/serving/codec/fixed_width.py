"""Records that differ in nothing but their numbers, as one block of bytes: a row each, read and written all at once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import accumulate, groupby
from zlib import crc32

import numpy as np
import numpy.typing as npt

from pedigree.online.records.record import FIXED, HEAD, Schema

Bytes = npt.NDArray[np.uint8]

WORTH_IT = 6
"""Fewer rows are read sooner one by one."""


@dataclass(frozen=True, slots=True)
class FieldRun:
    """Features of one type that lie beside each other, in records as in the answer: from which byte, how many, which type."""

    start: int
    count: int
    kind: str

    @property
    def width(self) -> int:
        """The bytes of one value."""
        return FIXED[self.kind][1]

    @property
    def stop(self) -> int:
        """Where they end."""
        return self.start + self.count * self.width


@dataclass(frozen=True)
class Blocks:
    """Records of some schemas, side by side: a row holds one of each, in their order."""

    schemas: tuple[Schema, ...]

    @cached_property
    def are_even(self) -> bool:
        """Whether all their records are of one width."""
        return all(schema.is_even for schema in self.schemas)

    @cached_property
    def sizes(self) -> list[int]:
        """The width of a record of each."""
        return [schema.even_size for schema in self.schemas]

    @cached_property
    def checksums(self) -> list[int]:
        """The CRC-32 of an intact record of each."""
        return [schema.checksum for schema in self.schemas]

    @cached_property
    def starts(self) -> list[int]:
        """The byte of a row at which the record of each starts."""
        return [0, *accumulate(self.sizes[:-1])]

    @cached_property
    def nulls(self) -> npt.NDArray[np.intp]:
        """The bytes of a row that say which values are null."""
        starts = [start + HEAD.size for start in self.starts]
        pairs = zip(starts, self.schemas, strict=True)
        return np.concatenate([np.arange(start, start + schema.null_bytes) for start, schema in pairs])

    @cached_property
    def times(self) -> npt.NDArray[np.intp]:
        """The bytes of a row that hold event times."""
        return np.concatenate([np.arange(start, start + 8) for start in self.starts])

    def read(self, records: Sequence[bytes | None], *, oldest_us: Sequence[int]) -> list[Bytes] | None:
        """A block of each schema, a row each; None where they cannot be read so, and each record has to be looked at.

        Args:
            records: row by row, all of a row behind each other.
            oldest_us: the oldest event time of each schema that still counts.
        """
        count = len(records) // len(self.sizes)
        if not self.are_even or list(map(len, filter(None, records))) != self.sizes * count:
            return None
        if list(map(crc32, records)) != self.checksums * count:  # type: ignore[arg-type]  # none is None here
            return None
        rows = np.frombuffer(b"".join(records), np.uint8).reshape(-1, sum(self.sizes))  # type: ignore[arg-type]  # none is None here
        if rows.take(self.nulls, axis=1).any():
            return None
        events = rows.take(self.times, axis=1).view(">i8")
        if (events.min(axis=0) < oldest_us).any():
            return None
        return [rows[:, start : start + size] for start, size in zip(self.starts, self.sizes, strict=True)]


@dataclass(frozen=True)
class FixedWidthDecoder:
    """How records of a schema are read as a block; only features of one width can be.

    Attributes:
        wanted: the places of the features that are asked for, in the order of the answer.
    """

    schema: Schema
    wanted: tuple[int, ...]

    @cached_property
    def blocks(self) -> Blocks:
        """How they are read."""
        return Blocks((self.schema,))

    @cached_property
    def runs(self) -> tuple[FieldRun, ...]:
        """The features that are asked for, as few runs as they make; none where one has no width of its own."""
        if not set(self.wanted) <= set(self.schema.fixed):
            return ()
        offsets, at = {}, HEAD.size + self.schema.null_bytes
        for place in self.schema.fixed:
            offsets[place] = at
            at += FIXED[self.schema.types[place]][1]
        cells = [(offsets[place], self.schema.types[place]) for place in self.wanted]
        numbered = [(start - number * FIXED[kind][1], kind, start) for number, (start, kind) in enumerate(cells)]
        runs = [list(run) for _, run in groupby(numbered, key=lambda cell: cell[:2])]
        return tuple(FieldRun(run[0][2], len(run), run[0][1]) for run in runs)

    def block(self, records: Sequence[bytes | None], *, oldest_us: int) -> Bytes | None:
        """The records as a block; None where they cannot be read so, and each has to be looked at.

        Args:
            oldest_us: the oldest event time that still counts.
        """
        if len(records) < WORTH_IT or not self.runs:
            return None
        blocks = self.blocks.read(records, oldest_us=(oldest_us,))
        return None if blocks is None else blocks[0]


def events_of(block: Bytes) -> npt.NDArray[np.int64]:
    """Event times, in µs of UTC."""
    events: npt.NDArray[np.int64] = block[:, :8].copy().view(">i8")[:, 0]
    return events


def loads_of(block: Bytes) -> npt.NDArray[np.uint32]:
    """The numbers of the loads that wrote the records."""
    loads: npt.NDArray[np.uint32] = block[:, 16:20].copy().view(">u4")[:, 0]
    return loads
