"""The packed record and its encoders, against Feast's own messages."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pyarrow as pa
import pytest
from feast.protos.feast.types.Value_pb2 import Value
from feast.type_map import python_values_to_proto_values
from feast.value_type import ValueType
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pedigree.jobs.materialize.redis_writer import encoded
from pedigree.online.errors import RecordError, UnstorableNameError
from pedigree.online.records import batch_encoder
from pedigree.online.records.record import Head, Schema, head_of
from pedigree.online.store import redis_keys

WHOLE = st.integers(-(2**63), 2**63 - 1)
PLAIN: dict[str, tuple[st.SearchStrategy[Any], pa.DataType]] = {
    "DOUBLE": (st.floats(allow_nan=False), pa.float64()),
    "FLOAT": (st.floats(allow_nan=False, width=32), pa.float32()),
    "BOOL": (st.booleans(), pa.bool_()),
    "INT64": (WHOLE, pa.int64()),
    "INT32": (st.integers(-(2**31), 2**31 - 1), pa.int32()),
    "STRING": (st.text(max_size=400), pa.string()),
    "BYTES": (st.binary(min_size=1, max_size=400), pa.binary()),  # Feast takes empty bytes for a null
    "UNIX_TIMESTAMP": (
        st.datetimes(datetime(1700, 1, 1), datetime(2200, 1, 1), timezones=st.just(UTC)),
        pa.timestamp("us", "UTC"),
    ),
    "STRING_LIST": (st.lists(st.text(max_size=5), min_size=1, max_size=3), pa.list_(pa.string())),
    "DOUBLE_LIST": (st.lists(st.floats(allow_nan=False), min_size=1, max_size=60), pa.list_(pa.float64())),
    "INT64_LIST": (st.lists(WHOLE, min_size=1, max_size=3), pa.list_(pa.int64())),
}
MICROS = st.integers(-(2**52), 2**52)


def of_feast(kind: str, plain: list[Any]) -> list[bytes | None]:
    """Values as Feast's own conversion writes them."""
    found = python_values_to_proto_values(plain, ValueType[kind])
    return [
        None if one is None else value.SerializeToString(deterministic=True)
        for one, value in zip(plain, found, strict=True)
    ]


@pytest.mark.parametrize("kind", PLAIN)
def test_a_column_is_written_as_feast_writes_each_value(kind: str) -> None:
    """For each type, whole columns with nulls come out as the bytes that Feast's own conversion makes value by value."""
    strategy, arrow = PLAIN[kind]

    @settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
    @given(plain=st.lists(st.none() | strategy, min_size=1, max_size=20))
    def same(plain: list[Any]) -> None:
        found = batch_encoder.values(pa.array(plain, arrow), kind, encoded).to_pylist()
        assert [one or None for one in found] == of_feast(kind, plain)

    same()


@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(data=st.data(), kinds=st.lists(st.sampled_from(sorted(PLAIN)), min_size=1, max_size=12))
def test_batches_and_single_rows_are_one_format(data: st.DataObject, kinds: list[str]) -> None:
    """A batch packed by column is, row by row, what packing each row gives, and unpacking gives the values back."""
    schema = Schema.of((f"f{place}", kind) for place, kind in enumerate(kinds))
    rows = data.draw(st.integers(1, 6))
    plain = [data.draw(st.lists(st.none() | PLAIN[kind][0], min_size=rows, max_size=rows)) for kind in kinds]
    events, created = (data.draw(st.lists(MICROS, min_size=rows, max_size=rows)) for _ in range(2))
    batch = pa.record_batch(
        {
            **{
                name: pa.array(column, PLAIN[kind][1])
                for name, kind, column in zip(schema.names, kinds, plain, strict=True)
            },
            "event": pa.array(events, pa.timestamp("us", "UTC")),
            "created": pa.array(created, pa.timestamp("us", "UTC")),
        }
    )
    packed = batch_encoder.records(batch, schema, event="event", created="created", load=7, encode=encoded).to_pylist()
    values = list(zip(*(of_feast(kind, column) for kind, column in zip(kinds, plain, strict=True)), strict=True))
    for record, row, event, made in zip(packed, values, events, created, strict=True):
        head = Head(event, made, 7, schema.fingerprint)
        assert record == schema.pack(head, row)
        assert head_of(record) == head
        assert schema.unpack(record) == list(row)


@settings(max_examples=2000, deadline=None)
@given(
    data=st.data(), kinds=st.lists(st.sampled_from(sorted(PLAIN)), min_size=1, max_size=6), junk=st.binary(max_size=80)
)
def test_bytes_that_are_no_record_are_told_as_such(data: st.DataObject, kinds: list[str], junk: bytes) -> None:
    """Whatever is in the store, unpacking gives values or a RecordError, and nothing else."""
    schema = Schema.of((f"f{place}", kind) for place, kind in enumerate(kinds))
    whole = schema.pack(Head(1, None, 0, schema.fingerprint), [None] * len(kinds))
    at = data.draw(st.integers(0, len(whole)))
    for record in (junk, whole[:at] + junk, whole[:at] + junk + whole[at:]):
        try:
            assert len(schema.unpack(record)) == len(kinds)
        except RecordError as error:
            assert repr(junk) not in str(error) or not junk  # noqa: PT017 - what it holds is nobody's to read


def test_a_schema_comes_back_from_its_text() -> None:
    """What the store keeps of a schema is enough to read its records; another order is another layout."""
    schema = Schema.of([("a b", "DOUBLE"), ("c", "STRING_LIST")])
    assert Schema.read(schema.text) == schema
    assert schema.fingerprint != Schema.of([("c", "STRING_LIST"), ("a b", "DOUBLE")]).fingerprint


def test_a_layout_that_this_version_does_not_read_is_said_to_be_one() -> None:
    """The text of a layout of before is not taken for one of now; the error says what to do."""
    with pytest.raises(RecordError, match=r"'pedigree record 1' .* run `pedigree rebuild`"):
        Schema.read("pedigree record 1\na DOUBLE")


@given(st.lists(st.tuples(st.text(max_size=4), st.text(max_size=4)), min_size=2, max_size=6, unique=True))
def test_no_two_entities_have_one_key(entities: list[tuple[str, str]]) -> None:
    """Entities with several join keys never share a key, whatever their values: ('1', '12') is not ('11', '2')."""
    prefix = redis_keys.entity_prefix("p", ["a", "b"])
    keys = {
        redis_keys.entity_key(prefix, [Value(string_val=part).SerializeToString() for part in entity])
        for entity in entities
    }
    assert len(keys) == len(entities)


@pytest.mark.parametrize("name", ["", "a:b", "a,b", "a~1"])
def test_names_that_would_run_into_others_are_refused(name: str) -> None:
    """A project or view whose name could be taken for another's part of a key is an error."""
    with pytest.raises(UnstorableNameError):
        redis_keys.marks_key(name)
    with pytest.raises(UnstorableNameError):
        redis_keys.field(name, 0)
