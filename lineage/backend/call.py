"""A request as the handlers see it, and the application's ASGI layer that makes it so."""

from __future__ import annotations

import hmac
import json
import logging
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import unquote

import sqlalchemy as sa
from sqlalchemy.exc import OperationalError
from starlette.concurrency import run_in_threadpool
from starlette.datastructures import QueryParams
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.types import ASGIApp, Receive, Scope, Send

from lineage.backend.errors import STATUS, BadRequestError, NotAllowedError, TooLargeError
from lineage.errors import LineageError

LARGEST_BODY = 16 * 1024 * 1024

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Call:
    """The parts of a path that a route names, the query, and the body."""

    path: Mapping[str, str]
    query: QueryParams
    body: bytes

    def number(self, name: str, default: int) -> int:
        """A count of the query, zero or more."""
        text = self.query.get(name)
        if text is None or text == "":
            return default
        if not text.isascii() or not text.isdigit():
            raise BadRequestError(f"{name} must be a number >= 0, not {text!r}")
        return min(int(text), 2**31)

    def page(self) -> dict[str, int]:
        """The limit and offset of the query."""
        return {"limit": self.number("limit", 100), "offset": self.number("offset", 0)}

    def required(self, name: str) -> str:
        """A text that the query must hold."""
        text = self.query.get(name)
        if not text:
            raise BadRequestError(f"query param {name} must not be empty")
        return text

    def json(self) -> dict[str, Any]:
        """The body as an object."""
        try:
            found = json.loads(self.body or b"{}")
        except ValueError as error:
            raise BadRequestError(f"The body is not JSON: {error}") from error
        if not isinstance(found, dict):
            raise BadRequestError("The body is not a JSON object")
        return found


Handler = Callable[[sa.Connection, Call], Any]
"""Answers a call: JSON for status 200, or a whole response."""


class EncodedPaths:
    """Routes on the path as it was sent, so that a name may hold an encoded slash; the handlers get it decoded."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Route on the encoded path."""
        if scope["type"] == "http" and scope.get("raw_path"):
            scope = {**scope, "path": scope["raw_path"].split(b"?")[0].decode("latin-1")}
        await self._app(scope, receive, send)


def endpoint(
    engine: sa.Engine, handler: Handler, *, writes: bool, api_key: str | None
) -> Callable[[Request], Awaitable[Response]]:
    """A handler as a Starlette endpoint, in one transaction of its own."""
    transactions = engine.execution_options(writes=writes)

    def answer(call: Call) -> Response:
        """The handler's answer."""
        with transactions.begin() as connection:
            found = handler(connection, call)
        return found if isinstance(found, Response) else JSONResponse(found)

    async def door(request: Request) -> Response:
        """The handler's answer, or the refusal that its error maps to."""
        try:
            check_key(request, api_key)
            path = {name: unquote(value, errors="strict") for name, value in request.path_params.items()}
            return await run_in_threadpool(answer, Call(path, request.query_params, await read_body(request)))
        except UnicodeDecodeError:
            return refusal(400, "A name in the path is not UTF-8")
        except LineageError as error:
            return refusal(STATUS.get(type(error), 500), str(error))
        except OperationalError:
            log.exception("The database did not answer %s %s", request.method, request.url.path)
            return refusal(503, "The lineage database does not answer. Try again.")
        except Exception:  # the last door: what is unknown is logged here and not told outside
            log.exception("Could not answer %s %s", request.method, request.url.path)
            return refusal(500, "There was an error processing your request. It has been logged.")

    return door


async def read_body(request: Request) -> bytes:
    """The body, if it is not too large."""
    body = b""
    async for chunk in request.stream():
        body += chunk
        if len(body) > LARGEST_BODY:
            raise TooLargeError(f"A body may hold {LARGEST_BODY} bytes. Nothing was stored.")
    return body


def check_key(request: Request, api_key: str | None) -> None:
    """Raises NotAllowedError unless the request carries the key, if one is set."""
    sent = request.headers.get("Authorization", "")
    if api_key is not None and not hmac.compare_digest(sent.encode(), f"Bearer {api_key}".encode()):
        raise NotAllowedError()


def refusal(status: int, message: str) -> Response:
    """An error in Marquez's shape."""
    return JSONResponse({"code": status, "message": message}, status_code=status)
