"""A value in its declared type is the same value, or is refused with its row."""

from __future__ import annotations

import math
import struct
from decimal import Decimal
from typing import Any

import pyarrow as pa
import pytest
from feast.protos.feast.types.Value_pb2 import Value
from hypothesis import given
from hypothesis import strategies as st

from pedigree.online.errors import UnfitValueError
from pedigree.online.records.exact_columns import cast, declared
from pedigree.online.records.exact_values import fitted

WHOLE = {"INT32": 2**31, "INT64": 2**63}
INTS = st.integers(-(2**63), 2**63 - 1) | st.sampled_from([2**31, 2**31 - 1, -(2**31) - 1, 2**53 + 1, 0])
FLOATS = st.floats() | st.sampled_from([1.0, -0.0, 2.0**31, 2.0**63, 2.5, 1e39])


def kept(number: float, kind: str) -> float | None:
    """What a type keeps of a number, by Python's own arithmetic; None for null.

    Raises:
        OverflowError, ValueError: it does not keep it.
    """
    if kind in WHOLE:
        if isinstance(number, float) and math.isnan(number):
            return None
        if number != int(number) or not -WHOLE[kind] <= int(number) < WHOLE[kind]:
            raise ValueError
        return int(number)
    [found] = struct.unpack(
        f"<{'f' if kind == 'FLOAT' else 'd'}", struct.pack("<f" if kind == "FLOAT" else "<d", number)
    )
    exact = 2**24 if kind == "FLOAT" else 2**53
    if isinstance(number, int) and abs(number) > exact:
        raise ValueError
    return float(found)


@pytest.mark.parametrize("kind", ["INT32", "INT64", "FLOAT", "DOUBLE"])
@pytest.mark.parametrize("numbers", [INTS, FLOATS], ids=["ints", "floats"])
@given(data=st.data())
def test_a_number_is_the_same_number_or_refused(
    kind: str, numbers: st.SearchStrategy[float], data: st.DataObject
) -> None:
    """A column of numbers holds, as another type, what Python's arithmetic says; the first that does not fit is named."""
    column = data.draw(st.lists(st.none() | numbers, max_size=5))
    wanted: list[float | None] = []
    unfit = None
    for place, number in enumerate(column):
        try:
            wanted.append(None if number is None else kept(number, kind))
        except (ValueError, OverflowError):
            unfit = place
            break
    arrow = pa.array(column, pa.int64() if all(isinstance(one, int | None) for one in column) else pa.float64())
    if unfit is not None:
        with pytest.raises(UnfitValueError) as refused:
            declared(arrow, kind)
        assert refused.value.place == unfit
        return
    found = declared(arrow, kind).to_pylist()
    assert [repr(one) for one in found] == [repr(one) for one in wanted]


@pytest.mark.parametrize(
    ("kind", "column", "place"),
    [
        ("BOOL", pa.array([0, 1, 2]), 2),
        ("INT64", pa.array([None, "1"]), 1),
        ("INT64", pa.array([True]), 0),
        ("INT64", pa.array([Decimal("1.00"), Decimal("1.50")]), 1),
        ("DOUBLE", pa.array([None, "x"]), 1),
        ("STRING", pa.array([None, 1.5]), 1),
        ("STRING", pa.array([b"x"]), 0),
        ("BYTES", pa.array(["x"]), 0),
        ("UNIX_TIMESTAMP", pa.array(["2026-01-01"]), 0),
        ("UNIX_TIMESTAMP", pa.array([1.0, 1.5]), 1),
        ("UUID", pa.array([None, "x"]), 1),
        ("UUID", pa.array([1]), 0),
        ("DECIMAL", pa.array(["1.5", "x"]), 1),
        ("DECIMAL", pa.array([1.5]), 0),
        ("INT64_LIST", pa.array([None, [1], [], [1, None]]), 3),
        ("INT32_LIST", pa.array([[], [2**31 - 1], [0, 2**31]]), 2),
        ("INT64_LIST", pa.array([1]), 0),
        ("STRING_SET", pa.array([["a"], [None]]), 1),
        ("VALUE_LIST", pa.array([[[1]], [[1], [2, None]]]), 1),
    ],
)
def test_a_value_of_another_type_is_refused_with_its_row(kind: str, column: pa.Array, place: int) -> None:
    """The error names the first row whose value is none of the type, in lists, too."""
    with pytest.raises(UnfitValueError) as refused:
        declared(column, kind)
    assert (refused.value.place, refused.value.value) == (place, column[place].as_py())


@pytest.mark.parametrize(
    ("kind", "column", "wanted"),
    [
        ("BOOL", pa.array([0, 1, None, float("nan")], pa.float64()), [False, True, None, None]),
        ("STRING", pa.array([1, None]), ["1", None]),
        ("STRING", pa.array(["a", None, "a"]).dictionary_encode(), ["a", None, "a"]),
        ("DECIMAL", pa.array([Decimal("1.50"), None]), ["1.50", None]),
        ("UUID", pa.array(["12345678123456781234567812345678".upper()]), ["12345678-1234-5678-1234-567812345678"]),
        ("INT32_LIST", pa.array([None, [], [1, 2], [3]]), [None, [], [1, 2], [3]]),
        ("INT32_LIST", pa.array([[9], None, [1.0, 2.0]])[1:], [None, [1, 2]]),
        ("INT64", pa.nulls(2), [None, None]),
        ("MAP", pa.nulls(1), [None]),
    ],
)
def test_a_value_of_another_type_is_kept_if_it_is_the_same(kind: str, column: pa.Array, wanted: list[Any]) -> None:
    """Widenings, dictionaries, parts of arrays and columns of nothing."""
    assert declared(column, kind).to_pylist() == wanted


def test_dicts_become_maps() -> None:
    """A struct, which Arrow makes of dicts, is a map where one is wanted; a value of another type is refused."""
    wanted = pa.map_(pa.string(), pa.string())
    assert cast(pa.array([{"a": "1"}, {"b": "2"}, None]), wanted).to_pylist() == [[("a", "1")], [("b", "2")], None]
    with pytest.raises(UnfitValueError):
        cast(pa.array([{"a": 1}]), wanted)


@pytest.mark.parametrize(
    ("value", "kind", "wanted"),
    [
        (Value(int64_val=7), "INT32", Value(int32_val=7)),
        (Value(int32_val=7), "INT64", Value(int64_val=7)),
        (Value(double_val=7.0), "INT64", Value(int64_val=7)),
        (Value(int64_val=7), "DOUBLE", Value(double_val=7.0)),
        (Value(double_val=0.1), "FLOAT", Value(float_val=0.1)),
        (Value(string_val="x"), "STRING", Value(string_val="x")),
        (Value(int64_val=2**31), "INT32", None),
        (Value(double_val=2.5), "INT64", None),
        (Value(double_val=math.nan), "INT64", None),
        (Value(double_val=1e300), "FLOAT", None),
        (Value(int64_val=2**53 + 1), "DOUBLE", None),
        (Value(string_val="7"), "INT64", None),
        (Value(int64_val=7), "STRING", None),
        (Value(bool_val=True), "INT64", None),
    ],
)
def test_a_value_that_was_written_as_another_type(value: Value, kind: str, wanted: Value | None) -> None:
    """A `Value` of another field is put into that of its declared type, or refused."""
    if wanted is not None:
        assert fitted(value, kind) == wanted
        return
    with pytest.raises(UnfitValueError):
        fitted(value, kind)
