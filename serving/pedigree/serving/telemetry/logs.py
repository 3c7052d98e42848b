"""The log: one JSON object a line, with the id of the request that it is about."""

from __future__ import annotations

import json
import logging
import os
import re
import sys
from asyncio import CancelledError
from collections.abc import Iterable
from contextvars import ContextVar
from datetime import UTC, datetime
from itertools import count

from pedigree.lineage.redaction import RedactingFormatter, redact_tracebacks, redacted
from pedigree.serving.telemetry.log_queue import LogQueue

REQUEST_ID: ContextVar[str] = ContextVar("request_id", default="")
"""The id of the request that is being answered."""
CALLER: ContextVar[str] = ContextVar("caller", default="")
"""Who a verified token says is asking: `subject:` and its subject; empty where there is no token."""

SANE = re.compile(r"[A-Za-z0-9._:-]{1,64}")
LONGEST = 1 << 14
"""Characters of a message, and of an error, in one line."""
START = os.urandom(6).hex()
NUMBERS = count()
"""An id of ours is the process's own random start and a number: as good as a random one, and made in no time."""


def id_of(metadata: Iterable[tuple[str, str | bytes]]) -> str:
    """The id that a caller gave its request, where it is one that a log can hold; else a new one."""
    for name, value in metadata:
        if name == "x-request-id" and isinstance(value, str) and SANE.fullmatch(value):
            return value
    return f"{START}-{next(NUMBERS):x}"


class JsonLines(logging.Formatter):
    """A record as one line of JSON, whatever somebody wrote into it."""

    def format(self, record: logging.LogRecord) -> str:
        """The line."""
        line: dict[str, object] = {
            "at": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname,
            "logger": record.name,
            "message": redacted(record.getMessage()[: 2 * LONGEST])[:LONGEST],
            "process": record.process,
        }
        request_id = REQUEST_ID.get()
        if request_id:
            line["request_id"] = request_id
        if record.exc_info:
            line["error"] = redacted(self.formatException(record.exc_info)[-2 * LONGEST :])[-LONGEST:]
        return json.dumps(line, ensure_ascii=False)


class Text(RedactingFormatter):
    """A record as text, of which no more than a line of JSON would hold is kept."""

    def format(self, record: logging.LogRecord) -> str:
        """The text."""
        return super().format(record)[:LONGEST]


class Uncancelled(logging.Filter):
    """All but calls that were given up before they began: nobody waits for them, and gRPC logs each as an error."""

    def filter(self, record: logging.LogRecord) -> bool:
        """Whether a record is logged."""
        return not (record.exc_info and isinstance(record.exc_info[1], CancelledError))


def configure(log_format: str) -> None:
    """Log to stderr, as `json` or as `text`; what is printed of an error that nobody caught has no passwords either."""
    redact_tracebacks()
    handler = LogQueue(sys.stderr.fileno())
    text = Text("%(asctime)s %(levelname)s %(name)s: %(message)s")
    handler.setFormatter(JsonLines() if log_format == "json" else text)
    logging.basicConfig(level=logging.INFO, handlers=[handler])
    logging.getLogger("httpx").setLevel(logging.WARNING)
    logging.getLogger("grpc._cython.cygrpc").addFilter(Uncancelled())
