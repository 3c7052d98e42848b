"""A request as the handlers see it, and the application's ASGI layer that makes it so."""

from __future__ import annotations

import asyncio
import hmac
import logging
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any
from urllib.parse import unquote

import sqlalchemy as sa
from anyio.to_thread import run_sync
from starlette.datastructures import QueryParams
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.types import ASGIApp, Receive, Scope, Send

from pedigree.lineage import strict_json
from pedigree.lineage.backend.errors import (
    STATUS,
    BadRequestError,
    NotAllowedError,
    TooLargeError,
    database_refusal,
)
from pedigree.lineage.backend.names import MAX_NAME_BYTES, is_too_long
from pedigree.lineage.errors import LineageError
from pedigree.lineage.settings import MAX_EVENT_BYTES, MAX_EVENT_MEMBERS

MAX_QUERY_CHARACTERS = 8 * MAX_NAME_BYTES
DRAINED_BODIES = 8
LARGEST_NUMBER = 2**31

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Limits:
    """How large a body may be: its bytes, and the members of its objects and lists."""

    body_bytes: int = MAX_EVENT_BYTES
    members: int = MAX_EVENT_MEMBERS


@dataclass(frozen=True, slots=True)
class Call:
    """The parts of a path that a route names, the query, the body, and for a call that writes the document in it."""

    path: Mapping[str, str]
    query: QueryParams
    body: bytes
    document: Any = None

    def parsed(self, limits: Limits) -> Call:
        """This call with its document."""
        if not self.body:
            return self
        try:
            return replace(self, document=strict_json.parse(self.body, max_members=limits.members))
        except strict_json.NotStrictJsonError as error:
            raise BadRequestError(f"The body is not JSON that can be kept: {error}. Nothing was stored.") from error
        except strict_json.TooManyMembersError as error:
            raise TooLargeError(
                f"{error}, and more are not taken. Nothing was stored. Send it in parts, or raise the backend's "
                "PEDIGREE_LINEAGE_MAX_EVENT_MEMBERS."
            ) from error

    def number(self, name: str, default: int) -> int:
        """A count of the query, zero or more."""
        text = self.query.get(name)
        if text is None or text == "":
            return default
        if not text.isascii() or not text.isdigit():
            raise BadRequestError(f"{name} must be a number >= 0, not {text[:40]!r}")
        return min(int(text), LARGEST_NUMBER) if len(text) <= 20 else LARGEST_NUMBER

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
        found = {} if self.document is None else self.document
        if not isinstance(found, dict):
            raise BadRequestError("The body is not a JSON object")
        return found

    def described(self) -> str | None:
        """The description that the body gives, if it gives one."""
        found = self.json().get("description")
        if found is not None and not isinstance(found, str):
            raise BadRequestError("description must be a text")
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
    engine: sa.Engine,
    handler: Handler,
    *,
    api_key: str | None,
    limits: Limits,
    turn: asyncio.Lock | None = None,
) -> Callable[[Request], Awaitable[Response]]:
    """A handler as a Starlette endpoint, in one transaction of its own; with a `turn` it writes, one call at a time.

    Calls that wait for their turn hold neither a thread nor a connection, so that readers are answered meanwhile.
    """
    transactions = engine.execution_options(writes=turn is not None)

    def answer(call: Call) -> Response:
        """The handler's answer."""
        call = call if turn is None else call.parsed(limits)
        with transactions.begin() as connection:
            found = handler(connection, call)
        return found if isinstance(found, Response) else rendered(found)

    async def take_turn(call: Call) -> Response:
        """The handler's answer, in its turn. The thread is left behind where the server ends: nothing is half stored."""
        if turn is None:
            return await run_sync(answer, call, abandon_on_cancel=True)
        async with turn:
            return await run_sync(answer, call, abandon_on_cancel=True)

    async def door(request: Request) -> Response:
        """The handler's answer, or the refusal that its error maps to."""
        try:
            check_key(request, api_key)
            check_texts(request, writes=turn is not None)
            path = {name: unquote(value, errors="strict") for name, value in request.path_params.items()}
            return await take_turn(Call(path, request.query_params, await read_body(request, limits)))
        except asyncio.CancelledError:  # the server has been told to stop and ends with this answer
            return refusal(503, "The lineage backend is stopping and could not finish this. Send it again.")
        except Exception as error:
            return refusal_of(error, request)

    return door


def rendered(found: Any) -> Response:
    """An answer as JSON. What an earlier release stored and JSON does not have is written as `strict_json.plain` says."""
    try:
        return JSONResponse(found)
    except (ValueError, RecursionError):
        return JSONResponse(strict_json.plain(found))


def refusal_of(error: Exception, request: Request) -> Response:
    """What an error means for who called. What is unknown is logged here and not told outside."""
    if isinstance(error, UnicodeDecodeError) and error.encoding == "utf-8":
        error = BadRequestError("A name in the path is not UTF-8")
    known = error if isinstance(error, LineageError) else database_refusal(error)
    if known is None:
        log.exception("Could not answer %s %s", request.method, request.url.path)
        return refusal(500, "There was an error processing your request. It has been logged.")
    status = STATUS.get(type(known), 500)
    if known is not error or status >= 500:
        log.error("%s %s is answered with %d", request.method, request.url.path[:200], status, exc_info=error)
    return refusal(status, str(known))


def check_texts(request: Request, *, writes: bool) -> None:
    """Raises BadRequestError for a path or a query with what no database keeps, or longer than any name."""
    names = [unquote(value, errors="strict") for value in request.path_params.values()]
    given = [*names, *(text for pair in request.query_params.multi_items() for text in pair)]
    if any(strict_json.UNSTORABLE.search(text) for text in given):
        raise BadRequestError("The path or the query holds NUL or half of a surrogate pair, which no name here has")
    if any(len(text) > MAX_QUERY_CHARACTERS for text in given):
        raise BadRequestError(f"The path or the query holds a text of more than {MAX_QUERY_CHARACTERS:,} characters")
    if writes and any(is_too_long(name) for name in names):
        raise BadRequestError(f"A name may have {MAX_NAME_BYTES:,} bytes. Nothing was stored.")


async def read_body(request: Request, limits: Limits) -> bytes:
    """The body, if it is not too large. A somewhat larger one is read to its end, so that the sender reads the refusal."""
    body, size = bytearray(), 0
    async for chunk in request.stream():
        size += len(chunk)
        if size <= limits.body_bytes:
            body += chunk
        elif size > DRAINED_BODIES * limits.body_bytes:
            break
    if size > limits.body_bytes:
        raise TooLargeError(
            f"A body may have {limits.body_bytes:,} bytes. Nothing was stored. Send it in parts, or raise the backend's "
            "PEDIGREE_LINEAGE_MAX_EVENT_BYTES."
        )
    return bytes(body)


def check_key(request: Request, api_key: str | None) -> None:
    """Raises NotAllowedError unless the request carries the key, if one is set."""
    sent = request.headers.get("Authorization", "")
    if api_key is not None and not hmac.compare_digest(sent.encode(), f"Bearer {api_key}".encode()):
        raise NotAllowedError()


def refusal(status: int, message: str) -> Response:
    """An error in Marquez's shape."""
    return JSONResponse({"code": status, "message": message}, status_code=status)
