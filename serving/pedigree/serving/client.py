"""A client for Python: vectors as a matrix, and where they came from. Needs neither Feast nor Spark.

    from pedigree.serving.client import Client

    with Client("features.example.com:443", tls=True, token=token) as client:
        vectors = client.vectors("order_risk", {"customer": ["C1", "C2"], "shop": [7, 8]})
        model.predict(vectors.numbers)

`AsyncClient` is the same with `async with` and `await`. Calls are tried again where the server says that it may help
(`MAY_HELP`), within the deadline.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from enum import IntEnum
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import grpc
import numpy as np
import numpy.typing as npt

from pedigree.serving.v1.pedigree_pb2 import (
    PRECISION_DOUBLE,
    PRECISION_FLOAT,
    ExplainRequest,
    ExplainResponse,
    FeatureNames,
    GetVectorsRequest,
    GetVectorsResponse,
    Keys,
    Load,
)
from pedigree.serving.v1.value_pb2 import Value

SERVICE = "pedigree.serving.v1.FeatureService"
MAY_HELP = ("UNAVAILABLE", "RESOURCE_EXHAUSTED", "CANCELLED")
"""Statuses after which a call is tried again; with CANCELLED the server's gRPC ends what it has no room for."""
EPOCH = datetime.fromtimestamp(0, UTC)
KeyColumn = Sequence[int] | Sequence[str] | Sequence[float] | Sequence[Value]


class Status(IntEnum):
    """What there is to say of a value."""

    INVALID = 0
    """The row's record in the online store is damaged, and nothing of it is told."""
    PRESENT = 1
    NULL_VALUE = 2
    NOT_FOUND = 3
    OUTSIDE_MAX_AGE = 4


@dataclass(frozen=True, slots=True)
class Provenance:
    """Where a row of one view came from: when it was true, and who loaded it (None: it was pushed, or there is none)."""

    event_at: datetime | None
    load: Load | None


@dataclass(frozen=True, slots=True)
class Vectors:
    """The answer.

    Attributes:
        names: `view__feature` of each column of the matrix.
        numbers: rows × names, float64 (float32 where that was asked for); NaN where there is no value.
        statuses: rows × names, each a `Status`.
        others: for each feature that is no number its values, one per row (None where there is none).
        origins: with `provenance`: for each view the origin of each row.
        plan_version: the digest of the definitions that were served by.
    """

    names: tuple[str, ...]
    numbers: npt.NDArray[Any]
    statuses: npt.NDArray[np.uint8]
    others: Mapping[str, tuple[Any, ...]]
    origins: Mapping[str, tuple[Provenance, ...]]
    plan_version: str


@dataclass(frozen=True, slots=True)
class Options:
    """How to reach a server.

    Attributes:
        tls: with TLS, trusting the system's authorities or those in the file `authorities`.
        certificate, key: files of a client certificate, where the server wants one.
        token: a JWT, where the server wants one.
        timeout: for a call with all of its attempts.
        attempts: how often a call is tried at most.
    """

    tls: bool = False
    authorities: Path | None = None
    certificate: Path | None = None
    key: Path | None = None
    token: str | None = field(default=None, repr=False)
    timeout: timedelta = timedelta(seconds=1)
    attempts: int = 3

    @property
    def metadata(self) -> tuple[tuple[str, str], ...]:
        """What goes with each call."""
        return (("authorization", f"Bearer {self.token}"),) if self.token else ()

    @property
    def channel_options(self) -> tuple[tuple[str, Any], ...]:
        """GRPC's own retries."""
        policy = {
            "maxAttempts": max(self.attempts, 2),
            "initialBackoff": "0.02s",
            "maxBackoff": "0.5s",
            "backoffMultiplier": 2,
            "retryableStatusCodes": list(MAY_HELP),
        }
        config = {"methodConfig": [{"name": [{"service": SERVICE}], "retryPolicy": policy}]}
        return (("grpc.service_config", json.dumps(config)), ("grpc.enable_retries", int(self.attempts > 1)))

    def credentials(self) -> Any:
        """GRPC's credentials; None without TLS."""
        if not self.tls:
            return None
        parts = [None if path is None else path.read_bytes() for path in (self.authorities, self.key, self.certificate)]
        return grpc.ssl_channel_credentials(*parts)


class Client:
    """A connection to a server. Safe to share among threads."""

    def __init__(self, address: str, options: Options | None = None, **more: Any) -> None:
        self.options = options or Options(**more)
        credentials, settings = self.options.credentials(), self.options.channel_options
        self.channel = (
            grpc.insecure_channel(address, options=settings)
            if credentials is None
            else grpc.secure_channel(address, credentials, options=settings)
        )

    def vectors(
        self,
        features: str | Sequence[str],
        keys: Mapping[str, KeyColumn],
        *,
        provenance: bool = False,
        single: bool = False,
    ) -> Vectors:
        """The vectors of a feature service, or of features written `view:feature`, one row per entity.

        Args:
            keys: the values of each join key, and request data of on-demand features, all of one length.
            provenance: say where each row came from.
            single: numbers of four bytes.
        Raises:
            grpc.RpcError: the server refused, did not answer in time, or is not there; `.code()` and `.details()` say why.
        """
        request = vectors_request(features, keys, provenance=provenance, single=single)
        return vectors_of(self.call("GetVectors", request, GetVectorsResponse))

    def explain(self, service: str, feature: str, entity: Mapping[str, int | str | Value]) -> ExplainResponse:
        """The way back from one served value.

        Raises:
            grpc.RpcError: see `vectors`.
        """
        found: ExplainResponse = self.call("Explain", explain_request(service, feature, entity), ExplainResponse)
        return found

    def call(self, method: str, request: Any, reply: Any) -> Any:
        """One RPC."""
        call = self.channel.unary_unary(
            f"/{SERVICE}/{method}",
            request_serializer=type(request).SerializeToString,
            response_deserializer=reply.FromString,
        )
        return call(request, timeout=self.options.timeout.total_seconds(), metadata=self.options.metadata)

    def close(self) -> None:
        """Let go of the connection."""
        self.channel.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, _kind: type[BaseException] | None, _error: BaseException | None, _trace: TracebackType | None
    ) -> None:
        self.close()


class AsyncClient:
    """The same for asyncio; every method of `Client` is awaited."""

    def __init__(self, address: str, options: Options | None = None, **more: Any) -> None:
        self.options = options or Options(**more)
        credentials, settings = self.options.credentials(), self.options.channel_options
        self.channel = (
            grpc.aio.insecure_channel(address, options=settings)
            if credentials is None
            else grpc.aio.secure_channel(address, credentials, options=settings)
        )

    async def vectors(
        self,
        features: str | Sequence[str],
        keys: Mapping[str, KeyColumn],
        *,
        provenance: bool = False,
        single: bool = False,
    ) -> Vectors:
        """See `Client.vectors`."""
        request = vectors_request(features, keys, provenance=provenance, single=single)
        return vectors_of(await Client.call(self, "GetVectors", request, GetVectorsResponse))  # type: ignore[arg-type]

    async def explain(self, service: str, feature: str, entity: Mapping[str, int | str | Value]) -> ExplainResponse:
        """See `Client.explain`."""
        request = explain_request(service, feature, entity)
        return await Client.call(self, "Explain", request, ExplainResponse)  # type: ignore[arg-type,no-any-return]

    async def close(self) -> None:
        """Let go of the connection."""
        await self.channel.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, _kind: type[BaseException] | None, _error: BaseException | None, _trace: TracebackType | None
    ) -> None:
        await self.close()


def vectors_request(
    features: str | Sequence[str], keys: Mapping[str, KeyColumn], *, provenance: bool, single: bool
) -> GetVectorsRequest:
    """The request for some vectors."""
    what: dict[str, Any] = (
        {"feature_service": features} if isinstance(features, str) else {"features": FeatureNames(names=features)}
    )
    return GetVectorsRequest(
        keys=[keys_of(name, column) for name, column in keys.items()],
        include_provenance=provenance,
        precision=PRECISION_FLOAT if single else PRECISION_DOUBLE,
        **what,
    )


def keys_of(name: str, column: KeyColumn) -> Keys:
    """A column of keys or request data, in the field that fits what it holds."""
    values: Any = list(column)
    if values and isinstance(values[0], str):
        return Keys(name=name, strings=values)
    if values and isinstance(values[0], float):
        return Keys(name=name, values=[Value(double_val=value) for value in values])
    return Keys(name=name, values=values) if values and isinstance(values[0], Value) else Keys(name=name, ints=values)


def explain_request(service: str, feature: str, entity: Mapping[str, int | str | Value]) -> ExplainRequest:
    """The request for the way back from one value."""
    return ExplainRequest(
        feature_service=service, feature=feature, entity={name: value_of(key) for name, key in entity.items()}
    )


def value_of(plain: int | str | Value) -> Value:
    """A key as Feast has it."""
    if isinstance(plain, Value):
        return plain
    return Value(string_val=plain) if isinstance(plain, str) else Value(int64_val=plain)


def vectors_of(reply: GetVectorsResponse) -> Vectors:
    """A reply as arrays."""
    shape = (reply.rows, len(reply.names))
    single = len(reply.floats) > len(reply.values)
    numbers = np.array(reply.floats, np.float32) if single else np.array(reply.values, np.float64)
    statuses = np.frombuffer(reply.statuses, np.uint8) if reply.statuses else np.full(shape, Status.PRESENT, np.uint8)
    loads = {load.number: load for load in reply.loads}
    return Vectors(
        names=tuple(reply.names),
        numbers=numbers.reshape(shape),
        statuses=statuses.reshape(shape),
        others={one.name: tuple(plain(value) for value in one.values) for one in reply.others},
        origins={
            one.view: tuple(
                Provenance(EPOCH + timedelta(microseconds=at) if at else None, loads.get(load))
                for at, load in zip(one.event_times_us, one.loads, strict=True)
            )
            for one in reply.provenance
        },
        plan_version=reply.plan_version,
    )


def plain(value: Value) -> Any:
    """What a value holds; None where it is null."""
    kind = value.WhichOneof("val")
    return None if kind is None else getattr(value, kind)
