"""An entity row as people type it: `key=value`, each value of the type that its key has."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import UTC, datetime

from feast.protos.feast.types.Value_pb2 import Value

from pedigree.cli.errors import EntityRowError
from pedigree.online.plan import Plan

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
    "UNIX_TIMESTAMP": (instant, "an instant, such as 2026-01-31T12:00+00:00"),
}
"""How the text of a key becomes its value, by Feast's name of the key's type; every other type takes text as it is."""


def typed_row(plan: Plan, service: str, texts: Mapping[str, str]) -> dict[str, object]:
    """The values of an entity row, by what the service's join keys and request data are.

    A name or a service that the plan does not know stays text: the server says what is wrong with it.

    Raises:
        EntityRowError: a text is no value of its key's type.
    """
    types = types_of(plan, service)
    return {name: typed(name, text, types.get(name, "STRING")) for name, text in texts.items()}


def types_of(plan: Plan, service: str) -> dict[str, str]:
    """Feast's names of the types of everything that a request for a service may bring."""
    found = plan.services.get(service)
    if found is None:
        return {}
    views = [*found.views, *(source for view in found.on_demand for source in view.sources)]
    keys = {key.name: key.value_type for view in views for key in view.keys}
    return keys | {one.name: one.value_type for view in found.on_demand for one in view.request}


def typed(name: str, text: str, value_type: str) -> object:
    """One value.

    Raises:
        EntityRowError: the text is no value of the type.
    """
    parse, example = PARSERS.get(value_type, (str, "text"))
    try:
        return parse(text)
    except (ValueError, KeyError) as error:
        raise EntityRowError(name, text, value_type=value_type, example=example) from error


def as_value(value: object) -> Value:
    """A Python value as Feast's protocol has it."""
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
