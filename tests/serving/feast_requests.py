"""Requests in Feast's own messages, and answers as plain values."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import grpc
import pytest
from feast.protos.feast.serving.ServingService_pb2 import (
    FeatureList,
    FieldStatus,
    GetOnlineFeaturesRequest,
    GetOnlineFeaturesResponse,
)
from feast.protos.feast.types.Value_pb2 import RepeatedValue, Value

Columns = Mapping[str, Sequence[int | str | Value]]


@dataclass(frozen=True, slots=True)
class Cell:
    """One value of an answer; `event_at` is None where the answer names no time."""

    value: Any
    status: str
    event_at: datetime | None


def value_of(plain: int | str | Value) -> Value:
    """A Feast value of a whole number or a text."""
    if isinstance(plain, Value):
        return plain
    return Value(int64_val=plain) if isinstance(plain, int) else Value(string_val=plain)


def features_request(
    what: str | Sequence[str], entities: Columns | None = None, **more: Any
) -> GetOnlineFeaturesRequest:
    """A request for a service (a name) or for features (a list of references)."""
    columns = {name: RepeatedValue(val=[value_of(one) for one in column]) for name, column in (entities or {}).items()}
    kind: dict[str, Any] = {"feature_service": what} if isinstance(what, str) else {"features": FeatureList(val=what)}
    return GetOnlineFeaturesRequest(entities=columns, **kind, **more)


def by_name(response: GetOnlineFeaturesResponse) -> dict[str, list[Cell]]:
    """The columns of an answer by name, in its order."""
    names = list(response.metadata.feature_names.val)
    assert len(set(names)) == len(names) == len(response.results)
    return {name: column_of(vector) for name, vector in zip(names, response.results, strict=True)}


def column_of(vector: GetOnlineFeaturesResponse.FeatureVector) -> list[Cell]:
    """One column of an answer."""
    cells = zip(vector.values, vector.statuses, vector.event_timestamps, strict=True)
    return [Cell(plain(value), FieldStatus.Name(status), instant(at)) for value, status, at in cells]


def plain(value: Value) -> Any:
    """What a Feast value holds, None if it is null."""
    case = value.WhichOneof("val")
    return None if case in (None, "null_val") else getattr(value, case)


def instant(at: Any) -> datetime | None:
    """An event time in UTC."""
    return at.ToDatetime(tzinfo=UTC) if at.seconds or at.nanos else None


def refused(call: Any, request: Any, **more: Any) -> tuple[grpc.StatusCode, str]:
    """The status and the message that a call ends with."""
    with pytest.raises(grpc.RpcError) as caught:
        call(request, timeout=20, **more)
    return caught.value.code(), caught.value.details()
