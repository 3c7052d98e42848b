"""The real backend behind a door that fails on some events, as a faulty proxy or an older release does."""

from __future__ import annotations

from typing import Literal

from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

Fault = Literal["500", "503", "dropped"]


class Flawed:
    """Fails on every event whose body holds `mark` (all of them for an empty mark) while `fault` is set."""

    def __init__(self) -> None:
        self.app: ASGIApp
        self.mark = b""
        self.fault: Fault | None = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["method"] != "POST" or self.fault is None:
            await self.app(scope, receive, send)
            return
        body, more = b"", True
        while more:
            message = await receive()
            body, more = body + message.get("body", b""), message.get("more_body", False)
        if self.mark in body:
            await self._fail(scope, receive, send)
            return

        async def again() -> Message:
            """The body that was read, once more."""
            return {"type": "http.request", "body": body, "more_body": False}

        await self.app(scope, again, send)

    async def _fail(self, scope: Scope, receive: Receive, send: Send) -> None:
        if self.fault == "dropped":
            await send({"type": "http.response.start", "status": 201, "headers": [(b"content-length", b"9")]})
            await send({"type": "http.response.body", "body": b"half", "more_body": False})
            return
        await PlainTextResponse("out of order", status_code=int(self.fault or 0))(scope, receive, send)
