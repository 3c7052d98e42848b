"""What a request brings beside join keys: the request data that on-demand views read. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from pedigree.online.plans.plan import Feature
from pedigree.serving.data_plane.computation import OnDemandColumn
from pedigree.serving.data_plane.selection import Selection
from pedigree.serving.errors import InvalidRequestError
from pedigree.serving.v1 import pedigree_pb2 as messages
from pedigree.serving.v1.value_pb2 import RepeatedValue, Value

Sent = Mapping[str, RepeatedValue]
"""The values of each column of a request, by name."""
RequestData = Mapping[str, OnDemandColumn]
"""The request data of a request, by name, one value per row."""

INTEGERS = frozenset({"int32_val", "int64_val"})
ACCEPTED: Mapping[str, frozenset[str]] = {
    "INT32": INTEGERS,
    "INT64": INTEGERS,
    "FLOAT": INTEGERS | {"float_val", "double_val"},
    "DOUBLE": INTEGERS | {"float_val", "double_val"},
}
"""The fields of a `Value` in which request data of a type may be sent. Every other type has one field of its own."""
INT32_MIN, INT32_MAX = -(1 << 31), (1 << 31) - 1


def split_features_request(entities: Sent, context: Sent, selection: Selection) -> tuple[Sent, RequestData]:
    """The join keys and the request data of a `GetOnlineFeatures`.

    Feast's protocol allows request data among the entities and in `request_context`.

    Raises:
        InvalidRequestError: something is missing, was sent twice, or has the wrong type.
    """
    if not selection.on_demand:
        refuse_context(context)
        return entities, {}
    twice = sorted(set(entities) & set(context))
    unknown = sorted(set(context) - selection.request.keys())
    if twice or unknown:
        what = "sent twice, in entities and in request_context" if twice else "not request data of what was asked"
        raise InvalidRequestError(f"{', '.join(twice or unknown)}: {what}. Expected: {expected_data(selection)}.")
    sent = {**entities, **context}
    keys = {name: values for name, values in sent.items() if name in selection.keys or name not in selection.request}
    return keys, {name: request_column(sent, feature) for name, feature in selection.request.items()}


def refuse_context(context: Mapping[str, object]) -> None:
    """Raise where a request has a `request_context`: only on-demand views read it.

    Raises:
        InvalidRequestError: it has one.
    """
    if context:
        names = ", ".join(sorted(context))
        raise InvalidRequestError(f"No feature that is asked for reads request_context ({names}). Leave it out.")


def split_vectors_request(
    columns: Iterable[messages.Keys], selection: Selection
) -> tuple[Iterable[messages.Keys], RequestData]:
    """The join keys and the request data of a `GetVectors`, which has both in `keys`.

    Raises:
        InvalidRequestError: something is missing, was sent twice, or has the wrong type.
    """
    if not selection.request:
        return columns, {}
    keys, sent = [], {}
    for column in columns:
        if column.name in selection.keys or column.name not in selection.request:
            keys.append(column)
        if column.name in selection.request:
            if column.name in sent:
                raise InvalidRequestError(f"{column.name!r} was sent twice.")
            sent[column.name] = values_of(column)
    return keys, {name: request_column(sent, feature) for name, feature in selection.request.items()}


def values_of(column: messages.Keys) -> RepeatedValue:
    """The values of a column, in whichever field they were sent."""
    ints = [Value(int64_val=number) for number in column.ints]
    texts = [Value(string_val=text) for text in column.strings]
    return RepeatedValue(val=[*ints, *texts, *column.values])


def expected_data(selection: Selection) -> str:
    """The names and types of the request data that a request must bring."""
    return ", ".join(f"{name} ({feature.value_type})" for name, feature in sorted(selection.request.items())) or "none"


def request_column(sent: Sent, feature: Feature) -> OnDemandColumn:
    """One column of request data, as plain values of its declared type.

    Raises:
        InvalidRequestError: it is missing or empty, or a value has another type.
    """
    if feature.name not in sent:
        raise InvalidRequestError(
            f"The request data {feature.name!r} ({feature.value_type}) is missing. Send one value per row, in entities or in "
            "request_context (GetVectors: in keys)."
        )
    values = [plain_value(value, feature, row) for row, value in enumerate(sent[feature.name].val)]
    if not values:
        raise InvalidRequestError(f"The request data {feature.name!r} has no values. Send one per row.")
    return OnDemandColumn.present(values)


def plain_value(value: Value, feature: Feature, row: int) -> Any:
    """One value of request data; None for a null.

    Raises:
        InvalidRequestError: it has another type.
    """
    kind, own = value.WhichOneof("val"), f"{feature.value_type.lower()}_val"
    if kind in (None, "null_val"):
        return None
    if kind not in ACCEPTED.get(feature.value_type, frozenset({own})):
        raise InvalidRequestError(
            f"The request data {feature.name!r} is {feature.value_type}: row {row} must set {own}, not {kind}."
        )
    plain = getattr(value, kind)
    if feature.value_type in ("DOUBLE", "FLOAT"):
        return float(plain)
    if feature.value_type == "INT32" and not INT32_MIN <= plain <= INT32_MAX:
        raise InvalidRequestError(f"The request data {feature.name!r} is INT32: row {row} is out of its range.")
    return plain


def row_count(data: RequestData, selection: Selection, rows: int) -> int:
    """The number of rows of a request: that of its join keys, or of its request data where it needs no key.

    Args:
        rows: the number of values of each join key.
    Raises:
        InvalidRequestError: a column of request data has another length.
    """
    if not data:
        return rows
    counts = {name: len(column.values) for name, column in data.items()}
    if not selection.keys and counts:
        rows = next(iter(counts.values()))
    uneven = {name: count for name, count in counts.items() if count != rows}
    if uneven:
        sent = ", ".join(f"{name}: {count}" for name, count in uneven.items())
        raise InvalidRequestError(
            f"The request has {rows} rows, and request data needs a value for each. Sent: {sent}."
        )
    return rows
