"""What a caller is told of an error: its code, its message, and what goes with it."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from uuid import uuid4

import grpc

from pedigree.online.errors import (
    DamagedError,
    DamagedRecordError,
    NewerFormatError,
    RecordError,
    SchemaMissingError,
)
from pedigree.serving.errors import (
    DeadlinePassedError,
    EvictedRowError,
    InvalidRequestError,
    LineageAwayError,
    NotComputedError,
    NotReadyError,
    NotServedError,
    StoreUnavailableError,
    UnknownNameError,
    ViewNotLoadedError,
)
from pedigree.serving.refusals import (
    CrowdedError,
    DeniedError,
    ExhaustedError,
    KeysUnavailableError,
    LargeReplyError,
    StoppingError,
    TooFastError,
    UnauthenticatedError,
)

log = logging.getLogger(__name__)

STATUS: Mapping[type[Exception], grpc.StatusCode] = {
    InvalidRequestError: grpc.StatusCode.INVALID_ARGUMENT,
    UnknownNameError: grpc.StatusCode.NOT_FOUND,
    NotServedError: grpc.StatusCode.UNIMPLEMENTED,
    NotComputedError: grpc.StatusCode.FAILED_PRECONDITION,
    NotReadyError: grpc.StatusCode.FAILED_PRECONDITION,
    StoreUnavailableError: grpc.StatusCode.UNAVAILABLE,
    ViewNotLoadedError: grpc.StatusCode.UNAVAILABLE,
    EvictedRowError: grpc.StatusCode.UNAVAILABLE,
    LineageAwayError: grpc.StatusCode.UNAVAILABLE,
    SchemaMissingError: grpc.StatusCode.DATA_LOSS,
    RecordError: grpc.StatusCode.DATA_LOSS,
    DamagedRecordError: grpc.StatusCode.DATA_LOSS,
    DamagedError: grpc.StatusCode.DATA_LOSS,
    NewerFormatError: grpc.StatusCode.UNAVAILABLE,
    DeadlinePassedError: grpc.StatusCode.DEADLINE_EXCEEDED,
    UnauthenticatedError: grpc.StatusCode.UNAUTHENTICATED,
    KeysUnavailableError: grpc.StatusCode.UNAVAILABLE,
    StoppingError: grpc.StatusCode.UNAVAILABLE,
    DeniedError: grpc.StatusCode.PERMISSION_DENIED,
    CrowdedError: grpc.StatusCode.RESOURCE_EXHAUSTED,
    TooFastError: grpc.StatusCode.RESOURCE_EXHAUSTED,
    LargeReplyError: grpc.StatusCode.RESOURCE_EXHAUSTED,
}
"""What a caller is told by code. An error that is not here is INTERNAL, and its text stays in the log."""

REFUSED: Mapping[type[Exception], str] = {
    UnauthenticatedError: "token",
    KeysUnavailableError: "keys",
    StoppingError: "stopping",
    DeniedError: "permission",
    CrowdedError: "concurrency",
    TooFastError: "rate",
}
"""What metrics call the reason why somebody was not answered."""


LONGEST_MESSAGE = 1024
"""Bytes of what a caller is told of an error, whatever a request or a registry holds: gRPC clients take 8 KiB of trailing
metadata, in which each byte may take three.
"""
GAP = " ... "


def status_of(error: Exception, request_id: str | None = None) -> tuple[grpc.StatusCode, str]:
    """What a caller is told of an error: its code and its message, or, of an unknown one, only an id to find it in the log."""
    code = STATUS.get(type(error))
    if code is not None:
        return code, clipped(str(error))
    request_id = request_id or uuid4().hex
    log.error("request %s failed", request_id, exc_info=error)
    return (
        grpc.StatusCode.INTERNAL,
        f"Something went wrong inside the server. Its log knows it as request {request_id}.",
    )


def clipped(text: str) -> str:
    """A text with its middle left out where it is too long: what is wrong stands at its start, what to do at its end."""
    written = text.encode(errors="replace")
    if len(written) <= LONGEST_MESSAGE:
        return text
    half = (LONGEST_MESSAGE - len(GAP)) // 2
    return written[:half].decode(errors="ignore") + GAP + written[-half:].decode(errors="ignore")


def code_of(error: Exception) -> grpc.StatusCode:
    """The code that a caller is told."""
    return STATUS.get(type(error), grpc.StatusCode.INTERNAL)


def with_retry(error: Exception) -> tuple[tuple[str, str], ...]:
    """When to come again, where an error says so, as trailing metadata."""
    return (("retry-after-ms", str(error.retry_after_ms)),) if isinstance(error, ExhaustedError) else ()
