"""The RPCs of both services as gRPC handlers. An RPC converts, calls, converts."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

import grpc
from google.protobuf.message import DecodeError

from pedigree.serving.auth.permissions import Asked
from pedigree.serving.auth.principal import Principal
from pedigree.serving.codec.field_count import (
    EXPLAIN,
    GET_ONLINE_FEATURES,
    GET_VECTORS,
    Shape,
    has_more_fields,
)
from pedigree.serving.data_plane.data_plane import DataPlane
from pedigree.serving.data_plane.explain import asked_of, explained
from pedigree.serving.data_plane.explain import selection_of as feature_of
from pedigree.serving.errors import InvalidRequestError
from pedigree.serving.refusals import LargeReplyError
from pedigree.serving.telemetry.sampling import Sampler, statuses_of_features, statuses_of_vectors
from pedigree.serving.transport.interceptor import Interceptor, Work
from pedigree.serving.v1.pedigree_pb2 import ExplainRequest, GetVectorsRequest
from pedigree.serving.v1.serving_pb2 import GetFeastServingInfoRequest, GetOnlineFeaturesRequest

SERVICE = "feast.serving.ServingService"
"""The name that stock Feast clients call. Our messages live in another package, so the path is registered by name."""

OWN_SERVICE = "pedigree.serving.v1.FeatureService"
FIELDS_PER_ROW = 50
"""How many fields a request may have for each row that one may have: far more than its join keys and request data."""
Method = Callable[[Any, Any], Awaitable[bytes]]


class ServingServicer:
    """The RPCs of `feast.serving.ServingService` and of `pedigree.serving.v1.FeatureService`. Replies are bytes already."""

    def __init__(self, plane: DataPlane, interceptor: Interceptor, sampler: Sampler | None = None) -> None:
        self.plane = plane
        self.interceptor = interceptor
        self.sampler = sampler

    async def answered(self, rpc: str, work: Work, request: Any, context: Any) -> bytes:
        """What `work` answers to a request; one that could not be parsed is refused like any other that cannot be answered."""
        work = refuse_unparsed if isinstance(request, Unparsed) else work
        return await self.interceptor.answered(rpc, work, request, context)

    async def get_online_features(self, request: GetOnlineFeaturesRequest, context: Any) -> bytes:
        """The feature vectors that `request` asks for."""
        return await self.answered(f"{SERVICE}/GetOnlineFeatures", self.online_features, request, context)

    async def online_features(self, request: GetOnlineFeaturesRequest, context: Any, who: Principal | None) -> bytes:
        """What `get_online_features` answers, or the error it ends with."""
        current = self.plane.plans.current
        current.bounds.check_features(request, rows=self.plane.settings.max_entities)
        self.interceptor.permit(who, current.plan, Asked(request.feature_service, request.features.val))
        service = request.feature_service if request.WhichOneof("kind") == "feature_service" else None
        selection = current.selection(service, request.features.val, full_names=request.full_feature_names)
        reply = await self.plane.online_features(request, selection, current, remaining=context.time_remaining())
        if self.sampler is not None:
            self.sampler.see(statuses_of_features, reply, selection)
        return self.bounded(reply)

    async def get_vectors(self, request: GetVectorsRequest, context: Any) -> bytes:
        """The matrix that `request` asks for."""
        return await self.answered(f"{OWN_SERVICE}/GetVectors", self.vectors, request, context)

    async def vectors(self, request: GetVectorsRequest, context: Any, who: Principal | None) -> bytes:
        """What `get_vectors` answers, or the error it ends with."""
        current = self.plane.plans.current
        current.bounds.check_vectors(request, rows=self.plane.settings.max_entities)
        self.interceptor.permit(who, current.plan, Asked(request.feature_service, request.features.names))
        selection = current.selection(request.feature_service, request.features.names, full_names=True)
        reply = await self.plane.vectors(request, selection, current, remaining=context.time_remaining())
        if self.sampler is not None:
            self.sampler.see(statuses_of_vectors, reply, selection)
        return self.bounded(reply)

    def bounded(self, reply: bytes) -> bytes:
        """A reply that clients take.

        Raises:
            LargeReplyError: it is larger; the client would only say that it is too large.
        """
        limit = self.plane.settings.limits.reply_bytes
        if len(reply) > limit:
            raise LargeReplyError(len(reply), limit)
        return reply

    async def explain(self, request: ExplainRequest, context: Any) -> bytes:
        """The way back from one served value."""
        return await self.answered(f"{OWN_SERVICE}/Explain", self.explained, request, context)

    async def explained(self, request: ExplainRequest, context: Any, who: Principal | None) -> bytes:
        """What `explain` answers, or the error it ends with."""
        current = self.plane.plans.current
        current.bounds.check_explain(request)
        asked = asked_of(request)
        self.interceptor.permit(who, current.plan, asked)
        selection = feature_of(current, asked, partial(self.interceptor.permits, who, current.plan))
        return await explained(self.plane, request, selection, current, remaining=context.time_remaining())

    async def get_feast_serving_info(self, request: GetFeastServingInfoRequest, context: Any) -> bytes:
        """The version of Feast that is spoken."""
        return await self.answered(f"{SERVICE}/GetFeastServingInfo", self.info, request, context)

    async def info(self, _request: GetFeastServingInfoRequest, _context: Any, _who: Principal | None) -> bytes:
        """What `get_feast_serving_info` answers."""
        return self.plane.info()

    def handlers(self) -> tuple[Any, ...]:
        """The RPCs under the names that clients call."""
        feast: dict[str, Rpc] = {
            "GetOnlineFeatures": Rpc(self.get_online_features, GetOnlineFeaturesRequest, GET_ONLINE_FEATURES),
            "GetFeastServingInfo": Rpc(self.get_feast_serving_info, GetFeastServingInfoRequest, Shape()),
        }
        own: dict[str, Rpc] = {
            "GetVectors": Rpc(self.get_vectors, GetVectorsRequest, GET_VECTORS),
            "Explain": Rpc(self.explain, ExplainRequest, EXPLAIN),
        }
        limit = FIELDS_PER_ROW * self.plane.settings.max_entities
        return (handler_of(SERVICE, feast, limit), handler_of(OWN_SERVICE, own, limit))


@dataclass(frozen=True, slots=True)
class Rpc:
    """A method, the message that it takes, and what of that is counted."""

    method: Method
    message: Any
    shape: Shape


def handler_of(service: str, methods: Mapping[str, Rpc], limit: int) -> Any:
    """A service's methods; none takes a message of more than `limit` fields."""
    handlers = {
        name: grpc.unary_unary_rpc_method_handler(
            without_frames(rpc.method), request_deserializer=parser_of(rpc, limit)
        )
        for name, rpc in methods.items()
    }
    return grpc.method_handlers_generic_handler(service, handlers)


def parser_of(rpc: Rpc, limit: int) -> Callable[[bytes], Any]:
    """A function that parses a message, or returns why it cannot; gRPC itself would call that an error inside the server."""

    def parse(data: bytes) -> Any:
        if has_more_fields(data, rpc.shape, limit):
            return Unparsed(
                "The request has more rows, values or names than any that is answered here. Nothing was read; send fewer "
                "rows at once."
            )
        try:
            return rpc.message.FromString(data)
        except DecodeError:
            return Unparsed("The request is not the message that this method takes.")

    return parse


@dataclass(frozen=True, slots=True)
class Unparsed:
    """A request that was not parsed, and why."""

    reason: str


async def refuse_unparsed(request: Unparsed, _context: Any, _who: Principal | None) -> bytes:
    """Refuse a request that was not parsed.

    Raises:
        InvalidRequestError: always.
    """
    raise InvalidRequestError(request.reason)


def without_frames(method: Method) -> Method:
    """A method whose exceptions leave without the frames that hold its request.

    gRPC keeps the exception that ends a call in a cycle with the call itself, until Python collects such cycles. A request of
    megabytes would stay in memory as long.
    """

    async def call(request: Any, context: Any) -> bytes:
        try:
            return await method(request, context)
        except grpc.aio.AbortError as error:
            del request
            error.__context__ = None
            raise error.with_traceback(None)  # noqa: B904 - its cause was told to the caller, and logged

    return call
