"""Records turned into a matrix of numbers, a view at a time. What has a fixed width is copied; varints are read all at once."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, partial
from typing import Any
from zlib import crc32

import numpy as np
import numpy.typing as npt

from pedigree.online.errors import RecordError
from pedigree.online.records.record import FIXED, HEAD, LONG, LONG_MARK, WHOLE
from pedigree.serving.codec.fixed_width import Bytes, events_of, loads_of
from pedigree.serving.codec.response_encoder import ResponseEncoder, Schemas, status_of
from pedigree.serving.v1.serving_pb2 import INVALID, NOT_FOUND, NULL_VALUE, OUTSIDE_MAX_AGE, PRESENT
from pedigree.serving.v1.value_pb2 import Value

NUMBERS = frozenset(FIXED) | {"INT32", "INT64"}
"""The types that are told as numbers."""

DTYPES = {"DOUBLE": "<f8", "FLOAT": "<f4", "BOOL": "u1"}
LONGEST_VARINT = 10
CONTINUES = 128
"""The bit of a varint's byte after which another one comes."""

Matrix = npt.NDArray[np.float64]
Found = Callable[[bytes | None], list[bytes | None] | int]
"""What one record has of the features that are asked for; see `ResponseEncoder.found`."""


@dataclass(frozen=True, slots=True)
class DecodedVectors:
    """What there is of one view beside its numbers: statuses by row and number feature, other features, and what its rows say of
    themselves.

    Attributes:
        statuses: None where every number is PRESENT.
        heads: the head of each row's record, or more of it; zeros where there is none.
        others: for each feature that is no number its serialized values, None where there is none.
        other_statuses: their statuses, by feature and row.
    """

    statuses: Bytes | None
    heads: Bytes
    others: list[list[bytes | None]]
    other_statuses: list[bytes]

    @property
    def events_us(self) -> npt.NDArray[np.int64]:
        """Event times by row, in µs of UTC."""
        return events_of(self.heads)

    @property
    def loads(self) -> npt.NDArray[np.uint32]:
        """The number of the load that wrote each row; 0 is none."""
        return loads_of(self.heads)


@dataclass(frozen=True)
class VectorDecoder:
    """How the records of one view become numbers."""

    encoder: ResponseEncoder

    @cached_property
    def numbers(self) -> tuple[int, ...]:
        """The places, among the features that are asked for, of those that are numbers."""
        return tuple(at for at, one in enumerate(self.encoder.view.features) if one.value_type in NUMBERS)

    @cached_property
    def others(self) -> tuple[int, ...]:
        """The places of those that are not."""
        return tuple(at for at, one in enumerate(self.encoder.view.features) if one.value_type not in NUMBERS)

    @cached_property
    def fixed(self) -> tuple[tuple[str, npt.NDArray[np.intp], npt.NDArray[np.intp]], ...]:
        """By type of one width: the columns of the matrix, and for each the bytes of a record that hold it."""
        schema, offset, at = self.encoder.schema, HEAD.size + self.encoder.schema.null_bytes, {}
        for place in schema.fixed:
            at[place] = offset
            offset += FIXED[schema.types[place]][1]
        found = []
        for kind, dtype in DTYPES.items():
            mine = [(column, at[place]) for column, place in self.stored if schema.types[place] == kind]
            if mine:
                columns = np.array([column for column, _ in mine])
                starts = np.array([start for _, start in mine])
                found.append((dtype, columns, (starts[:, None] + np.arange(FIXED[kind][1])).ravel()))
        return tuple(found)

    @cached_property
    def stored(self) -> tuple[tuple[int, int], ...]:
        """For each column of the matrix, its number and its place in a record."""
        return tuple((column, self.encoder.wanted[at]) for column, at in enumerate(self.numbers))

    @cached_property
    def whole(self) -> tuple[npt.NDArray[np.intp], npt.NDArray[np.intp]]:
        """The columns of the matrix that are whole numbers, and their places among those of a record."""
        schema = self.encoder.schema
        mine = [(column, schema.whole.index(place)) for column, place in self.stored if schema.types[place] in WHOLE]
        return np.array([column for column, _ in mine], np.intp), np.array([place for _, place in mine], np.intp)

    @cached_property
    def null_bits(self) -> npt.NDArray[np.intp]:
        """The bit of each column of the matrix among a record's nulls."""
        return np.array([place for _, place in self.stored], np.intp)

    def decode(
        self, records: Sequence[bytes | None], numbers: Matrix, *, now_us: int, schemas: Schemas
    ) -> DecodedVectors:
        """What there is of some rows.

        Args:
            records: the record of each row.
            numbers: where the numbers go, by row and number feature; NaN where there is none.
            now_us: the instant against which ages are judged.
            schemas: the layouts of records that were written under an older one.
        Raises:
            SchemaMissingError: a record has a layout that the store was not asked for yet.
        """
        oldest_us = self.encoder.oldest_us(now_us)
        block = self.encoder.block_decoder.block(records, oldest_us=oldest_us) if not self.others else None
        if block is not None:
            return self.from_block(block, numbers)
        rows = len(records)
        there = [row for row, record in enumerate(records) if record is not None]
        one_by_one = partial(self.encoder.found, oldest_us=oldest_us, schemas=schemas, alone=rows == 1)
        values, statuses, heads = self.read([records[row] for row in there], oldest_us, one_by_one)  # type: ignore[misc]
        found = DecodedVectors(
            np.full((rows, len(self.numbers)), NOT_FOUND, np.uint8),
            np.zeros((rows, HEAD.size), np.uint8),
            [[None] * rows for _ in self.others],
            [],
        )
        numbers[:] = np.nan
        numbers[there], found.statuses[there] = values, statuses  # type: ignore[index]
        found.heads[there] = heads
        if self.others:
            self.fill_others(found, records, one_by_one)
        return replace(found, statuses=None) if np.all(found.statuses == PRESENT) else found

    def from_block(self, block: Bytes, numbers: Matrix) -> DecodedVectors:
        """The same of a block of records, of a view that has nothing but numbers."""
        column = 0
        for run in self.encoder.block_decoder.runs:
            part = np.ascontiguousarray(block[:, run.start : run.stop]).view(DTYPES[run.kind])
            numbers[:, column : column + run.count] = part
            column += run.count
        return DecodedVectors(None, block, [], [])

    def read(self, records: list[bytes], oldest_us: int, one_by_one: Found) -> tuple[Matrix, Bytes, Bytes]:
        """Numbers, statuses and heads of rows that have a record; a damaged one tells nothing of itself."""
        numbers = np.full((len(records), len(self.numbers)), np.nan)
        statuses = np.full(numbers.shape, INVALID, np.uint8)
        heads = np.zeros((len(records), HEAD.size), np.uint8)
        ours = np.fromiter(map(crc32, records), np.uint32, len(records)) == self.encoder.schema.checksum
        if ours.any():
            mine = [records[at] for at in np.flatnonzero(ours)]
            try:
                numbers[ours], statuses[ours] = self.read_numbers(mine)
                heads[ours] = heads_of(mine)
            except RecordError:
                ours[:] = False  # whichever it is, it is found one by one
        old = ours & (events_of(heads) < oldest_us)
        numbers[old], statuses[old] = np.nan, OUTSIDE_MAX_AGE
        for at in np.flatnonzero(~ours):
            found = one_by_one(records[at])
            if found != INVALID:
                heads[at] = heads_of([records[at]])[0]
                numbers[at], statuses[at] = self.row_of(found)
        return numbers, statuses, heads

    def read_numbers(self, records: list[bytes]) -> tuple[Matrix, Bytes]:
        """The numbers of records of the present layout, whatever their age.

        Raises:
            RecordError: one is not as long as it tells.
        """
        schema, count = self.encoder.schema, len(records)
        first = schema.head.size
        width = first + len(schema.varying)
        sizes = [len(record) - schema.tail for record in records]
        if min(sizes) < width:
            raise RecordError("it is too short")
        buffer = np.frombuffer(b"".join(records), np.uint8)
        starts = np.cumsum([0, *map(len, records[:-1])])
        is_even = len(set(sizes)) == 1
        heads = buffer.reshape(count, -1) if is_even else buffer[starts[:, None] + np.arange(width)]
        numbers = np.empty((count, len(self.numbers)))
        for dtype, columns, places in self.fixed:
            numbers[:, columns] = np.ascontiguousarray(heads[:, places]).view(dtype)
        at = starts + width + varying_sizes(heads[:, first:width].astype(np.int64), buffer, starts + width)
        self.read_whole(numbers, buffer, at, starts + np.array(sizes, np.int64) - at)
        null_bytes = heads[:, HEAD.size : HEAD.size + schema.null_bytes]
        if not null_bytes.any():
            return numbers, np.full(numbers.shape, PRESENT, np.uint8)
        is_null = np.unpackbits(null_bytes, axis=1, bitorder="little")[:, self.null_bits].astype(bool)
        numbers[is_null] = np.nan
        return numbers, np.where(is_null, NULL_VALUE, PRESENT).astype(np.uint8)

    def read_whole(
        self, numbers: Matrix, buffer: Bytes, at: npt.NDArray[np.int64], sizes: npt.NDArray[np.int64]
    ) -> None:
        """The whole numbers of some records: what is left of each.

        Args:
            at: where they start in each record.
            sizes: how many bytes they have.
        """
        count = len(self.encoder.schema.whole)
        if (sizes < 0).any() or (count == 0 and sizes.any()):
            raise RecordError("its length is not what it tells")
        if count == 0:
            return
        stops = np.cumsum(sizes)
        content = buffer[np.arange(stops[-1]) + np.repeat(at - (stops - sizes), sizes)]
        lasts = np.flatnonzero(content < CONTINUES)
        if not np.array_equal(lasts[count - 1 :: count], stops - 1):
            raise RecordError("its whole numbers are not as many as it tells")
        firsts = np.concatenate([[0], lasts[:-1] + 1])
        lengths = lasts - firsts + 1
        if (lengths > LONGEST_VARINT).any():
            raise RecordError("a whole number of it has no end")
        columns, places = self.whole
        numbers[:, columns] = varints(
            content, firsts.reshape(-1, count)[:, places], lengths.reshape(-1, count)[:, places]
        )

    def row_of(self, found: list[bytes | None] | int) -> tuple[Any, Any]:
        """The numbers and statuses of what one record has."""
        if isinstance(found, int):
            return np.nan, found
        mine = [found[at] for at in self.numbers]
        values = [float(plain(value)) if value else np.nan for value in mine]
        return values, list(map(status_of, mine))

    def fill_others(self, found: DecodedVectors, records: Sequence[bytes | None], one_by_one: Found) -> None:
        """The features that are no numbers."""
        statuses = np.empty((len(self.others), len(records)), np.uint8)
        for row, record in enumerate(records):
            values = one_by_one(record)
            if isinstance(values, int):
                statuses[:, row] = values
                continue
            for place, at in enumerate(self.others):
                found.others[place][row] = values[at] or None
                statuses[place, row] = status_of(values[at])
        found.other_statuses.extend(column.tobytes() for column in statuses)


def heads_of(records: Sequence[bytes]) -> Bytes:
    """The head of each record."""
    return np.frombuffer(b"".join([record[: HEAD.size] for record in records]), np.uint8).reshape(-1, HEAD.size)


def varying_sizes(lengths: npt.NDArray[np.int64], buffer: Bytes, at: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """How many bytes the varying values of each record have, whose lengths one byte tells or, before the value, four."""
    is_long = lengths == LONG_MARK
    sizes: npt.NDArray[np.int64] = lengths.sum(axis=1)
    if not is_long.any():
        return sizes
    sizes = np.zeros_like(at)
    for column in range(lengths.shape[1]):
        long = is_long[:, column]
        four = buffer[np.minimum((at + sizes)[long, None] + np.arange(4), len(buffer) - 1)].astype(np.int64)
        sizes += np.where(long, LONG.size, lengths[:, column])
        sizes[long] += four @ np.array([1 << 24, 1 << 16, 1 << 8, 1])
    return sizes


def varints(buffer: Bytes, at: npt.NDArray[np.int64], lengths: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """Whole numbers, each a varint, read side by side."""
    numbers = np.zeros(at.shape, np.uint64)
    last = len(buffer) - 1
    for place in range(int(lengths.max(initial=0))):
        is_there = place < lengths
        byte = buffer[np.minimum(at + place, last)].astype(np.uint64)
        numbers |= np.where(is_there, (byte & np.uint64(127)) << np.uint64(7 * place), np.uint64(0))
    return numbers.view(np.int64)


def plain(value: bytes) -> Any:
    """What a serialized `Value` holds."""
    message = Value.FromString(value)
    return getattr(message, str(message.WhichOneof("val")))
