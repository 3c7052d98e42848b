"""Sends one event to the backend and says what the answer means for it."""

from __future__ import annotations

from dataclasses import dataclass
from types import TracebackType
from typing import Literal, Self

import httpx

from pedigree.lineage.client.http_client import CONNECT_SECONDS, READ_SECONDS, open_http
from pedigree.lineage.settings import LineageSettings

PATH = "/api/v1/lineage"
NOT_THE_EVENTS_FAULT = frozenset({401, 403, 404, 405, 407, 408, 425, 429})
"""Refusals that a right key, a right address or a little time would turn into a delivery."""
OUT_OF_REACH = (
    httpx.ConnectError,
    httpx.ConnectTimeout,
    httpx.PoolTimeout,
    httpx.ProxyError,
    httpx.UnsupportedProtocol,
)
DROPPED = (httpx.ReadError, httpx.WriteError, httpx.RemoteProtocolError)
"""How a connection ends that the backend has closed, be it for its age or because of the event."""


@dataclass(frozen=True, slots=True)
class Delivery:
    """What the backend made of one event.

    It is `delivered`; it is `rejected` for good; the backend is `unavailable` for this and every other event; or it has
    `failed` on this event, which may be the event's fault or its own.
    """

    kind: Literal["delivered", "rejected", "unavailable", "failed"]
    reason: str = ""


def verdict(answer: httpx.Response) -> Delivery:
    """What an answer of the backend means for the event that was sent."""
    if answer.is_success:
        return Delivery("delivered")
    reason = f"{answer.request.url} answered {answer.status_code}: {answer.text[:2000]}".strip()
    if answer.is_server_error:
        return Delivery("failed", reason)
    if answer.is_client_error and answer.status_code not in NOT_THE_EVENTS_FAULT:
        return Delivery("rejected", reason)
    return Delivery("unavailable", reason)


class HttpSender:
    """One connection to the backend, over which events are sent."""

    def __init__(self, settings: LineageSettings) -> None:
        self._http = open_http(settings)

    def post(self, body: bytes, *, seconds: float) -> Delivery:
        """Send one event, within `seconds`."""
        timeout = httpx.Timeout(min(READ_SECONDS, seconds), connect=min(CONNECT_SECONDS, seconds))
        try:
            return verdict(self._send(body, timeout))
        except OUT_OF_REACH as error:
            return Delivery("unavailable", f"{self._http.base_url} cannot be reached ({type(error).__name__}: {error})")
        except httpx.HTTPError as error:
            reason = f"{self._http.base_url} gave no answer ({type(error).__name__}: {error})"
            hurried = isinstance(error, httpx.TimeoutException) and seconds < READ_SECONDS
            return Delivery("unavailable" if hurried else "failed", reason)

    def _send(self, body: bytes, timeout: httpx.Timeout) -> httpx.Response:
        headers = {"Content-Type": "application/json"}
        try:
            return self._http.post(PATH, content=body, headers=headers, timeout=timeout)
        except DROPPED:  # a connection that had waited too long; sent twice, an event is stored once
            return self._http.post(PATH, content=body, headers=headers, timeout=timeout)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._http.close()
