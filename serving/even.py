"""Records that differ in nothing but their numbers, as one block of bytes: a row each, read and written all at once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import groupby

import numpy as np
import numpy.typing as npt

from online.record import FIXED, HEAD, Schema

Bytes = npt.NDArray[np.uint8]

WORTH_IT = 6
"""Fewer rows are read sooner one by one."""


@dataclass(frozen=True, slots=True)
class Run:
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
class Even:
    """How records of a schema are read as a block; only features of one width can be.

    Attributes:
        wanted: the places of the features that are asked for, in the order of the answer.
    """

    schema: Schema
    wanted: tuple[int, ...]

    @cached_property
    def same(self) -> Bytes:
        """What every record has of fingerprint and nulls: the present layout, and none."""
        return np.frombuffer(self.schema.fingerprint + bytes(self.schema.null_bytes), np.uint8)

    @cached_property
    def runs(self) -> tuple[Run, ...]:
        """The features that are asked for, as few runs as they make; none where one has no width of its own."""
        if set(self.wanted) & set(self.schema.varying):
            return ()
        offsets, at = {}, HEAD.size + self.schema.null_bytes
        for place in self.schema.fixed:
            offsets[place] = at
            at += FIXED[self.schema.types[place]][1]
        cells = [(offsets[place], self.schema.types[place]) for place in self.wanted]
        numbered = [(start - number * FIXED[kind][1], kind, start) for number, (start, kind) in enumerate(cells)]
        runs = [list(run) for _, run in groupby(numbered, key=lambda cell: cell[:2])]
        return tuple(Run(run[0][2], len(run), run[0][1]) for run in runs)

    def block(self, records: Sequence[bytes | None], *, oldest_us: int | None) -> Bytes | None:
        """The records as a block; None where they cannot be read so, and each has to be looked at.

        Args:
            oldest_us: the oldest event time that still counts; None: any does.
        """
        size = self.schema.head.size
        if len(records) < WORTH_IT or self.schema.varying or not self.runs or None in records:
            return None
        if set(map(len, records)) != {size}:  # type: ignore[arg-type]  # none is None here
            return None
        block = np.frombuffer(b"".join(records), np.uint8).reshape(-1, size)  # type: ignore[arg-type]
        if (block[:, HEAD.size - 4 : HEAD.size + self.schema.null_bytes] != self.same).any():
            return None
        if oldest_us is not None and events_of(block).min() < oldest_us:
            return None
        return block


def events_of(block: Bytes) -> npt.NDArray[np.int64]:
    """Event times, in µs of UTC."""
    events: npt.NDArray[np.int64] = block[:, :8].copy().view(">i8")[:, 0]
    return events


def loads_of(block: Bytes) -> npt.NDArray[np.uint32]:
    """The numbers of the loads that wrote the records."""
    loads: npt.NDArray[np.uint32] = block[:, 16:20].copy().view(">u4")[:, 0]
    return loads
