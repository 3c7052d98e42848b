"""The content hash of a table of Arrow record batches: the same for the same rows, however they are cut into batches."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from pyarrow import types


@dataclass(frozen=True, slots=True)
class Content:
    """What a table holds.

    Attributes:
        hash: over the names, types, order and digests of the columns, and the number of rows.
        rows: how many.
        columns: the digest of each column, in the table's order.
    """

    hash: str
    rows: int
    columns: Mapping[str, str] = field(default_factory=dict)

    def differing(self, other: Content) -> tuple[str, ...]:
        """The columns that the two do not have in common, or not with the same values."""
        names = dict.fromkeys((*self.columns, *other.columns))
        return tuple(name for name in names if self.columns.get(name) != other.columns.get(name))


class Fingerprint:
    """Takes the batches of one table in their order; nulls, whatever lies beneath them, are all alike, and so are NaNs."""

    def __init__(self, schema: pa.Schema) -> None:
        self._schema = pa.schema([pa.field(each.name, canonical(each.type)) for each in schema])
        self._hashes: dict[tuple[str, str], hashlib._Hash] = {}
        self._rows = 0
        self._take(self._schema.empty_table().columns)

    def update(self, batch: pa.RecordBatch) -> None:
        """Add the next rows."""
        self._take([column.cast(each.type) for column, each in zip(batch.columns, self._schema, strict=True)])
        self._rows += batch.num_rows

    def content(self) -> Content:
        """What was taken so far."""
        digests = {each.name: self._digest(each) for each in self._schema}
        lines = [[each.name, str(each.type), digests[each.name]] for each in self._schema]
        return Content(sha256(json.dumps([lines, self._rows])), self._rows, digests)

    def _take(self, columns: list[pa.Array]) -> None:
        for each, column in zip(self._schema, columns, strict=True):
            array = column.combine_chunks() if isinstance(column, pa.ChunkedArray) else column
            for path, content in streams(array):
                self._hashes.setdefault((each.name, path), hashlib.sha256()).update(content)

    def _digest(self, column: pa.Field) -> str:
        parts = {path: each.hexdigest() for (name, path), each in self._hashes.items() if name == column.name}
        return sha256(json.dumps([str(column.type), self._rows, sorted(parts.items())]))


def content_of(batches: Iterable[pa.RecordBatch], schema: pa.Schema) -> Content:
    """The content of all batches of a table."""
    fingerprint = Fingerprint(schema)
    for batch in batches:
        fingerprint.update(batch)
    return fingerprint.content()


def sha256(text: str) -> str:
    """The hash of a text, as hexadecimal digits."""
    return hashlib.sha256(text.encode()).hexdigest()


def canonical(dtype: pa.DataType) -> pa.DataType:
    """The type that stands for all types with the same values: an engine may choose between them freely."""
    if types.is_dictionary(dtype):
        return canonical(dtype.value_type)
    if types.is_timestamp(dtype):
        return pa.timestamp("ns" if dtype.unit == "ns" else "us", "UTC")
    if types.is_string(dtype) or types.is_large_string(dtype) or types.is_string_view(dtype):
        return pa.large_string()
    if types.is_binary(dtype) or types.is_large_binary(dtype) or types.is_binary_view(dtype):
        return pa.large_binary()
    if types.is_list(dtype) or types.is_large_list(dtype) or types.is_fixed_size_list(dtype):
        return pa.large_list(pa.field("item", canonical(dtype.value_type)))
    if types.is_struct(dtype):
        return pa.struct([pa.field(each.name, canonical(each.type)) for each in dtype])
    return dtype


def streams(array: pa.Array, path: str = "") -> Iterator[tuple[str, bytes]]:
    """The bytes of an array of canonical type, in parts that can each be continued with the next array's.

    Yields:
        the name of a part with its bytes: which values are there, how long they are, what they are.
    """
    yield f"{path}.valid", array.is_valid().cast(pa.uint8()).to_numpy(zero_copy_only=False).tobytes()
    if types.is_large_list(array.type):
        yield f"{path}.lengths", integers(pc.list_value_length(array))
        yield from streams(array.flatten(), f"{path}.item")
    elif types.is_struct(array.type):
        for each, child in zip(array.type, array.flatten(), strict=True):
            yield from streams(child, f"{path}.{each.name}")
    elif types.is_large_string(array.type) or types.is_large_binary(array.type):
        yield from texts(array.cast(pa.large_binary()), path)
    elif types.is_floating(array.type):
        yield f"{path}.values", floats(array)
    elif types.is_integer(array.type) or types.is_boolean(array.type) or types.is_temporal(array.type):
        yield f"{path}.values", integers(array)
    elif not types.is_null(array.type):
        told = [None if value is None else repr(value) for value in array.to_pylist()]
        yield from texts(pa.array(told, pa.large_string()).cast(pa.large_binary()), path)


def texts(array: pa.Array, path: str) -> Iterator[tuple[str, bytes]]:
    """The lengths of binary values, and the values one after the other."""
    yield f"{path}.lengths", integers(pc.binary_length(array))
    yield f"{path}.values", b"".join(value for value in array.to_pylist() if value is not None)


def integers(array: pa.Array) -> bytes:
    """Whole numbers, truth values and times, eight bytes each; nulls are zero."""
    if types.is_temporal(array.type):
        array = array.cast(pa.int32()) if array.type.bit_width == 32 else array.cast(pa.int64())
    if types.is_uint64(array.type):
        return packed(pc.fill_null(array, 0), "<u8")
    array = array.cast(pa.uint8()) if types.is_boolean(array.type) else array
    return packed(pc.fill_null(array, 0), "<i8")


def floats(array: pa.Array) -> bytes:
    """Floating-point numbers, eight bytes each; nulls are zero, and what is not a number is always the same bits."""
    numbers = pc.fill_null(array.cast(pa.float64()), 0.0).to_numpy(zero_copy_only=False)
    return bytes(np.where(np.isnan(numbers), np.nan, numbers).astype("<f8").tobytes())


def packed(array: pa.Array, kind: str) -> bytes:
    """Numbers without nulls, in NumPy's type `kind`."""
    return bytes(array.to_numpy(zero_copy_only=False).astype(kind).tobytes())
