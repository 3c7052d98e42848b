"""The door: `feast.serving.ServingService` as gRPC handlers. An RPC converts, calls, converts."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Mapping
from typing import Any, TypeVar
from uuid import uuid4

import grpc

from online.errors import RecordError, SchemaMissingError
from serving.errors import (
    DeadlinePassedError,
    InvalidRequestError,
    NotLoadedError,
    NotReadyError,
    NotServedError,
    StoreUnavailableError,
    UnknownNameError,
)
from serving.plane import Plane
from serving.v1.pedigree_pb2 import GetVectorsRequest
from serving.v1.serving_pb2 import GetFeastServingInfoRequest, GetOnlineFeaturesRequest

log = logging.getLogger(__name__)

T = TypeVar("T")

SERVICE = "feast.serving.ServingService"
"""The name that stock Feast clients call. Our messages live in another package, so the path is registered by name."""

OWN_SERVICE = "pedigree.serving.v1.FeatureService"

STATUS: Mapping[type[Exception], grpc.StatusCode] = {
    InvalidRequestError: grpc.StatusCode.INVALID_ARGUMENT,
    UnknownNameError: grpc.StatusCode.NOT_FOUND,
    NotServedError: grpc.StatusCode.UNIMPLEMENTED,
    NotReadyError: grpc.StatusCode.FAILED_PRECONDITION,
    StoreUnavailableError: grpc.StatusCode.UNAVAILABLE,
    NotLoadedError: grpc.StatusCode.UNAVAILABLE,
    SchemaMissingError: grpc.StatusCode.DATA_LOSS,
    RecordError: grpc.StatusCode.DATA_LOSS,
    DeadlinePassedError: grpc.StatusCode.DEADLINE_EXCEEDED,
}
"""What a caller is told by code. An error that is not here is INTERNAL, and its text stays in the log."""


class ServingServicer:
    """The RPCs of `feast.serving.ServingService` and of `pedigree.serving.v1.FeatureService`. Replies are bytes already."""

    def __init__(self, plane: Plane) -> None:
        self.plane = plane

    async def get_online_features(self, request: GetOnlineFeaturesRequest, context: Any) -> bytes:
        """The feature vectors that `request` asks for."""
        return await answered(self.online_features(request, context), context)

    async def online_features(self, request: GetOnlineFeaturesRequest, context: Any) -> bytes:
        """What `get_online_features` answers, or the error it ends with."""
        current = self.plane.plans.current
        selection = self.plane.selection(current, request)
        return await self.plane.online_features(request, selection, current, remaining=context.time_remaining())

    async def get_vectors(self, request: GetVectorsRequest, context: Any) -> bytes:
        """The matrix that `request` asks for."""
        return await answered(self.vectors(request, context), context)

    async def vectors(self, request: GetVectorsRequest, context: Any) -> bytes:
        """What `get_vectors` answers, or the error it ends with."""
        current = self.plane.plans.current
        selection = current.selection(request.feature_service, request.features.names, full_names=True)
        return await self.plane.vectors(request, selection, current, remaining=context.time_remaining())

    async def get_feast_serving_info(self, _request: GetFeastServingInfoRequest, _context: Any) -> bytes:
        """The version of Feast that is spoken."""
        return self.plane.info()

    def handlers(self) -> tuple[Any, ...]:
        """The RPCs under the names that clients call."""
        feast = {
            "GetOnlineFeatures": (self.get_online_features, GetOnlineFeaturesRequest),
            "GetFeastServingInfo": (self.get_feast_serving_info, GetFeastServingInfoRequest),
        }
        own = {"GetVectors": (self.get_vectors, GetVectorsRequest)}
        return (handler_of(SERVICE, feast), handler_of(OWN_SERVICE, own))


def handler_of(service: str, methods: Mapping[str, tuple[Any, Any]]) -> Any:
    """A service's methods, each with the message it takes."""
    handlers = {
        name: grpc.unary_unary_rpc_method_handler(method, request_deserializer=message.FromString)
        for name, (method, message) in methods.items()
    }
    return grpc.method_handlers_generic_handler(service, handlers)


async def answered(work: Awaitable[T], context: Any) -> T:
    """The result of `work`; an error ends the call with its status."""
    try:
        return await work
    except Exception as error:
        await context.abort(*told(error))
        raise


def told(error: Exception) -> tuple[grpc.StatusCode, str]:
    """What a caller is told of an error: its code and its message, or, of an unknown one, only an id to find it in the log."""
    code = STATUS.get(type(error))
    if code is not None:
        return code, str(error)
    request_id = uuid4().hex
    log.error("request %s failed", request_id, exc_info=error)
    return (
        grpc.StatusCode.INTERNAL,
        f"Something went wrong inside the server. Its log knows it as request {request_id}.",
    )
