"""An entity row as people type it."""

from __future__ import annotations

import pytest

from pedigree.cli.errors import EntityRowError
from pedigree.cli.online.entity_row import typed
from pedigree.serving.v1.value_pb2 import Value


@pytest.mark.parametrize(
    ("text", "value_type", "expected"),
    [
        ("-5", "INT32", Value(int32_val=-5)),
        ("7", "INT64", Value(int64_val=7)),
        ("007", "STRING", Value(string_val="007")),
        ("0.1", "DOUBLE", Value(double_val=0.1)),
        ("0.5", "FLOAT", Value(float_val=0.5)),
        ("True", "BOOL", Value(bool_val=True)),
        ("0aff", "BYTES", Value(bytes_val=b"\x0a\xff")),
        ("2013-07-01T12:00+02:00", "UNIX_TIMESTAMP", Value(unix_timestamp_val=1_372_672_800)),
        ("2013-07-01", "UNIX_TIMESTAMP", Value(unix_timestamp_val=1_372_636_800)),
    ],
)
def test_a_text_becomes_a_value_of_the_declared_type(text: str, value_type: str, expected: Value) -> None:
    """The server takes a key only in the field of its declared type, so that is the one that is set."""
    assert typed("key", text, value_type) == expected


@pytest.mark.parametrize(
    ("text", "value_type"),
    [("one", "INT64"), ("1.5", "INT32"), ("3000000000", "INT32"), ("maybe", "BOOL"), ("xyz", "BYTES")],
)
def test_a_text_of_another_type_is_refused_by_name(text: str, value_type: str) -> None:
    """The message names the key, its type and the text."""
    with pytest.raises(EntityRowError, match=f"key is of type {value_type}.*{text}"):
        typed("key", text, value_type)
