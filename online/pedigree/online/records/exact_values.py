"""A Feast `Value` as the declared type keeps it: the same value, or an error."""

from __future__ import annotations

import struct
from math import isfinite, isinf

from feast.protos.feast.types.Value_pb2 import Value

from pedigree.online.errors import UnfitValueError

FIELDS = {"VALUE_LIST": "list_val", "VALUE_SET": "set_val"}
"""The field of a `Value` that a type has, where it is not called after the type."""

WHOLE = {"INT32": 1 << 31, "INT64": 1 << 63}
"""Types of whole numbers, and the first number that is too large for each."""

FLOATS = ("FLOAT", "DOUBLE")
NUMBERS = frozenset({"int32_val", "int64_val", "float_val", "double_val"})


def fitted(value: Value, kind: str) -> Value:
    """A value in the field of its declared type.

    Args:
        kind: Feast's name of the type.
    Raises:
        UnfitValueError: it is a value of another type, and not a number that this one has too.
    """
    field, found = FIELDS.get(kind, f"{kind.lower()}_val"), str(value.WhichOneof("val"))
    if found == field:
        return value
    plain = getattr(value, found)
    if found in NUMBERS and kind in WHOLE and isfinite(plain) and plain == int(plain) and fits(int(plain), kind):
        return value_in(field, int(plain))
    if found in NUMBERS and kind in FLOATS and (isinf(plain) or is_kept(plain, kind)):
        return value_in(field, float(plain))
    raise UnfitValueError(0, plain, kind)


def value_in(field: str, number: float) -> Value:
    """A number in a field."""
    value = Value()
    setattr(value, field, number)
    return value


def fits(number: int, kind: str) -> bool:
    """True where a type of whole numbers has this one."""
    return -WHOLE[kind] <= number < WHOLE[kind]


def is_kept(number: float, kind: str) -> bool:
    """True where a type of floats has a number, or one next to it; a whole number it must have exactly."""
    form = "<f" if kind == "FLOAT" else "<d"
    try:
        [kept] = struct.unpack(form, struct.pack(form, number))
    except OverflowError:
        return False
    return kept == number or not isinstance(number, int)
