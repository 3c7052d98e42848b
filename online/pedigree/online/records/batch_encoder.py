"""Columns of a batch as serialized `Value`s, and batches as keys and records: numpy and Arrow, no object per value."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from itertools import pairwise
from typing import Any
from zlib import crc32

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from pedigree.online.errors import UnfitValueError
from pedigree.online.records.exact_columns import declared
from pedigree.online.records.record import FIXED, HEAD, LONG, LONG_MARK, NO_CREATED, SEAL, WHOLE, Schema

Bytes = npt.NDArray[np.uint8]

TEXT_TAGS = {"BYTES": 0x0A, "STRING": 0x12}
LONGEST_VARINT = 10
MICROS = pa.timestamp("us", "UTC")

Encoder = Callable[[str, Sequence[Any]], Sequence[bytes | None]]
"""Serialized values of a type that has no way by column (lists, maps, …): the type's name, and Python's own values."""


def records(
    batch: pa.RecordBatch, schema: Schema, *, event: str, created: str | None, load: int, encode: Encoder
) -> pa.Array:
    """The packed record of each row of a batch.

    Args:
        batch: a column for each feature of `schema`, and the times.
        event, created: the columns with the event time and the created time (None: there is none).
        load: the number of the run that writes them.
        encode: for types without a way by column.
    Raises:
        UnfitValueError: a value is none of its declared type; `place` is its row, `column` its feature.
    """
    rows = len(batch)
    columns = [declared_column(batch, name, kind) for name, kind in zip(schema.names, schema.types, strict=True)]
    head = np.empty((rows, HEAD.size), np.uint8)
    head[:, :8] = big_endian(micros(batch.column(event)), ">i8")
    made = np.full(rows, NO_CREATED, np.int64) if created is None else created_micros(batch.column(created))
    head[:, 8:16] = big_endian(made, ">i8")
    head[:, 16:20] = big_endian(np.full(rows, load), ">u4")
    is_null = np.zeros((rows, len(columns)), bool)
    for place, column in enumerate(columns):
        if column.null_count:
            is_null[:, place] = column.is_null().to_numpy(zero_copy_only=False)
    nulls = np.packbits(is_null, axis=1, bitorder="little")
    fixed = [fixed_bytes(columns[place], schema.types[place]) for place in schema.fixed]
    varying = [
        in_column(schema.names[place], partial(values, columns[place], schema.types[place], encode))
        for place in schema.varying
    ]
    lengths = [np.minimum(lengths_of(one), LONG_MARK).astype(np.uint8)[:, None] for one in varying]
    fronts = np.concatenate([head, nulls, *fixed, *lengths], axis=1)
    if schema.is_even:
        return as_binary(np.concatenate([fronts, seals(as_binary(fronts), schema)], axis=1))
    numbers = [whole(columns[place], schema.types[place]) for place in schema.whole]
    parts = [as_binary(fronts), *(with_long_lengths(one) for one in varying), *numbers]
    joined = pc.binary_join_element_wise(*parts, pa.scalar(b"", pa.binary()))
    return pc.binary_join_element_wise(joined, as_binary(seals(joined, schema)), pa.scalar(b"", pa.binary()))


def declared_column(batch: pa.RecordBatch, name: str, kind: str) -> pa.Array:
    """A column of a batch in its declared type."""
    return in_column(name, lambda: declared(batch.column(name), kind))


def in_column(name: str, convert: Callable[[], pa.Array]) -> pa.Array:
    """What `convert` gives; a value that is unfit is known by its column."""
    try:
        return convert()
    except UnfitValueError as error:
        error.column = name
        raise


def seals(records: pa.Array, schema: Schema) -> Bytes:
    """What each record ends with that says it is intact."""
    if not len(records):
        return np.empty((0, SEAL), np.uint8)
    _, offsets, content = records.buffers()
    ends = np.frombuffer(offsets, np.int32)[records.offset : records.offset + len(records) + 1].tolist()
    view = memoryview(content)
    sums = np.fromiter((crc32(view[start:end]) for start, end in pairwise(ends)), np.uint32, len(records))
    return (sums ^ np.uint32(schema.seal)).astype("<u4").view(np.uint8).reshape(-1, SEAL)


def keys(batch: pa.RecordBatch, prefix: bytes, join_keys: Sequence[tuple[str, str]], encode: Encoder) -> pa.Array:
    """The key of each row's entity.

    Args:
        prefix: what all of them start with.
        join_keys: names and types, in the order of the key.
    Raises:
        UnfitValueError: a value is none of its declared type; `place` is its row, `column` its key.
    """
    columns = [(name, kind, without_negative_zero(declared_column(batch, name, kind))) for name, kind in join_keys]
    parts = [in_column(name, partial(values, column, kind, encode)) for name, kind, column in columns]
    front = pa.array([prefix], pa.binary()).take(pa.array(np.zeros(len(batch), np.int8)))
    return pc.binary_join_element_wise(front, *parts, pa.scalar(b"", pa.binary())) if parts else front


def without_negative_zero(column: pa.Array) -> pa.Array:
    """A column of a key; of floats with 0.0 for −0.0, which it equals."""
    return pc.add(column, pa.scalar(0.0, column.type)) if pa.types.is_floating(column.type) else column


def values(column: pa.Array, kind: str, encode: Encoder) -> pa.Array:
    """The serialized `Value` of each of a column; empty where null."""
    if kind in FIXED:
        tag, _ = FIXED[kind]
        found = np.concatenate([np.full((len(column), 1), tag[0], np.uint8), fixed_bytes(column, kind)], axis=1)
        return emptied(as_binary(found), column)
    if kind in WHOLE:
        return emptied(whole(column, kind, WHOLE[kind]), column)
    if kind in TEXT_TAGS:
        return emptied(texts(column, TEXT_TAGS[kind]), column)
    plain = [with_dicts(value, column.type) for value in column.to_pylist()]
    return pa.array([value or b"" for value in encode(kind, plain)], pa.binary())


def with_dicts(value: Any, kind: pa.DataType) -> Any:
    """A value whose maps, which Arrow hands out as lists of pairs, are dicts, however deep they are."""
    if value is None:
        return None
    if pa.types.is_map(kind):
        return {key: with_dicts(one, kind.item_type) for key, one in value}
    if pa.types.is_list(kind) or pa.types.is_large_list(kind):
        return [with_dicts(one, kind.value_type) for one in value]
    if pa.types.is_struct(kind):
        return {field.name: with_dicts(value[field.name], field.type) for field in kind}
    return value


def fixed_bytes(column: pa.Array, kind: str) -> Bytes:
    """Values of one width, as their `Value` has them behind its tag."""
    if kind == "BOOL":
        bits: Bytes = pc.fill_null(column, False).cast(pa.uint8()).to_numpy(zero_copy_only=False)
        return bits[:, None]
    dtype, arrow = ("<f8", pa.float64()) if kind == "DOUBLE" else ("<f4", pa.float32())
    numbers = pc.fill_null(column.cast(arrow), 0).to_numpy(zero_copy_only=False).astype(dtype)
    return np.ascontiguousarray(numbers).view(np.uint8).reshape(len(column), -1)


def whole(column: pa.Array, kind: str, tag: bytes = b"") -> pa.Array:
    """Whole numbers: a tag and a varint, all of them at once; null is 0."""
    numbers = pc.fill_null(seconds(column) if kind == "UNIX_TIMESTAMP" else column.cast(pa.int64()), 0)
    left = numbers.to_numpy(zero_copy_only=False).astype(np.int64).view(np.uint64)
    parts = np.empty((len(left), len(tag) + LONGEST_VARINT), np.uint8)
    parts[:, : len(tag)] = np.frombuffer(tag, np.uint8)
    lengths = np.full(len(left), len(tag) + 1, np.int64)
    for place in range(len(tag), len(tag) + LONGEST_VARINT):
        rest = left >> np.uint64(7)
        more = rest > 0
        parts[:, place] = (left & np.uint64(127)).astype(np.uint8) | (more.astype(np.uint8) << 7)
        if not more.any():
            break
        lengths += more
        left = rest
    return ragged(parts[:, : place + 1], lengths)


def seconds(column: pa.Array) -> pa.Array:
    """Instants as whole seconds, towards 1970, as Feast has it."""
    whole_seconds, rest = np.divmod(micros(column), 1_000_000)
    return pa.array(whole_seconds + ((rest != 0) & (whole_seconds < 0)), pa.int64(), mask=null_mask(column))


def texts(column: pa.Array, tag: int) -> pa.Array:
    """Texts or bytes: a tag, the length, and what they hold."""
    plain = pc.fill_null(column.cast(pa.string()) if tag == TEXT_TAGS["STRING"] else column, "" if tag == 0x12 else b"")
    content = plain.cast(pa.binary())
    left = pc.binary_length(content).to_numpy(zero_copy_only=False).astype(np.int64)
    front = np.empty((len(left), 6), np.uint8)
    front[:, 0] = tag
    lengths = np.full(len(left), 2, np.int64)
    for place in range(5):
        more = left > 127
        front[:, place + 1] = (left & 127).astype(np.uint8) | (more.astype(np.uint8) << 7)
        if not more.any():
            break
        lengths += more
        left >>= 7
    return pc.binary_join_element_wise(ragged(front, lengths), content, pa.scalar(b"", pa.binary()))


def with_long_lengths(column: pa.Array) -> pa.Array:
    """Values of which those that one byte cannot tell the length of have it told in four before them."""
    lengths = lengths_of(column)
    is_long = lengths >= LONG_MARK
    if not is_long.any():
        return column
    fronts = [LONG.pack(int(length)) if long else b"" for length, long in zip(lengths, is_long, strict=True)]
    return pc.binary_join_element_wise(pa.array(fronts, pa.binary()), column, pa.scalar(b"", pa.binary()))


def ragged(matrix: Bytes, lengths: npt.NDArray[np.int64]) -> pa.Array:
    """The first `lengths` bytes of each row."""
    content = matrix[np.arange(matrix.shape[1]) < lengths[:, None]]
    offsets = np.zeros(len(lengths) + 1, np.int32)
    np.cumsum(lengths, out=offsets[1:])
    return pa.Array.from_buffers(pa.binary(), len(lengths), [None, pa.py_buffer(offsets), pa.py_buffer(content)])


def as_binary(matrix: Bytes) -> pa.Array:
    """Each row of a matrix as bytes."""
    rows, width = matrix.shape
    offsets = np.arange(rows + 1, dtype=np.int32) * np.int32(width)
    content = np.ascontiguousarray(matrix)
    return pa.Array.from_buffers(pa.binary(), rows, [None, pa.py_buffer(offsets), pa.py_buffer(content)])


def emptied(found: pa.Array, column: pa.Array) -> pa.Array:
    """The values, empty where the column is null."""
    return found if not column.null_count else pc.if_else(column.is_null(), pa.scalar(b"", pa.binary()), found)


def lengths_of(column: pa.Array) -> npt.NDArray[np.int64]:
    """The bytes of each value."""
    lengths: npt.NDArray[np.int64] = pc.binary_length(column).to_numpy(zero_copy_only=False).astype(np.int64)
    return lengths


def micros(column: pa.Array) -> npt.NDArray[np.int64]:
    """Instants in µs of UTC; those that name no zone are UTC. Null is 0."""
    if pa.types.is_timestamp(column.type) and column.type.tz is None:
        column = column.cast(pa.timestamp("us"), safe=False)
    elif pa.types.is_timestamp(column.type):
        column = column.cast(MICROS, safe=False)
    elif pa.types.is_date(column.type):
        column = column.cast(pa.timestamp("us"))
    else:
        column = pc.multiply(column.cast(pa.int64()), 1_000_000)
    found: npt.NDArray[np.int64] = pc.fill_null(column.cast(pa.int64()), 0).to_numpy(zero_copy_only=False)
    return found.astype(np.int64)


def created_micros(column: pa.Array) -> npt.NDArray[np.int64]:
    """Created times; one that nobody told is older than every other."""
    found = micros(column)
    return np.where(null_mask(column), NO_CREATED, found) if column.null_count else found


def null_mask(column: pa.Array) -> npt.NDArray[np.bool_]:
    """Where a column is null."""
    mask: npt.NDArray[np.bool_] = column.is_null().to_numpy(zero_copy_only=False)
    return mask


def big_endian(numbers: npt.NDArray[Any], dtype: str) -> Bytes:
    """Numbers as rows of bytes, the first byte first."""
    return np.ascontiguousarray(numbers.astype(dtype)).view(np.uint8).reshape(len(numbers), -1)
