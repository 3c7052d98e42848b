"""Rows as Feast hands them to an online store, on their way into it: keys and packed records, each value as it was declared."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from math import isnan

from feast.feature_view import DUMMY_ENTITY_ID
from feast.protos.feast.types.EntityKey_pb2 import EntityKey
from feast.protos.feast.types.Value_pb2 import Value

from pedigree.online.errors import FutureRowsError, UnfitRowError, UnfitValueError
from pedigree.online.records.exact_values import fitted
from pedigree.online.records.record import Head, Schema, micros
from pedigree.online.store import redis_keys

Row = tuple[EntityKey, dict[str, Value], datetime, datetime | None]
Rows = Sequence[Row]

UNWRITTEN = "Nothing of this batch was written."


def key_of(project: str, key: EntityKey) -> bytes:
    """The key of one entity's hash; join keys go by name, whatever their order."""
    parts = sorted(
        (name, redis_keys.key_value(value.SerializeToString()))
        for name, value in zip(key.join_keys, key.entity_values, strict=True)
        if name != DUMMY_ENTITY_ID
    )
    prefix = redis_keys.entity_prefix(project, [name for name, _ in parts])
    return redis_keys.entity_key(prefix, [value for _, value in parts])


def record_of(view: str, schema: Schema, row: Row) -> bytes:
    """The record of a row that was written one by one.

    Raises:
        UnfitRowError: a value is none of its declared type.
    """
    key, values, event_at, created_at = row
    created_us = None if created_at is None or is_missing(created_at) else micros(created_at)
    head = Head(micros(event_at), created_us, 0, schema.fingerprint)
    stored = []
    for name, kind in zip(schema.names, schema.types, strict=True):
        try:
            stored.append(stored_value(values.get(name), kind))
        except UnfitValueError as error:
            error.column = name
            raise UnfitRowError(view, f"{error}, in the row {described(key, event_at)}", state=UNWRITTEN) from error
    return schema.pack(head, stored)


def stored_value(value: Value | None, kind: str) -> bytes | None:
    """A value's bytes as its declared type keeps it; None where it is null.

    Raises:
        UnfitValueError: it is none of its type.
    """
    if value is None or value.WhichOneof("val") in (None, "null_val"):
        return None
    return bytes(fitted(value, kind).SerializeToString(deterministic=True))


def described(key: EntityKey, event_at: datetime) -> str:
    """What tells a row from others: its key and event time."""
    pairs = zip(key.join_keys, key.entity_values, strict=True)
    named = [f"{name} = {getattr(one, one.WhichOneof('val') or '', None)!r}" for name, one in pairs]
    return ", ".join([*named, f"event time {event_at}"])


def is_no_key(value: Value) -> bool:
    """True for a null, and for what is not a number."""
    field = value.WhichOneof("val")
    return field in (None, "null_val") or (field in ("double_val", "float_val") and isnan(getattr(value, field)))


def is_missing(at: datetime) -> bool:
    """True for pandas' instant that is none, which passes for a datetime."""
    return at != at


def refuse_incomplete(view: str, rows: Rows) -> None:
    """Raise where a row has no event time, or lacks a key; a NaN is none."""
    for key, _, event_at, _ in rows:
        for name, value in zip(key.join_keys, key.entity_values, strict=True):
            if name != DUMMY_ENTITY_ID and is_no_key(value):
                problem = f"its key {name} is missing, in the row {described(key, event_at)}"
                raise UnfitRowError(view, problem, state=UNWRITTEN)
        if is_missing(event_at):
            raise UnfitRowError(view, f"it has no event time, in the row {described(key, event_at)}", state=UNWRITTEN)


def refuse_future(view: str, event_times: Sequence[datetime], skew_seconds: float) -> None:
    """Raise where rows are further ahead of the clock than is allowed."""
    limit = micros(datetime.now(UTC)) + int(skew_seconds * 1e6)
    ahead = [event_at for event_at in event_times if micros(event_at) > limit]
    if ahead:
        raise FutureRowsError(view, len(ahead), newest=str(max(ahead)), allowed=f"{skew_seconds:g} s")
