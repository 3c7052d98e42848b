"""Asks the server by Feast's own protocol, as any stock client does, without Feast."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import grpc
from google.protobuf.message import Message
from rich.table import Table

from pedigree.cli.errors import AskedInVainError
from pedigree.cli.online.entity_row import as_value
from pedigree.serving.v1.serving_pb2 import FieldStatus, GetOnlineFeaturesRequest, GetOnlineFeaturesResponse
from pedigree.serving.v1.value_pb2 import RepeatedValue, Value

METHOD = "/feast.serving.ServingService/GetOnlineFeatures"
DEADLINE_SECONDS = 10
LATER = frozenset({grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED})
"""With these the same request may be answered later."""


@dataclass(frozen=True, slots=True)
class Served:
    """One feature of a vector; `event_at` is None where the store holds no row."""

    value: object
    status: str
    event_at: datetime | None


def ask(address: str, service: str, entities: Mapping[str, object]) -> dict[str, Served]:
    """The vector of a feature service for one entity row, by full feature name.

    Args:
        entities: the values of join keys and request data: plain ones, or `Value`s.

    Raises:
        AskedInVainError: the server refused or is not there; the message is the server's.
    """
    request = GetOnlineFeaturesRequest(
        feature_service=service,
        entities={key: RepeatedValue(val=[as_value(value)]) for key, value in entities.items()},
        full_feature_names=True,
    )
    try:
        with grpc.insecure_channel(address) as channel:
            call = channel.unary_unary(
                METHOD, GetOnlineFeaturesRequest.SerializeToString, GetOnlineFeaturesResponse.FromString
            )
            reply = call(request, timeout=DEADLINE_SECONDS)
    except grpc.RpcError as error:
        raise refusal(error, address) from error
    names = reply.metadata.feature_names.val
    vectors = zip(names, reply.results, strict=True)
    return {name: served(vector) for name, vector in vectors if name not in entities}


def refusal(error: grpc.RpcError, address: str) -> AskedInVainError:
    """What the server said, or how to start it where there is none; it may be asked again where it is away or was too slow."""
    transient = error.code() in LATER
    if error.code() is grpc.StatusCode.UNAVAILABLE and "connect" in error.details():
        start = "Start it with `pedigree serve`, or set PEDIGREE_SERVING_ADDRESS."
        return AskedInVainError(f"No server answers at {address}. {start}", transient=transient)
    said = f"The server at {address} refused ({error.code().name}): {error.details()}"
    return AskedInVainError(said, transient=transient)


def served(vector: GetOnlineFeaturesResponse.FeatureVector) -> Served:
    """The first row of a feature's column in a reply."""
    value, status, stamp = vector.values[0], vector.statuses[0], vector.event_timestamps[0]
    return Served(
        value=plain(value),
        status=FieldStatus.Name(status),
        event_at=datetime.fromtimestamp(stamp.seconds, UTC) if stamp.seconds else None,
    )


def plain(value: Any) -> object:
    """What a `Value` holds, with lists, maps and structs as Python has them; None for a null."""
    kind = value.WhichOneof("val")
    return None if kind in (None, "null_val") else unwrapped(getattr(value, kind))


def unwrapped(held: Any) -> object:
    """A scalar as it is, and what a list or a map holds."""
    if isinstance(held, Value):
        return plain(held)
    if not isinstance(held, Message):
        return held
    inner = held.val  # every message of a `Value` has it
    if isinstance(inner, Mapping):
        return {key: unwrapped(one) for key, one in inner.items()}
    return [unwrapped(one) for one in inner]


def vector_table(vector: Mapping[str, Served]) -> Table:
    """Each feature as it is served."""
    table = Table("feature", "value", "status", "event time (UTC)", box=None, padding=(0, 2))
    for name, feature in vector.items():
        at = f"{feature.event_at:%Y-%m-%d %H:%M}" if feature.event_at else ""
        table.add_row(name, shown(feature.value), feature.status, at)
    return table


def shown(value: object) -> str:
    """A value for people; numbers to four decimals, lists and maps as JSON."""
    if isinstance(value, list | dict):
        return json.dumps(value, default=str, ensure_ascii=False)
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return "null"
    return f"{value:.4f}".rstrip("0").rstrip(".") if isinstance(value, float) else str(value)
