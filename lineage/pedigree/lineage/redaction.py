"""Text without the passwords that may stand in it: the one place where addresses are made fit to be printed."""

from __future__ import annotations

import logging
import re
import sys
import threading
import traceback
from types import TracebackType
from urllib.parse import urlsplit

HIDDEN = "***"
NOT_SHOWN = "(not shown: a password may be in it)"
LONGEST = 200
"""Characters of a setting that a message repeats."""

USERINFO = re.compile(
    r"(?<!abfs://)(?<!abfss://)(?<!wasb://)(?<!wasbs://)(?<=://)(?![\w.-]*:\$\{\w+\}@)[^\s/?#'\"<>]*@"
)
"""What stands before the host of a URL. `user:${NAME}` only says where the password is, and Azure has a container there."""
NAMED = re.compile(
    r"(?i)((?:password|passwd|pwd|secret|api[_-]?key|access[_-]?key|token)[\w.-]{0,64})"
    r"(['\"]?\s*[=:]\s*b?['\"]?)(?!\$\{|SecretStr\()([^\s,;&<>]+)"
)
"""A value under a name that says what it is: `password=…`, `"api_key": "…"`. No part of a text is tried again and again."""
CREDENTIALS = re.compile(r"(?i)(\bbearer\s+|\bauthorization['\"]?\s*[:=]\s*b?['\"]?\w+\s+)(?!token)[\w.~+/=-]{4,}")
"""What a header says of who calls."""


def redacted(text: str) -> str:
    """A text in which nothing that looks like a password is left."""
    found = CREDENTIALS.sub(rf"\1{HIDDEN}", USERINFO.sub(f"{HIDDEN}@", text))
    return NAMED.sub(rf"\1\2{HIDDEN}", found)


def shown(address: str) -> str:
    """A URL as people may see it: scheme, host, port and path; nothing of what is no URL and may hold a password."""
    try:
        parts = urlsplit(address)
        host, port = parts.hostname, parts.port
    except ValueError:
        return NOT_SHOWN
    if parts.scheme and host:
        name = f"[{host}]" if ":" in host else host
        path = "/" + HIDDEN if "@" in parts.path else parts.path  # what looks like a path may be half of a password
        return f"{parts.scheme}://{name}{'' if port is None else f':{port}'}{path}"[:LONGEST]
    return NOT_SHOWN if "@" in address or "=" in address or "?" in address else address[:LONGEST]


class RedactingFormatter(logging.Formatter):
    """Lines of a log without passwords."""

    def format(self, record: logging.LogRecord) -> str:
        """The line."""
        return redacted(super().format(record))


def print_traceback(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    """Print an error that nobody caught as Python does, without passwords."""
    sys.stderr.write(redacted("".join(traceback.format_exception(kind, error, trace))))


def redact_tracebacks() -> None:
    """From now on errors that nobody catches are printed without passwords."""
    sys.excepthook = print_traceback
    threading.excepthook = lambda what: print_traceback(
        what.exc_type, what.exc_value or what.exc_type(), what.exc_traceback
    )
