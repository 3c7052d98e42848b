"""On-demand features in both services: what is sent for them with a request, what is read for them, and their part of a reply."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np

from pedigree.online.plan import Feature, Input
from pedigree.online.record import HEAD
from pedigree.serving.codec.protowire import in_values, told
from pedigree.serving.codec.response_encoder import NO_TIME, ResponseEncoder, Schemas
from pedigree.serving.codec.vector_decoder import NUMBERS, DecodedVectors
from pedigree.serving.data_plane.on_demand_values import OnDemandColumn, plain, serialized
from pedigree.serving.data_plane.selection import Columns, Selection
from pedigree.serving.errors import InvalidRequestError
from pedigree.serving.v1 import pedigree_pb2 as messages
from pedigree.serving.v1.serving_pb2 import NULL_VALUE, PRESENT
from pedigree.serving.v1.value_pb2 import RepeatedValue, Value

Sent = Mapping[str, RepeatedValue]
Data = Mapping[str, OnDemandColumn]
"""What was sent with a request beside join keys, by name."""

Records = Sequence[tuple[ResponseEncoder, Sequence[bytes | None]]]
"""What was read of views: how their records are read, and the record of each row."""

INTEGERS = frozenset({"int32_val", "int64_val"})
ACCEPTED: Mapping[str, frozenset[str]] = {
    "INT32": INTEGERS,
    "INT64": INTEGERS,
    "FLOAT": INTEGERS | {"float_val", "double_val"},
    "DOUBLE": INTEGERS | {"float_val", "double_val"},
}
"""The fields of a `Value` that request data of a type may be sent in, where that is not the type's own alone."""
SMALLEST, LARGEST = -(1 << 31), (1 << 31) - 1


def divided(entities: Sent, context: Sent, selection: Selection) -> tuple[Sent, Data]:
    """The join keys that were sent, and the request data, which Feast's protocol has among them or in `request_context`.

    Raises:
        InvalidRequestError: something is missing, is sent twice, or is of another type.
    """
    twice = sorted(set(entities) & set(context))
    unknown = sorted(set(context) - selection.request.keys())
    if twice or unknown:
        what = "sent twice, in entities and in request_context" if twice else "not request data of what was asked"
        raise InvalidRequestError(f"{', '.join(twice or unknown)}: {what}. Expected: {names_of(selection)}.")
    sent = {**entities, **context}
    keys = {name: values for name, values in sent.items() if name in selection.keys or name not in selection.request}
    return keys, {name: cells_sent(sent, feature) for name, feature in selection.request.items()}


def divided_keys(keys: Iterable[messages.Keys], selection: Selection) -> tuple[list[messages.Keys], Data]:
    """The same of `GetVectors`, which takes request data among its keys: as whole numbers, as texts or as `Value`s."""
    kept, sent = [], {}
    for one in keys:
        if one.name in selection.keys or one.name not in selection.request:
            kept.append(one)
        if one.name in selection.request:
            if one.name in sent:
                raise InvalidRequestError(f"{one.name!r} was sent twice.")
            sent[one.name] = values_of(one)
    return kept, {name: cells_sent(sent, feature) for name, feature in selection.request.items()}


def values_of(keys: messages.Keys) -> RepeatedValue:
    """What was sent under one name, in whichever field."""
    ints = [Value(int64_val=number) for number in keys.ints]
    texts = [Value(string_val=text) for text in keys.strings]
    return RepeatedValue(val=[*ints, *texts, *keys.values])


def names_of(selection: Selection) -> str:
    """The request data that is expected, with their types."""
    return ", ".join(f"{name} ({feature.value_type})" for name, feature in sorted(selection.request.items())) or "none"


def cells_sent(sent: Sent, feature: Feature) -> OnDemandColumn:
    """The values of one piece of request data, as plain values of its declared type.

    Raises:
        InvalidRequestError: there are none, or one is of another type.
    """
    if feature.name not in sent:
        raise InvalidRequestError(
            f"The request data {feature.name!r} ({feature.value_type}) is missing. Send one value per row, in entities or in "
            "request_context (GetVectors: in keys)."
        )
    values = [value_sent(value, feature, row) for row, value in enumerate(sent[feature.name].val)]
    if not values:
        raise InvalidRequestError(f"The request data {feature.name!r} has no values. Send one per row.")
    return OnDemandColumn.present(values)


def value_sent(value: Value, feature: Feature, row: int) -> Any:
    """One value of request data; None where a null was sent."""
    kind, own = value.WhichOneof("val"), f"{feature.value_type.lower()}_val"
    if kind in (None, "null_val"):
        return None
    if kind not in ACCEPTED.get(feature.value_type, frozenset({own})):
        raise InvalidRequestError(
            f"The request data {feature.name!r} is {feature.value_type}: row {row} must set {own}, not {kind}."
        )
    found = getattr(value, kind)
    if feature.value_type in ("DOUBLE", "FLOAT"):
        return float(found)
    if feature.value_type == "INT32" and not SMALLEST <= found <= LARGEST:
        raise InvalidRequestError(f"The request data {feature.name!r} is INT32: row {row} is out of its range.")
    return found


def rows_of(data: Data, selection: Selection, rows: int) -> int:
    """The number of rows: as many as there are join keys, else as there are request data.

    Raises:
        InvalidRequestError: there are not as many of each.
    """
    counts = {name: len(cells.values) for name, cells in data.items()}
    if not selection.keys and counts:
        rows = next(iter(counts.values()))
    uneven = {name: count for name, count in counts.items() if count != rows}
    if uneven:
        sent = ", ".join(f"{name}: {count}" for name, count in uneven.items())
        raise InvalidRequestError(f"There are {rows} rows, and request data needs a value for each. Sent: {sent}.")
    return rows


def computed(
    selection: Selection,
    columns: Columns,
    data: Data,
    found: Records,
    *,
    rows: int,
    now_us: int,
    schemas: Schemas,
) -> list[list[OnDemandColumn]]:
    """For each on-demand view its features.

    Args:
        columns: the join keys.
        found: what was read of the sources, in the order of `selection.sources`.
    Raises:
        SchemaMissingError: a record has a layout that nobody tells.
        NotComputedError: a function is not defined for a row.
    """
    read = [cells_of(splicer, records, now_us=now_us, schemas=schemas) for splicer, records in found]
    answers = []
    for computation, places in zip(selection.computations, selection.places, strict=True):
        sources = [read[place] for place in places]
        inputs = [
            input_of(one, sources, columns, data) if place in computation.used else unread(rows)
            for place, one in enumerate(computation.view.inputs)
        ]
        answers.append(computation.compute(inputs, rows))
    return answers


def unread(rows: int) -> OnDemandColumn:
    """What stands for an input that nothing which is asked for depends on."""
    return OnDemandColumn([None] * rows, ())


def input_of(
    one: Input, sources: Sequence[Mapping[str, OnDemandColumn]], columns: Columns, data: Data
) -> OnDemandColumn:
    """What a function reads under one name."""
    if one.kind == "request":
        return data[one.name]
    if one.kind == "key":
        return OnDemandColumn.present([plain(value, one.value_type) for value in columns[one.name]])
    return sources[one.source][one.name]


def cells_of(
    splicer: ResponseEncoder,
    records: Sequence[bytes | None],
    *,
    now_us: int,
    schemas: Schemas,
) -> dict[str, OnDemandColumn]:
    """The features of a source that are needed, by name."""
    features = splicer.view.features
    oldest_us = splicer.oldest_us(now_us)
    one_by_one = partial(splicer.found, oldest_us=oldest_us, schemas=schemas, alone=len(records) == 1)
    rows = [cells_in(one_by_one(record), len(features)) for record in records]
    found = {}
    for at, feature in enumerate(features):
        values = [
            None if row[at] is None or isinstance(row[at], int) else plain(row[at], feature.value_type) for row in rows
        ]
        statuses = [row[at] if isinstance(row[at], int) else PRESENT for row in rows]
        found[feature.name] = OnDemandColumn(values, statuses)
    return found


def cells_in(found: Sequence[bytes | None] | int, count: int) -> Sequence[Any]:
    """What a record has of each feature: a serialized value, or the status that says why there is none."""
    if isinstance(found, int):
        return [found] * count
    return [value or NULL_VALUE for value in found]


def spliced(selection: Selection, answers: Sequence[Sequence[OnDemandColumn]]) -> list[bytes]:
    """The serialized `results` entries of a `GetOnlineFeaturesResponse`; as with Feast, a computed value has no time."""
    found = []
    for view, answer in zip(selection.on_demand, answers, strict=True):
        for feature, cells in zip(view.features, answer, strict=True):
            body = b"".join(in_values(serialized(value, feature.value_type)) for value in cells.values)
            found.append(told(2, body + told(2, bytes(cells.statuses)) + NO_TIME * len(cells.values)))
    return found


def told_of(
    selection: Selection, answers: Sequence[Sequence[OnDemandColumn]], numbers: Any, rows: int
) -> list[DecodedVectors]:
    """The same for `GetVectors`: numbers go into the matrix, and the rest beside it.

    Args:
        numbers: the columns of the matrix that on-demand features fill.
    """
    found, column = [], 0
    for view, answer in zip(selection.on_demand, answers, strict=True):
        pairs = list(zip(view.features, answer, strict=True))
        mine = [cells for feature, cells in pairs if feature.value_type in NUMBERS]
        others = [(feature, cells) for feature, cells in pairs if feature.value_type not in NUMBERS]
        statuses = np.empty((rows, len(mine)), np.uint8)
        for place, cells in enumerate(mine):
            numbers[:, column + place] = [np.nan if value is None else value for value in cells.values]
            statuses[:, place] = cells.statuses
        column += len(mine)
        found.append(
            DecodedVectors(
                None if np.all(statuses == PRESENT) else statuses,
                np.zeros((rows, HEAD.size), np.uint8),
                [
                    [serialized(value, feature.value_type) or None for value in cells.values]
                    for feature, cells in others
                ],
                [bytes(cells.statuses) for _, cells in others],
            )
        )
    return found


def provenance_of(splicer: ResponseEncoder, records: Sequence[bytes | None], schemas: Schemas) -> DecodedVectors:
    """When the rows of a source were true and who wrote them; of damaged ones nobody knows."""
    heads = np.zeros((len(records), HEAD.size), np.uint8)
    for row, record in enumerate(records):
        if record is not None and splicer.schema_of(record, schemas) is not None:
            heads[row] = np.frombuffer(record[: HEAD.size], np.uint8)
    return DecodedVectors(None, heads, [], [])
