"""Where lineage is kept and sent: one frozen value, read once from `PEDIGREE_LINEAGE_…`."""

from __future__ import annotations

import os
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from urllib.parse import urlsplit

from lineage.errors import LineageSettingsError

MAX_EVENT_BYTES = 8 * 1024 * 1024
MAX_EVENT_MEMBERS = 100_000
LIMITS = {
    "PEDIGREE_LINEAGE_MAX_EVENT_BYTES": MAX_EVENT_BYTES,
    "PEDIGREE_LINEAGE_MAX_EVENT_MEMBERS": MAX_EVENT_MEMBERS,
}


@dataclass(frozen=True, slots=True)
class LineageSettings:
    """`url` of the backend, `namespace` of our jobs, `outbox` folder, SQLAlchemy `database` of the embedded backend.

    `max_event_bytes` and `max_event_members` (of all objects and lists together) are what the embedded backend takes.
    """

    url: str
    namespace: str
    outbox: Path
    database: str
    api_key: str | None
    max_event_bytes: int = MAX_EVENT_BYTES
    max_event_members: int = MAX_EVENT_MEMBERS

    @property
    def is_local(self) -> bool:
        """True if the backend is on this machine."""
        return self.host in {"127.0.0.1", "localhost", "::1"}

    @property
    def host(self) -> str:
        """The backend's host."""
        return urlsplit(self.url).hostname or "127.0.0.1"

    @property
    def port(self) -> int:
        """The backend's port."""
        parts = urlsplit(self.url)
        return parts.port or (443 if parts.scheme == "https" else 80)


@cache
def lineage_settings() -> LineageSettings:
    """Read `PEDIGREE_LINEAGE_URL`, `_NAMESPACE`, `_OUTBOX`, `_DATABASE`, `_API_KEY` and `_MAX_EVENT_BYTES`, `_MEMBERS`.

    Raises:
        LineageSettingsError: at least one cannot be used; the message names all of them.
    """
    url = os.environ.get("PEDIGREE_LINEAGE_URL", "http://127.0.0.1:15000").rstrip("/")
    namespace = os.environ.get("PEDIGREE_LINEAGE_NAMESPACE", "pedigree")
    largest = {name: os.environ.get(name, str(default)) for name, default in LIMITS.items()}
    problems = [*url_problems(url), *([] if namespace.strip() else ["PEDIGREE_LINEAGE_NAMESPACE is empty"])]
    problems += [
        f"{name} is {text!r}, but must be a whole number above 0"
        for name, text in largest.items()
        if not is_count(text)
    ]
    if problems:
        raise LineageSettingsError(problems)
    return LineageSettings(
        url=url,
        namespace=namespace,
        outbox=Path(os.environ.get("PEDIGREE_LINEAGE_OUTBOX", ".pedigree/outbox")).absolute(),
        database=os.environ.get("PEDIGREE_LINEAGE_DATABASE", "sqlite:///.pedigree/lineage.db"),
        api_key=os.environ.get("PEDIGREE_LINEAGE_API_KEY") or None,
        max_event_bytes=int(largest["PEDIGREE_LINEAGE_MAX_EVENT_BYTES"]),
        max_event_members=int(largest["PEDIGREE_LINEAGE_MAX_EVENT_MEMBERS"]),
    )


def url_problems(url: str) -> list[str]:
    """What is wrong with the backend's address."""
    try:
        parts = urlsplit(url)
        usable = parts.scheme in {"http", "https"} and bool(parts.hostname) and parts.port != 0
    except ValueError:
        usable = False
    return [] if usable else [f"PEDIGREE_LINEAGE_URL is {url!r}, but must be like http://127.0.0.1:15000"]


def is_count(text: str) -> bool:
    """True for a whole number above 0."""
    return text.isascii() and text.isdigit() and 0 < len(text) <= 18 and int(text) > 0
