"""The content hash: the same for the same rows, another for any other."""

from __future__ import annotations

import math
import struct
from datetime import UTC, datetime
from decimal import Decimal

import numpy as np
import pyarrow as pa
from hypothesis import given
from hypothesis import strategies as some

from pedigree.jobs.training_sets.fingerprint import Content, content_of

LETTERS = "aé\x00𝄞"
KINDS = {
    "whole": (pa.int64(), some.integers(-(2**63), 2**63 - 1)),
    "number": (pa.float64(), some.floats(allow_nan=False)),
    "text": (pa.string(), some.text(LETTERS, max_size=4)),
    "bytes": (pa.binary(), some.binary(max_size=4)),
    "truth": (pa.bool_(), some.booleans()),
    "instant": (pa.timestamp("us", "UTC"), some.datetimes(min_value=datetime(1800, 1, 1), timezones=some.just(UTC))),
    "list": (pa.list_(pa.string()), some.lists(some.none() | some.text(LETTERS, max_size=2), max_size=3)),
    "record": (pa.struct([("a", pa.int64())]), some.fixed_dictionaries({"a": some.none() | some.integers(0, 9)})),
    "price": (pa.decimal128(9, 2), some.integers(-999, 999).map(lambda cents: Decimal(cents) / 100)),
}
SCHEMA = pa.schema([(name, kind) for name, (kind, _) in KINDS.items()])
ROWS = some.lists(
    some.fixed_dictionaries({name: some.none() | value for name, (_, value) in KINDS.items()}), max_size=12
)


def table(rows: list[dict[str, object]]) -> pa.Table:
    return pa.Table.from_pylist(rows, schema=SCHEMA)


def content(rows: pa.Table, size: int | None = None) -> Content:
    return content_of(rows.to_batches(max_chunksize=size), rows.schema)


@given(ROWS, some.integers(1, 5), some.integers(1, 5))
def test_how_rows_are_cut_into_batches_never_matters(rows: list[dict[str, object]], first: int, second: int) -> None:
    """One batch, many small ones and slices of a larger array have one hash."""
    whole = table(rows)
    padded = pa.concat_tables([whole.slice(0, 1), whole]).combine_chunks().slice(min(1, len(whole)))
    assert content(whole) == content(whole, first) == content(padded, second)


@given(ROWS.filter(bool), some.data())
def test_any_changed_value_changes_the_hash_and_its_columns_digest_only(
    rows: list[dict[str, object]], data: some.DataObject
) -> None:
    """Another value anywhere, null included, is another content; only the digest of its column differs."""
    name = data.draw(some.sampled_from(sorted(KINDS)))
    row = data.draw(some.integers(0, len(rows) - 1))
    value = data.draw((some.none() | KINDS[name][1]).filter(lambda other: other != rows[row][name]))
    changed = [{**each, name: value} if number == row else each for number, each in enumerate(rows)]
    was, now = content(table(rows)), content(table(changed))
    assert was.hash != now.hash
    assert was.differing(now) == (name,)


@given(ROWS.filter(lambda rows: len(rows) > 1 and rows[0] != rows[-1]))
def test_the_order_of_rows_matters(rows: list[dict[str, object]]) -> None:
    """A training set is in the entities' order; the same rows in another order are another content."""
    swapped = [rows[-1], *rows[1:-1], rows[0]]
    assert content(table(rows)).hash != content(table(swapped)).hash


def test_what_lies_beneath_a_null_never_matters() -> None:
    """Two arrays that are null at the same places are equal, whatever bytes an engine left there."""
    mask = np.array([False, True])
    numbers = [pa.array(np.array([1, garbage]), mask=mask) for garbage in (0, 99)]
    assert content(pa.table({"a": numbers[0]})) == content(pa.table({"a": numbers[1]}))


def test_every_nan_is_alike_and_is_no_null() -> None:
    """A NaN is a NaN whatever its bits; it is neither null nor zero."""
    odd = struct.unpack("<d", struct.pack("<Q", 0x7FF8000000000001))[0]
    columns = [pa.array([math.nan]), pa.array([odd]), pa.array([None], pa.float64()), pa.array([0.0])]
    hashes = [content(pa.table({"a": column})).hash for column in columns]
    assert hashes[0] == hashes[1]
    assert len(set(hashes)) == 3


def test_text_does_not_run_into_its_neighbour() -> None:
    """("ab", "c") is not ("a", "bc"), and an empty list is not a null one."""
    assert content(pa.table({"a": ["ab", "c"]})).hash != content(pa.table({"a": ["a", "bc"]})).hash
    empty, null = pa.array([[]], pa.list_(pa.int64())), pa.array([None], pa.list_(pa.int64()))
    assert content(pa.table({"a": empty})).hash != content(pa.table({"a": null})).hash


def test_types_that_engines_choose_between_are_one() -> None:
    """Large, viewed and encoded text is text, and an instant is an instant in any zone; a float is no double."""
    words = pa.array(["x", None])
    kinds = (words, words.cast(pa.large_string()), words.cast(pa.string_view()), words.dictionary_encode())
    assert len({content(pa.table({"a": column})).hash for column in kinds}) == 1
    instant = pa.array([datetime(2013, 3, 1, tzinfo=UTC)], pa.timestamp("us", "UTC"))
    zoned = (instant, instant.cast(pa.timestamp("us", "Asia/Tokyo")), instant.cast(pa.timestamp("ms", "UTC")))
    assert len({content(pa.table({"a": column})).hash for column in zoned}) == 1
    single, double = (pa.table({"a": pa.array([0.5], kind)}) for kind in (pa.float32(), pa.float64()))
    assert content(single).hash != content(double).hash


def test_names_and_their_order_are_content() -> None:
    """The same values under another name, or in another order of columns, are another content."""
    one = pa.table({"a": [1], "b": [2]})
    assert len({content(each).hash for each in (one, one.select(["b", "a"]), one.rename_columns(["a", "c"]))}) == 3
