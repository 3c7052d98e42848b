"""What can be stored and served: the names and types that a view may have."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from feast.protos.feast.types.Value_pb2 import ValueType

from pedigree.online.plans.plan import Feature, JoinKey, View
from pedigree.online.store import redis_keys

AS_BYTES = frozenset({30, 31})
"""Feast's numbers of PDF_BYTES and IMAGE_BYTES. Feast's protocol does not have these types; their values are bytes."""

TYPES = frozenset(ValueType.Enum.keys())
VALUELESS = frozenset({"INVALID", "NULL"})
"""Types of which there is no value."""

KEY_TYPES = frozenset(
    {
        *("STRING", "BYTES", "INT32", "INT64", "BOOL", "DOUBLE", "FLOAT"),
        *("UNIX_TIMESTAMP", "UUID", "TIME_UUID", "DECIMAL", "JSON"),
    }
)
"""Types of which a value is always written in the same bytes, so that it can be looked up."""


def type_name(number: int) -> str:
    """The name under which a value of Feast's type `number` is stored; the number itself where this Feast has no such type."""
    if number in AS_BYTES:
        return "BYTES"
    return str(ValueType.Enum.Name(number)) if number in ValueType.Enum.values() else str(number)


def unstorable(name: str, keys: Sequence[JoinKey], features: Sequence[Feature]) -> str | None:
    """Why a view cannot be stored; None where it can."""
    if not redis_keys.is_storable(name):
        return f"its name is empty or has one of the characters {' '.join(sorted(redis_keys.FORBIDDEN))}; give it another name"
    for key in keys:
        if key.value_type not in KEY_TYPES:
            return (
                f"its join key {key.name!r} has the type {key.value_type}, and a key is one of "
                f"{', '.join(sorted(KEY_TYPES))}; change the entity's value_type"
            )
    for feature in features:
        if feature.value_type not in TYPES or feature.value_type in VALUELESS:
            return (
                f"its feature {feature.name!r} has the type {feature.value_type}, which has no values; change its dtype"
            )
    return None


def unstorable_views(views: Iterable[View]) -> dict[str, str]:
    """Of each view that cannot be stored, why. Of two that would share a field, the later in `views` cannot."""
    found: dict[str, str] = {}
    owner: dict[bytes, str] = {}
    for view in views:
        reason = unstorable(view.name, view.keys, view.stored)
        if reason is None:
            other = owner.setdefault(redis_keys.field(view.name, 0), view.name)
            if other != view.name:
                reason = (
                    f"the four bytes that stand for its name are by chance those of {other!r}, and they would overwrite each "
                    "other; give one of them another name"
                )
        if reason is not None:
            found[view.name] = reason
    return found
