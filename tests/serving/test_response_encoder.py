"""Spliced replies against replies built of protobuf objects, and matrices against plain values: whatever the store holds."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import numpy as np
import pytest
from feast.protos.feast.serving.ServingService_pb2 import FieldStatus as S
from feast.protos.feast.serving.ServingService_pb2 import GetOnlineFeaturesResponse
from feast.protos.feast.types import Value_pb2 as feast_types
from feast.protos.feast.types.Value_pb2 import Value
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from pedigree.online.plans.plan import Feature, View
from pedigree.online.records.record import UNSEALED, Head, Schema, fingerprints_of
from pedigree.serving.codec.multi_view import MultiViewDecoder
from pedigree.serving.codec.response_encoder import ResponseEncoder
from pedigree.serving.codec.vector_decoder import NUMBERS, Matrix, VectorDecoder

from .test_protocol import fill_field

NOW_US = 1_700_000_000_000_000
TTL_US = 3_600_000_000
KINDS = sorted(
    name.removesuffix("_val").upper() for name in feast_types.Value.DESCRIPTOR.fields_by_name if name != "null_val"
)
SIMPLE = ["DOUBLE", "FLOAT", "BOOL", "INT64", "INT32", "STRING"]


@dataclass(frozen=True)
class Case:
    """A view, and the rows of a reply: for each its event time and values, None where the store has none."""

    view: View
    rows: list[tuple[int, list[Value | None]] | None]
    older: Schema | None
    older_rows: frozenset[int]

    def records(self) -> list[bytes | None]:
        """What the store holds."""
        return [None if row is None else self.record(place, *row) for place, row in enumerate(self.rows)]

    def record(self, place: int, event_us: int, values: list[Value | None]) -> bytes:
        """One record, in the present layout or an older one, which had its features in another order."""
        head = Head(event_us, None, 3, b"")
        stored = [None if value is None else value.SerializeToString(deterministic=True) for value in values]
        if self.older is not None and place in self.older_rows:
            return self.older.pack(head, stored[::-1])
        return self.view.schema.pack(head, stored)

    def expected(self, place: int, feature: int) -> tuple[Value, int, int]:
        """What must be answered: value, status and event time."""
        row = self.rows[place]
        if row is None:
            return Value(), S.NOT_FOUND, 0
        event_us, values = row
        if event_us < NOW_US - TTL_US:
            return Value(), S.OUTSIDE_MAX_AGE, event_us
        value = values[feature]
        return (Value(), S.NULL_VALUE, event_us) if value is None else (value, S.PRESENT, event_us)


@st.composite
def cases(draw: Any, kinds: list[str]) -> Case:
    """A view of a few features out of those that are stored, and a few rows."""
    types = draw(st.lists(st.sampled_from(kinds), min_size=1, max_size=7))
    stored = tuple(Feature(f"f{place}", kind) for place, kind in enumerate(types))
    wanted = draw(st.lists(st.sampled_from(stored), min_size=1, unique=True))
    view = View("v", "v", (), tuple(wanted), stored, timedelta(microseconds=TTL_US), 1)
    is_plain = draw(st.booleans())
    ages = st.just(0) if is_plain else st.sampled_from([0, 1, TTL_US, TTL_US + 1, 10 * TTL_US])
    rows: list[Any] = []
    for _ in range(draw(st.integers(1, 9))):
        if not is_plain and draw(st.integers(0, 4)) == 0:
            rows.append(None)
            continue
        values = [None if not is_plain and draw(st.integers(0, 4)) == 0 else value(draw, kind) for kind in types]
        rows.append((NOW_US - draw(ages), values))
    pairs = [(one.name, one.value_type) for one in reversed(stored)]
    older = draw(st.sampled_from([None, Schema.of(pairs), Schema.of(pairs, layout=UNSEALED)]))
    return Case(view, rows, older, frozenset() if is_plain else draw(st.frozensets(st.integers(0, 8))))


def value(draw: Any, kind: str) -> Value:
    """Some value of a type."""
    message = Value()
    fill_field(draw, message, field=message.DESCRIPTOR.fields_by_name[f"{kind.lower()}_val"], depth=2)
    return message


def alone(case: Case) -> MultiViewDecoder:
    """A case's view as the only one of its group."""
    encoder = ResponseEncoder(case.view)
    return MultiViewDecoder(((encoder, 0),), (encoder,))


def rows_of(*records: Sequence[bytes | None]) -> list[tuple[bytes | None, ...]]:
    """What each row has of each view."""
    return list(zip(*records, strict=True))


def room(decoder: VectorDecoder, records: Sequence[object]) -> Matrix:
    """Where the numbers of records go."""
    return np.empty((len(records), len(decoder.numbers)))


@pytest.mark.parametrize("kinds", [SIMPLE, ["FLOAT", "DOUBLE", "BOOL"]], ids=["simple", "fixed"])
def test_views_that_are_decoded_together_give_what_each_gives_alone(kinds: list[str]) -> None:
    """Columns and numbers of two or three views about the same rows, in any order of records, are those of each by itself."""

    @settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
    @given(some=st.lists(cases(kinds), min_size=2, max_size=3), data=st.data())
    def same(some: list[Case], data: st.DataObject) -> None:
        count = min(len(case.rows) for case in some)
        records = [case.records()[:count] for case in some]
        schemas: dict[bytes, Schema | None] = {
            one.older.fingerprint: one.older for one in some if one.older is not None
        }
        order = data.draw(st.permutations(range(len(some))))
        encoders = [ResponseEncoder(case.view) for case in some]
        together_decoder = MultiViewDecoder(
            tuple((encoders[one], place) for place, one in enumerate(order)), tuple(encoders[one] for one in order)
        )
        rows = rows_of(*(records[one] for one in order))
        columns = together_decoder.columns(rows, now_us=NOW_US, schemas=schemas)
        assert columns == [encoders[one].columns(records[one], now_us=NOW_US, schemas=schemas) for one in order]
        decoders = [VectorDecoder(encoders[one]) for one in order]
        together, apart = ([room(decoder, rows) for decoder in decoders] for _ in range(2))
        read = together_decoder.decode(decoders, rows, together, now_us=NOW_US, schemas=schemas)
        for decoder, one, mine, theirs, found in zip(decoders, order, together, apart, read, strict=True):
            expected = decoder.decode(records[one], theirs, now_us=NOW_US, schemas=schemas)
            assert np.array_equal(mine, theirs, equal_nan=True)
            assert np.array_equal(found.events_us, expected.events_us)
            assert np.array_equal(found.loads, expected.loads)
            assert (found.others, found.other_statuses) == (expected.others, expected.other_statuses)
            statuses = [None if one.statuses is None else one.statuses.tolist() for one in (found, expected)]
            assert statuses[0] == statuses[1]

    same()


@pytest.mark.parametrize("kinds", [SIMPLE, ["FLOAT", "DOUBLE"], KINDS], ids=["simple", "fixed", "all"])
def test_a_spliced_reply_is_the_reply_that_protobuf_builds(kinds: list[str]) -> None:
    """Of every type, with nulls, missing, old and older-layout rows: Feast's own classes read what they would have built."""

    @settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
    @given(case=cases(kinds))
    def same(case: Case) -> None:
        schemas: dict[bytes, Schema | None] = {} if case.older is None else {case.older.fingerprint: case.older}
        [spliced] = alone(case).columns(rows_of(case.records()), now_us=NOW_US, schemas=schemas)
        expected = GetOnlineFeaturesResponse()
        for feature in case.view.features:
            column = expected.results.add()
            for place in range(len(case.rows)):
                value, status, event_us = case.expected(place, case.view.stored.index(feature))
                column.values.add().CopyFrom(value)
                column.statuses.append(status)
                column.event_timestamps.add().FromMicroseconds(event_us)
        found = GetOnlineFeaturesResponse.FromString(spliced)
        assert found.SerializeToString(deterministic=True) == expected.SerializeToString(deterministic=True)

    same()


@pytest.mark.parametrize(
    "kinds", [SIMPLE, ["FLOAT", "DOUBLE", "BOOL"], ["INT64", "INT32"]], ids=["simple", "fixed", "whole"]
)
def test_a_matrix_holds_what_the_rows_hold(kinds: list[str]) -> None:
    """Numbers, statuses, event times and loads are those of the rows, NaN where there is none; other types are beside them."""

    @settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.too_slow])
    @given(case=cases(kinds))
    def same(case: Case) -> None:
        schemas: dict[bytes, Schema | None] = {} if case.older is None else {case.older.fingerprint: case.older}
        decoder = VectorDecoder(ResponseEncoder(case.view))
        numbers = np.empty((len(case.rows), len(decoder.numbers)))
        rows = rows_of(case.records())
        [found] = alone(case).decode([decoder], rows, [numbers], now_us=NOW_US, schemas=schemas)
        for place, row in enumerate(case.rows):
            assert found.events_us[place] == (0 if row is None else row[0])
            assert found.loads[place] == (0 if row is None else 3)
            for column, at in enumerate(decoder.numbers):
                value, status, _ = case.expected(place, case.view.stored.index(case.view.features[at]))
                assert (S.PRESENT if found.statuses is None else found.statuses[place, column]) == status
                expected = float(getattr(value, str(value.WhichOneof("val")))) if status == S.PRESENT else math.nan
                assert numbers[place, column] == expected or (
                    math.isnan(numbers[place, column]) and math.isnan(expected)
                )
            for column, at in enumerate(decoder.others):
                value, status, _ = case.expected(place, case.view.stored.index(case.view.features[at]))
                assert case.view.features[at].value_type not in NUMBERS
                assert (found.others[column][place] or b"") == value.SerializeToString()
                assert found.other_statuses[column][place] == status

    same()


@settings(max_examples=400, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(data=st.data(), case=cases(SIMPLE), junk=st.binary(max_size=60))
def test_a_damaged_record_takes_no_other_with_it(data: st.DataObject, case: Case, junk: bytes) -> None:
    """Whatever was done to a record, the others are decoded as ever, and of this one nothing but that it is INVALID."""
    records = case.records()
    assume(len(records) > 1 and (case.older is None or case.older.is_sealed))
    at = data.draw(st.integers(0, len(records) - 1))
    whole = records[at] or b""
    cut = data.draw(st.integers(0, len(whole)))
    record = data.draw(st.sampled_from([junk, whole[:cut], whole[:cut] + junk, whole[:cut] + junk + whole[cut:]]))
    assume(record != whole)
    records[at] = record
    schemas: dict[bytes, Schema | None] = dict.fromkeys(fingerprints_of(record))
    if case.older is not None:
        schemas[case.older.fingerprint] = case.older
    [spliced] = alone(case).columns(rows_of(records), now_us=NOW_US, schemas=schemas)
    for column, feature in zip(GetOnlineFeaturesResponse.FromString(spliced).results, case.view.features, strict=True):
        for place, (value, status) in enumerate(zip(column.values, column.statuses, strict=True)):
            expected, expected_status, _ = case.expected(place, case.view.stored.index(feature))
            assert (value, status) == ((expected, expected_status) if place != at else (Value(), S.INVALID))
    decoder = VectorDecoder(ResponseEncoder(case.view))
    numbers = room(decoder, records)
    [found] = alone(case).decode([decoder], rows_of(records), [numbers], now_us=NOW_US, schemas=schemas)
    assert found.statuses is not None or not decoder.numbers
    assert found.statuses is None or (found.statuses[at] == S.INVALID).all()
    assert np.isnan(numbers[at]).all()
    assert found.events_us[at] == found.loads[at] == 0
    assert all(column[at] is None for column in found.others)
