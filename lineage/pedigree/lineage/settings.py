"""Where lineage is kept and sent: one frozen value, read once from `PEDIGREE_LINEAGE_…`."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Literal
from urllib.parse import urlsplit, urlunsplit

from pydantic import SecretStr

from pedigree.lineage.errors import LineageSettingsError
from pedigree.lineage.loopback import is_loopback
from pedigree.lineage.setting_parsers import Reading, count, file, words

Insecurity = Literal["no-tls", "no-key"]
INSECURITIES: tuple[Insecurity, ...] = ("no-tls", "no-key")

DEFAULT_URL = "http://127.0.0.1:15000"
MAX_EVENT_BYTES = 8 * 1024 * 1024
MAX_EVENT_MEMBERS = 100_000
MAY_BE_EMPTY = frozenset(f"PEDIGREE_LINEAGE_{name}" for name in ("API_KEY", "TLS_CERT", "TLS_KEY", "INSECURE"))
"""Settings that count as not set where they are empty."""


@dataclass(frozen=True, slots=True)
class LineageSettings:
    """Everything that lineage can be told. No text of it shows a secret.

    Attributes:
        url: the backend's, without user and password.
        namespace: of our jobs.
        outbox: the folder where events wait.
        database: the SQLAlchemy URL of the embedded backend's database.
        api_key: what every call to the backend carries as a bearer token.
        userinfo: `user:password` that every call carries instead, as the URL had it.
        tls_cert, tls_key: the files of an embedded backend that speaks TLS.
        insecure: what an embedded backend that is reached from other machines may do without.
        max_event_bytes, max_event_members: the largest event that the embedded backend takes; members are those of all objects
            and lists together.
    """

    url: str
    namespace: str
    outbox: Path
    database: SecretStr
    api_key: SecretStr | None
    userinfo: SecretStr | None = None
    tls_cert: Path | None = None
    tls_key: Path | None = None
    insecure: frozenset[Insecurity] = frozenset()
    max_event_bytes: int = MAX_EVENT_BYTES
    max_event_members: int = MAX_EVENT_MEMBERS

    @property
    def is_local(self) -> bool:
        """True if the backend is on this machine."""
        return is_loopback(self.host)

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
    """The settings of this process, read once.

    Raises:
        LineageSettingsError: at least one cannot be used; the message names all of them.
    """
    return read_settings(os.environ)


def read_settings(environ: Mapping[str, str]) -> LineageSettings:
    """Read `PEDIGREE_LINEAGE_URL`, `_NAMESPACE`, `_OUTBOX`, `_DATABASE`, `_API_KEY`, `_TLS_CERT`, `_TLS_KEY`,
    `_INSECURE`, `_MAX_EVENT_BYTES` and `_MAX_EVENT_MEMBERS`.

    Raises:
        LineageSettingsError: at least one cannot be used; the message names all of them.
    """
    reading = Reading({name: text for name, text in environ.items() if text.strip() or name not in MAY_BE_EMPTY})
    setting = reading.setting
    url, userinfo = setting("PEDIGREE_LINEAGE_URL", backend_url, otherwise=parted(DEFAULT_URL))
    settings = LineageSettings(
        url=url,
        namespace=setting("PEDIGREE_LINEAGE_NAMESPACE", not_empty, otherwise="pedigree"),
        outbox=setting("PEDIGREE_LINEAGE_OUTBOX", Path, otherwise=Path(".pedigree/outbox")).absolute(),
        database=setting("PEDIGREE_LINEAGE_DATABASE", SecretStr, otherwise=SecretStr("sqlite:///.pedigree/lineage.db")),
        api_key=setting("PEDIGREE_LINEAGE_API_KEY", header_key, otherwise=None, is_secret=True),
        userinfo=userinfo,
        tls_cert=setting("PEDIGREE_LINEAGE_TLS_CERT", file, otherwise=None),
        tls_key=setting("PEDIGREE_LINEAGE_TLS_KEY", file, otherwise=None),
        insecure=setting("PEDIGREE_LINEAGE_INSECURE", words(*INSECURITIES), otherwise=frozenset()),
        max_event_bytes=setting("PEDIGREE_LINEAGE_MAX_EVENT_BYTES", count, otherwise=MAX_EVENT_BYTES),
        max_event_members=setting("PEDIGREE_LINEAGE_MAX_EVENT_MEMBERS", count, otherwise=MAX_EVENT_MEMBERS),
    )
    reading.together(("PEDIGREE_LINEAGE_TLS_CERT", "PEDIGREE_LINEAGE_TLS_KEY"))
    if settings.api_key and userinfo:
        reading.problems.append(
            "PEDIGREE_LINEAGE_API_KEY and a user in PEDIGREE_LINEAGE_URL: a call can carry one of them; leave one out"
        )
    if reading.problems:
        raise LineageSettingsError(reading.problems)
    return settings


def backend_url(text: str) -> tuple[str, SecretStr | None]:
    """The backend's URL without user and password, and those."""
    try:
        parts = urlsplit(text)
        usable = parts.scheme in {"http", "https"} and bool(parts.hostname) and parts.port != 0
        usable = usable and not parts.query and not parts.fragment and "@" not in parts.path
    except ValueError:
        usable = False
    if not usable:
        raise ValueError("is not the address of a lineage backend, such as http://127.0.0.1:15000")
    return parted(text)


def parted(address: str) -> tuple[str, SecretStr | None]:
    """A URL without user and password, and those."""
    parts = urlsplit(address.strip())
    userinfo, _, place = parts.netloc.rpartition("@")
    url = urlunsplit((parts.scheme, place, parts.path.rstrip("/"), "", ""))
    return url, SecretStr(userinfo) if userinfo else None


def not_empty(text: str) -> str:
    """A text that is not blank."""
    if not text.strip():
        raise ValueError("is empty")
    return text


def header_key(text: str) -> SecretStr:
    """A key that an HTTP header can carry."""
    key = text.strip()
    if not re.fullmatch(r"[!-~]*", key):
        raise ValueError("has a character in it that no header may hold; use letters, digits and signs")
    return SecretStr(key)
