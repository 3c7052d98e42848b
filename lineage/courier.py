"""Sends one event to the backend and says what the answer means for it."""

from __future__ import annotations

from dataclasses import dataclass
from types import TracebackType
from typing import Literal, Self

import httpx

from lineage.settings import LineageSettings
from lineage.transport import CONNECT_SECONDS, READ_SECONDS, open_http

PATH = "/api/v1/lineage"
NOT_THE_EVENTS_FAULT = frozenset({401, 403, 404, 405, 408, 425, 429})
"""Refusals that a right key, a right address or a little time would turn into a delivery."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """What the backend made of one event: it has it, it may have it later, or it never will."""

    kind: Literal["delivered", "waiting", "rejected"]
    reason: str = ""


def verdict(answer: httpx.Response) -> Verdict:
    """What an answer of the backend means for the event that was sent."""
    if answer.is_success:
        return Verdict("delivered")
    reason = f"{answer.request.url} answered {answer.status_code}: {answer.text[:2000]}".strip()
    if answer.is_client_error and answer.status_code not in NOT_THE_EVENTS_FAULT:
        return Verdict("rejected", reason)
    return Verdict("waiting", reason)


class Courier:
    """One connection to the backend, over which events are sent."""

    def __init__(self, settings: LineageSettings) -> None:
        self._http = open_http(settings)

    def post(self, body: bytes, *, seconds: float) -> Verdict:
        """Send one event, within `seconds`; a backend that cannot be reached lets it wait."""
        timeout = httpx.Timeout(min(READ_SECONDS, seconds), connect=min(CONNECT_SECONDS, seconds))
        try:
            headers = {"Content-Type": "application/json"}
            return verdict(self._http.post(PATH, content=body, headers=headers, timeout=timeout))
        except httpx.HTTPError as error:
            return Verdict("waiting", f"{self._http.base_url} cannot be reached ({type(error).__name__}: {error})")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._http.close()
