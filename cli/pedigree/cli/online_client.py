"""Asking the server as any stock Feast gRPC client does: with Feast's own generated stubs."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime

import grpc
from feast.protos.feast.serving import ServingService_pb2 as messages
from feast.protos.feast.serving.ServingService_pb2_grpc import ServingServiceStub
from feast.protos.feast.types.Value_pb2 import RepeatedValue
from rich.table import Table

from pedigree.cli.entity_row import as_value
from pedigree.cli.errors import AskedInVainError, UnexplainedError
from pedigree.serving.v1 import pedigree_pb2, value_pb2

DEADLINE_SECONDS = 10
GET_VECTORS = "/pedigree.serving.v1.FeatureService/GetVectors"


@dataclass(frozen=True, slots=True)
class Served:
    """One feature of a vector; `event_at` is None where the store holds no row."""

    value: object
    status: str
    event_at: datetime | None


def ask(address: str, service: str, entities: Mapping[str, object]) -> dict[str, Served]:
    """The vector of a feature service for one entity row, by full feature name.

    Raises:
        AskedInVainError: the server refused or is not there; the message is the server's.
    """
    request = messages.GetOnlineFeaturesRequest(
        feature_service=service,
        entities={key: RepeatedValue(val=[as_value(value)]) for key, value in entities.items()},
        full_feature_names=True,
    )
    try:
        with grpc.insecure_channel(address) as channel:
            reply = ServingServiceStub(channel).GetOnlineFeatures(request, timeout=DEADLINE_SECONDS)
    except grpc.RpcError as error:
        raise AskedInVainError(refusal(error, address)) from error
    names = reply.metadata.feature_names.val
    vectors = zip(names, reply.results, strict=True)
    return {name: served(vector) for name, vector in vectors if name not in entities}


def loaded_by(address: str, service: str, view: str, entities: Mapping[str, object]) -> str:
    """The id of the run that wrote a view's row for one entity to the online store.

    Raises:
        AskedInVainError: the server refused or is not there.
        UnexplainedError: no run did: the row was pushed.
    """
    request = pedigree_pb2.GetVectorsRequest(
        feature_service=service,
        keys=[key_of(name, value) for name, value in entities.items()],
        include_provenance=True,
    )
    try:
        with grpc.insecure_channel(address) as channel:
            call = channel.unary_unary(
                GET_VECTORS,
                request_serializer=pedigree_pb2.GetVectorsRequest.SerializeToString,
                response_deserializer=pedigree_pb2.GetVectorsResponse.FromString,
            )
            reply = call(request, timeout=DEADLINE_SECONDS)
    except grpc.RpcError as error:
        raise AskedInVainError(refusal(error, address)) from error
    numbers = {one.view: one.loads[0] for one in reply.provenance if one.loads}
    runs = {load.number: load.run_id for load in reply.loads}
    if numbers.get(view) not in runs:
        raise UnexplainedError(f"The row of {view} was pushed to the online store; no run loaded it from a table.")
    return str(runs[numbers[view]])


def key_of(name: str, value: object) -> pedigree_pb2.Keys:
    """One join key's value, in the field that fits its type."""
    if isinstance(value, str):
        return pedigree_pb2.Keys(name=name, strings=[value])
    if isinstance(value, int) and not isinstance(value, bool):
        return pedigree_pb2.Keys(name=name, ints=[value])
    return pedigree_pb2.Keys(name=name, values=[value_pb2.Value.FromString(as_value(value).SerializeToString())])


def refusal(error: grpc.RpcError, address: str) -> str:
    """What the server said, or how to start it where there is none."""
    if error.code() is grpc.StatusCode.UNAVAILABLE and "connect" in error.details():
        return f"No server answers at {address}. Start it with `pedigree serve`, or set PEDIGREE_SERVING_ADDRESS."
    return f"The server at {address} refused ({error.code().name}): {error.details()}"


def served(vector: messages.GetOnlineFeaturesResponse.FeatureVector) -> Served:
    """The first row of a feature's column in a reply."""
    value, status, stamp = vector.values[0], vector.statuses[0], vector.event_timestamps[0]
    kind = value.WhichOneof("val")
    return Served(
        value=None if kind in (None, "null_val") else getattr(value, kind),
        status=messages.FieldStatus.Name(status),
        event_at=datetime.fromtimestamp(stamp.seconds, UTC) if stamp.seconds else None,
    )


def vector_table(vector: Mapping[str, Served]) -> Table:
    """Each feature as it is served."""
    table = Table("feature", "value", "status", "event time (UTC)", box=None, padding=(0, 2))
    for name, one in vector.items():
        table.add_row(name, shown(one.value), one.status, f"{one.event_at:%Y-%m-%d %H:%M}" if one.event_at else "")
    return table


def shown(value: object) -> str:
    """A value for people; numbers to four decimals."""
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return "null"
    return f"{value:.4f}".rstrip("0").rstrip(".") if isinstance(value, float) else str(value)
