"""An entity row as people type it: `key=value`, each value of the type that its key has."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any

from pedigree.cli.errors import EntityRowError
from pedigree.online.plans.plan import Plan
from pedigree.serving.v1.value_pb2 import Value

BOOLS = {"true": True, "false": False}


def instant(text: str) -> datetime:
    """An ISO 8601 instant; without a time zone it is UTC."""
    at = datetime.fromisoformat(text)
    return at if at.tzinfo else at.replace(tzinfo=UTC)


PARSERS: Mapping[str, tuple[Callable[[str], object], str]] = {
    "INT32": (int, "a whole number"),
    "INT64": (int, "a whole number"),
    "DOUBLE": (float, "a number"),
    "FLOAT": (float, "a number"),
    "BOOL": (lambda text: BOOLS[text.lower()], "true or false"),
    "BYTES": (bytes.fromhex, "bytes in hexadecimal, such as 0aff"),
    "UNIX_TIMESTAMP": (lambda text: int(instant(text).timestamp()), "an instant, such as 2026-01-31T12:00+00:00"),
}
"""How text becomes a value, by Feast's name of the value's type; every other type takes text as it is."""
FIELDS = frozenset(Value.DESCRIPTOR.fields_by_name)


def typed_row(plan: Plan, service: str, texts: Mapping[str, str]) -> dict[str, Value]:
    """An entity row, each value of the type that its join key or request data has in the service.

    A name or a service that the plan does not know is taken as text, and the server says what is wrong with it.

    Raises:
        EntityRowError: a text is no value of its key's type.
    """
    types = types_of(plan, service)
    return {name: typed(name, text, types.get(name, "STRING")) for name, text in texts.items()}


def types_of(plan: Plan, service: str) -> dict[str, str]:
    """Feast's names of the types of all join keys and request data of a service."""
    plan_of_service = plan.services.get(service)
    if plan_of_service is None:
        return {}
    on_demand = plan_of_service.on_demand
    views = [*plan_of_service.views, *(source for view in on_demand for source in view.sources)]
    keys = {key.name: key.value_type for view in views for key in view.keys}
    return keys | {field.name: field.value_type for view in on_demand for field in view.request}


def typed(name: str, text: str, value_type: str) -> Value:
    """The value of a type that a text stands for.

    Raises:
        EntityRowError: the text is no value of the type.
    """
    parse, example = PARSERS.get(value_type, (str, "text"))
    field = f"{value_type.lower()}_val"
    try:
        parsed: dict[str, Any] = {field if field in FIELDS else "string_val": parse(text)}
        return Value(**parsed)
    except (ValueError, KeyError, OverflowError, TypeError) as error:
        raise EntityRowError(name, text, value_type=value_type, example=example) from error


def as_value(value: object) -> Value:
    """A plain value as Feast's protocol has it; a `Value` as it is."""
    if isinstance(value, Value):
        return value
    if isinstance(value, bool):
        return Value(bool_val=value)
    if isinstance(value, int):
        return Value(int64_val=value)
    if isinstance(value, float):
        return Value(double_val=value)
    if isinstance(value, bytes):
        return Value(bytes_val=value)
    if isinstance(value, datetime):
        return Value(unix_timestamp_val=int(value.timestamp()))
    return Value(string_val=str(value))
