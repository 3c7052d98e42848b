"""A column of values in the type that was declared: the same values exactly, or an error that says which one is not.

Numbers widen and narrow as far as no value changes. A `Float32` or `Float64` takes the nearest number it has, since that is
what it promises of any. Text never becomes a number, and a NaN is null where the type has none.
"""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal, InvalidOperation
from typing import Any
from uuid import UUID

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pedigree.online.errors import UnfitValueError

ARROW_TYPES = {
    "BOOL": pa.bool_(),
    "INT32": pa.int32(),
    "INT64": pa.int64(),
    "FLOAT": pa.float32(),
    "DOUBLE": pa.float64(),
    "STRING": pa.string(),
    "BYTES": pa.binary(),
}
"""What a column of each of Feast's types is, where Arrow has that type. Times are left as they are."""

COLLECTIONS = ("_LIST", "_SET")

Is = Callable[[pa.DataType], bool]

TIMES = (pa.types.is_timestamp, pa.types.is_date, pa.types.is_integer, pa.types.is_floating)
TEXTS = (pa.types.is_string, pa.types.is_large_string, pa.types.is_string_view)
BINARIES = (pa.types.is_binary, pa.types.is_large_binary, pa.types.is_binary_view, pa.types.is_fixed_size_binary)
LISTS = (pa.types.is_list, pa.types.is_large_list, pa.types.is_fixed_size_list)
NUMBERS = (pa.types.is_integer, pa.types.is_floating, pa.types.is_decimal)

SOURCES: dict[pa.DataType, tuple[Is, ...]] = {
    pa.bool_(): (pa.types.is_boolean, pa.types.is_integer, pa.types.is_floating),
    pa.string(): (*TEXTS, pa.types.is_integer),
    pa.binary(): BINARIES,
}
"""The types that a column may have had, for one that is declared as the first; numbers take `NUMBERS`."""


def declared(column: pa.Array, kind: str) -> pa.Array:
    """A column as Feast's type `kind` keeps it.

    Args:
        kind: Feast's name of the type, as `INT32` or `STRING_LIST`.
    Raises:
        UnfitValueError: a value cannot be kept as it is. `place` is its row.
    """
    column = decoded(column)
    if pa.types.is_null(column.type):
        return pa.nulls(len(column), ARROW_TYPES.get(kind, column.type))
    if kind in ARROW_TYPES:
        return cast(column, ARROW_TYPES[kind], kind)
    if kind.endswith(COLLECTIONS):
        return collection(column, kind.rsplit("_", 1)[0], kind)
    if kind == "UNIX_TIMESTAMP":
        return instants(column, kind)
    if kind in ("UUID", "TIME_UUID"):
        return texts_of(column, kind, lambda value: str(UUID(value)))
    return texts_of(column, kind, lambda value: str(Decimal(value))) if kind == "DECIMAL" else column


def cast(column: pa.Array, target: pa.DataType, kind: str = "") -> pa.Array:
    """The same values in another type.

    Args:
        kind: what the type is called in an error; Arrow's own name where there is none.
    Raises:
        UnfitValueError: a value is none of the type. `place` is its row.
    """
    kind, column = kind or str(target), decoded(column)
    if column.type == target:
        return column
    if pa.types.is_null(column.type):
        return pa.nulls(len(column), target)
    if pa.types.is_nested(target):
        return nested(column, target, kind)
    if pa.types.is_timestamp(target) and any(of(column.type) for of in TIMES[:2]):
        return column.cast(target, safe=False)
    if not any(of(column.type) for of in sources(target)):
        refuse_any(column, kind)
        return pa.nulls(len(column), target)
    if pa.types.is_floating(column.type) and not pa.types.is_floating(target):
        column = pc.if_else(pc.is_nan(column), pa.scalar(None, column.type), column)
    if pa.types.is_boolean(target):
        refuse_where(column, pc.fill_null(pc.and_(pc.not_equal(column, 0), pc.not_equal(column, 1)), False), kind)
    if pa.types.is_floating(target) and not pa.types.is_integer(column.type):
        return nearest(column, target, kind)
    try:
        return column.cast(target)
    except pa.ArrowInvalid:
        refuse_where(column, pa.array([not fits(value, target) for value in column]), kind)
        raise


def sources(target: pa.DataType) -> tuple[Is, ...]:
    """What tells the types that may stand for another."""
    return SOURCES.get(target, NUMBERS if any(of(target) for of in NUMBERS) else ())


def decoded(column: pa.Array) -> pa.Array:
    """A column as one piece and without a dictionary."""
    whole = column.combine_chunks() if isinstance(column, pa.ChunkedArray) else column
    return whole.dictionary_decode() if pa.types.is_dictionary(whole.type) else whole


def nearest(column: pa.Array, target: pa.DataType, kind: str) -> pa.Array:
    """Each number as the nearest of a type of floats; one beyond all of them is refused."""
    found = column.cast(target, safe=False)
    is_beyond = pc.is_inf(found)
    if pa.types.is_floating(column.type):
        is_beyond = pc.and_(is_beyond, pc.invert(pc.is_inf(column)))
    refuse_where(column, pc.fill_null(is_beyond, False), kind)
    return found


def instants(column: pa.Array, kind: str) -> pa.Array:
    """Times as they are, or whole seconds since 1970."""
    if any(of(column.type) for of in TIMES[:2]):
        return column
    return cast(column, pa.int64(), kind)


def texts_of(column: pa.Array, kind: str, text: Callable[[Any], str]) -> pa.Array:
    """Values that are kept as text in one form, whatever form they came in."""
    is_decimal = kind == "DECIMAL" and (pa.types.is_decimal(column.type) or pa.types.is_integer(column.type))
    if not is_decimal and not any(of(column.type) for of in TEXTS):
        refuse_any(column, kind)
    found = []
    for place, value in enumerate(column.to_pylist()):
        try:
            found.append(None if value is None else text(value))
        except (ValueError, InvalidOperation) as error:
            raise UnfitValueError(place, value, kind) from error
    return pa.array(found, pa.string())


def collection(column: pa.Array, element: str, kind: str) -> pa.Array:
    """Lists or sets, each value as `element` keeps it; Feast has no place for a null among them."""
    if not any(of(column.type) for of in LISTS):
        if pa.types.is_nested(column.type):
            return column
        refuse_any(column, kind)
    row = pc.list_parent_indices(column)
    values = decoded(pc.list_flatten(column))
    if values.null_count:
        place = row[int(np.argmax(values.is_null().to_numpy(zero_copy_only=False)))].as_py()
        raise UnfitValueError(place, column[place].as_py(), kind)
    if element == "VALUE" and any(of(values.type) for of in LISTS):
        return with_values(column, row, values, lambda: collection(values, element, kind), kind)
    if element not in ARROW_TYPES and element not in ("UUID", "TIME_UUID", "DECIMAL"):
        return column
    return with_values(column, row, values, lambda: declared(values, element), kind)


def with_values(
    column: pa.Array, row: pa.Array, values: pa.Array, convert: Callable[[], pa.Array], kind: str
) -> pa.Array:
    """Lists with other values in the places of theirs."""
    try:
        converted = convert()
    except UnfitValueError as error:
        place = row[error.place].as_py()
        raise UnfitValueError(place, column[place].as_py(), kind) from error
    if converted.type == values.type:
        return column
    lengths = pc.fill_null(pc.list_value_length(column), 0).to_numpy(zero_copy_only=False)
    offsets = pa.array(np.concatenate([[0], np.cumsum(lengths)]), pa.int32())
    return pa.ListArray.from_arrays(offsets, converted, mask=column.is_null() if column.null_count else None)


def nested(column: pa.Array, target: pa.DataType, kind: str) -> pa.Array:
    """Lists, maps and structs, as far as what is in them is of the types that are wanted."""
    if pa.types.is_list(target) and any(of(column.type) for of in LISTS):
        row, values = pc.list_parent_indices(column), decoded(pc.list_flatten(column))
        return with_values(column, row, values, lambda: cast(values, target.value_type), kind).cast(target)
    if pa.types.is_map(target) and pa.types.is_struct(column.type):
        return maps(column, target, kind)
    try:
        return column.cast(target)
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError, pa.ArrowTypeError):
        refuse_any(column, kind)
        return pa.nulls(len(column), target)


def maps(column: pa.Array, target: pa.DataType, kind: str) -> pa.Array:
    """Structs, which are what Arrow makes of dicts, as maps; what one of them has not, Arrow told as null."""
    rows = column.to_pylist()
    pairs = [None if row is None else [pair for pair in row.items() if pair[1] is not None] for row in rows]
    for place, pair in enumerate(pairs):
        try:
            pa.array([pair], target)
        except (pa.ArrowInvalid, pa.ArrowTypeError) as error:
            raise UnfitValueError(place, rows[place], kind) from error
    return pa.array(pairs, target)


def fits(value: pa.Scalar, target: pa.DataType) -> bool:
    """True where one value can be cast."""
    try:
        value.cast(target)
    except pa.ArrowInvalid:
        return False
    return True


def refuse_any(column: pa.Array, kind: str) -> None:
    """Raise for the first value of a column whose type will not do."""
    refuse_where(column, column.is_valid(), kind)


def refuse_where(column: pa.Array, is_unfit: pa.Array, kind: str) -> None:
    """Raise for the first value that is unfit."""
    places = np.flatnonzero(is_unfit.to_numpy(zero_copy_only=False))
    if len(places):
        place = int(places[0])
        raise UnfitValueError(place, column[place].as_py(), kind)
