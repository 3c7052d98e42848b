"""The RPCs of both services as gRPC handlers. An RPC converts, calls, converts."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from functools import partial
from typing import Any

import grpc
from google.protobuf.message import DecodeError

from serving import computed
from serving.door import Door
from serving.explaining import asked_of, explained
from serving.explaining import selection_of as feature_of
from serving.permissions import Asked
from serving.plane import Plane
from serving.principal import Principal
from serving.sampling import Sampler, statuses_of_features, statuses_of_vectors
from serving.statuses import told as told
from serving.v1.pedigree_pb2 import ExplainRequest, GetVectorsRequest
from serving.v1.serving_pb2 import GetFeastServingInfoRequest, GetOnlineFeaturesRequest

SERVICE = "feast.serving.ServingService"
"""The name that stock Feast clients call. Our messages live in another package, so the path is registered by name."""

OWN_SERVICE = "pedigree.serving.v1.FeatureService"
Method = Callable[[Any, Any], Awaitable[bytes]]


class ServingServicer:
    """The RPCs of `feast.serving.ServingService` and of `pedigree.serving.v1.FeatureService`. Replies are bytes already."""

    def __init__(self, plane: Plane, door: Door, sampler: Sampler | None = None) -> None:
        self.plane = plane
        self.door = door
        self.sampler = sampler

    async def get_online_features(self, request: GetOnlineFeaturesRequest, context: Any) -> bytes:
        """The feature vectors that `request` asks for."""
        return await self.door.answered(f"{SERVICE}/GetOnlineFeatures", self.online_features, request, context)

    async def online_features(self, request: GetOnlineFeaturesRequest, context: Any, who: Principal | None) -> bytes:
        """What `get_online_features` answers, or the error it ends with."""
        current = self.plane.plans.current
        self.door.permit(who, current.plan, Asked(request.feature_service, request.features.val))
        selection = self.plane.selection(current, request)
        remaining = context.time_remaining()
        if selection.on_demand:
            reply = await computed.online_features(self.plane, request, selection, current, remaining=remaining)
        else:
            reply = await self.plane.online_features(request, selection, current, remaining=remaining)
        if self.sampler is not None:
            self.sampler.see(statuses_of_features, reply, selection)
        return reply

    async def get_vectors(self, request: GetVectorsRequest, context: Any) -> bytes:
        """The matrix that `request` asks for."""
        return await self.door.answered(f"{OWN_SERVICE}/GetVectors", self.vectors, request, context)

    async def vectors(self, request: GetVectorsRequest, context: Any, who: Principal | None) -> bytes:
        """What `get_vectors` answers, or the error it ends with."""
        current = self.plane.plans.current
        self.door.permit(who, current.plan, Asked(request.feature_service, request.features.names))
        selection = current.selection(request.feature_service, request.features.names, full_names=True)
        remaining = context.time_remaining()
        if selection.on_demand:
            reply = await computed.vectors(self.plane, request, selection, current, remaining=remaining)
        else:
            reply = await self.plane.vectors(request, selection, current, remaining=remaining)
        if self.sampler is not None:
            self.sampler.see(statuses_of_vectors, reply, selection)
        return reply

    async def explain(self, request: ExplainRequest, context: Any) -> bytes:
        """The way back from one served value."""
        return await self.door.answered(f"{OWN_SERVICE}/Explain", self.explained, request, context)

    async def explained(self, request: ExplainRequest, context: Any, who: Principal | None) -> bytes:
        """What `explain` answers, or the error it ends with."""
        current = self.plane.plans.current
        asked = asked_of(request)
        self.door.permit(who, current.plan, asked)
        selection = feature_of(current, asked, partial(self.door.permits, who, current.plan))
        return await explained(self.plane, request, selection, current, remaining=context.time_remaining())

    async def get_feast_serving_info(self, request: GetFeastServingInfoRequest, context: Any) -> bytes:
        """The version of Feast that is spoken."""
        return await self.door.answered(f"{SERVICE}/GetFeastServingInfo", self.info, request, context)

    async def info(self, _request: GetFeastServingInfoRequest, _context: Any, _who: Principal | None) -> bytes:
        """What `get_feast_serving_info` answers."""
        return self.plane.info()

    def handlers(self) -> tuple[Any, ...]:
        """The RPCs under the names that clients call."""
        feast: dict[str, tuple[Any, Any]] = {
            "GetOnlineFeatures": (self.get_online_features, GetOnlineFeaturesRequest),
            "GetFeastServingInfo": (self.get_feast_serving_info, GetFeastServingInfoRequest),
        }
        own: dict[str, tuple[Any, Any]] = {
            "GetVectors": (self.get_vectors, GetVectorsRequest),
            "Explain": (self.explain, ExplainRequest),
        }
        return (handler_of(SERVICE, feast), handler_of(OWN_SERVICE, own))


def handler_of(service: str, methods: Mapping[str, tuple[Any, Any]]) -> Any:
    """A service's methods, each with the message it takes."""
    handlers = {
        name: grpc.unary_unary_rpc_method_handler(readable(method), request_deserializer=reader_of(message))
        for name, (method, message) in methods.items()
    }
    return grpc.method_handlers_generic_handler(service, handlers)


def reader_of(message: Any) -> Callable[[bytes], Any]:
    """What reads a message, and gives None for bytes that are none; gRPC itself would call that an error inside the server."""

    def read(data: bytes) -> Any:
        try:
            return message.FromString(data)
        except DecodeError:
            return None

    return read


def readable(method: Method) -> Method:
    """A method that is called with a message, and refuses what was none."""

    async def call(request: Any, context: Any) -> bytes:
        if request is None:
            await context.abort(
                grpc.StatusCode.INVALID_ARGUMENT, "The request is not the message that this method takes."
            )
        return await method(request, context)

    return call
