"""The door: `feast.serving.ServingService` as gRPC handlers. An RPC converts, calls, converts."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Mapping
from typing import Any, TypeVar
from uuid import uuid4

import grpc

from serving.errors import (
    DeadlinePassedError,
    InvalidRequestError,
    NotReadyError,
    NotServedError,
    StoreUnavailableError,
    UnknownNameError,
)
from serving.plane import Plane
from serving.v1.serving_pb2 import (
    GetFeastServingInfoRequest,
    GetFeastServingInfoResponse,
    GetOnlineFeaturesRequest,
    GetOnlineFeaturesResponse,
)

log = logging.getLogger(__name__)

T = TypeVar("T")

SERVICE = "feast.serving.ServingService"
"""The name that stock Feast clients call. Our messages live in another package, so the path is registered by name."""

STATUS: Mapping[type[Exception], grpc.StatusCode] = {
    InvalidRequestError: grpc.StatusCode.INVALID_ARGUMENT,
    UnknownNameError: grpc.StatusCode.NOT_FOUND,
    NotServedError: grpc.StatusCode.UNIMPLEMENTED,
    NotReadyError: grpc.StatusCode.FAILED_PRECONDITION,
    StoreUnavailableError: grpc.StatusCode.UNAVAILABLE,
    DeadlinePassedError: grpc.StatusCode.DEADLINE_EXCEEDED,
}
"""What a caller is told by code. An error that is not here is INTERNAL, and its text stays in the log."""


class ServingServicer:
    """The RPCs of `feast.serving.ServingService`."""

    def __init__(self, plane: Plane) -> None:
        self.plane = plane

    async def get_online_features(self, request: GetOnlineFeaturesRequest, context: Any) -> GetOnlineFeaturesResponse:
        """The feature vectors that `request` asks for."""
        work = self.plane.online_features(request, remaining=context.time_remaining())
        return await answered(work, context)

    async def get_feast_serving_info(
        self, _request: GetFeastServingInfoRequest, _context: Any
    ) -> GetFeastServingInfoResponse:
        """The version of Feast that is spoken."""
        return self.plane.info()

    def handlers(self) -> Any:
        """The RPCs under the names that stock clients call."""
        methods = {
            "GetOnlineFeatures": grpc.unary_unary_rpc_method_handler(
                self.get_online_features,
                request_deserializer=GetOnlineFeaturesRequest.FromString,
                response_serializer=GetOnlineFeaturesResponse.SerializeToString,
            ),
            "GetFeastServingInfo": grpc.unary_unary_rpc_method_handler(
                self.get_feast_serving_info,
                request_deserializer=GetFeastServingInfoRequest.FromString,
                response_serializer=GetFeastServingInfoResponse.SerializeToString,
            ),
        }
        return grpc.method_handlers_generic_handler(SERVICE, methods)


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
