"""Where lineage is kept and sent: one frozen value, read once from `PEDIGREE_LINEAGE_…`."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Literal, cast
from urllib.parse import urlsplit, urlunsplit

from pydantic import SecretStr

from pedigree.lineage.errors import LineageSettingsError
from pedigree.lineage.loopback import is_loopback
from pedigree.lineage.redaction import shown

Insecurity = Literal["no-tls", "no-key"]
INSECURITIES: tuple[Insecurity, ...] = ("no-tls", "no-key")

MAX_EVENT_BYTES = 8 * 1024 * 1024
MAX_EVENT_MEMBERS = 100_000
LIMITS = {
    "PEDIGREE_LINEAGE_MAX_EVENT_BYTES": MAX_EVENT_BYTES,
    "PEDIGREE_LINEAGE_MAX_EVENT_MEMBERS": MAX_EVENT_MEMBERS,
}


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
    texts = {name: environ.get(f"PEDIGREE_LINEAGE_{name}", "").strip() for name in ("API_KEY", "TLS_CERT", "TLS_KEY")}
    address = environ.get("PEDIGREE_LINEAGE_URL", "http://127.0.0.1:15000")
    namespace = environ.get("PEDIGREE_LINEAGE_NAMESPACE", "pedigree")
    largest = {name: environ.get(name, str(default)) for name, default in LIMITS.items()}
    insecure = words(environ.get("PEDIGREE_LINEAGE_INSECURE", ""))
    problems = [
        *url_problems(address),
        *([] if namespace.strip() else ["PEDIGREE_LINEAGE_NAMESPACE is empty"]),
        *key_problems(texts["API_KEY"], has_user="@" in address),
        *tls_problems(texts["TLS_CERT"], texts["TLS_KEY"]),
        *insecure_problems(insecure),
        *limit_problems(largest),
    ]
    if problems:
        raise LineageSettingsError(problems)
    url, userinfo = parted(address)
    return LineageSettings(
        url=url,
        namespace=namespace,
        outbox=Path(environ.get("PEDIGREE_LINEAGE_OUTBOX", ".pedigree/outbox")).absolute(),
        database=SecretStr(environ.get("PEDIGREE_LINEAGE_DATABASE", "sqlite:///.pedigree/lineage.db")),
        api_key=SecretStr(texts["API_KEY"]) if texts["API_KEY"] else None,
        userinfo=userinfo,
        tls_cert=Path(texts["TLS_CERT"]) if texts["TLS_CERT"] else None,
        tls_key=Path(texts["TLS_KEY"]) if texts["TLS_KEY"] else None,
        insecure=cast(frozenset[Insecurity], insecure),
        max_event_bytes=int(largest["PEDIGREE_LINEAGE_MAX_EVENT_BYTES"]),
        max_event_members=int(largest["PEDIGREE_LINEAGE_MAX_EVENT_MEMBERS"]),
    )


def parted(address: str) -> tuple[str, SecretStr | None]:
    """A URL without user and password, and those."""
    parts = urlsplit(address.strip())
    userinfo, _, place = parts.netloc.rpartition("@")
    url = urlunsplit((parts.scheme, place, parts.path.rstrip("/"), "", ""))
    return url, SecretStr(userinfo) if userinfo else None


def words(text: str) -> frozenset[str]:
    """Words that stand between commas."""
    return frozenset(word.strip() for word in text.split(",") if word.strip())


def url_problems(url: str) -> list[str]:
    """What is wrong with the backend's address."""
    try:
        parts = urlsplit(url)
        usable = parts.scheme in {"http", "https"} and bool(parts.hostname) and parts.port != 0
        usable = usable and not parts.query and not parts.fragment and "@" not in parts.path
    except ValueError:
        usable = False
    return [] if usable else [f"PEDIGREE_LINEAGE_URL is {shown(url)!r}, but must be like http://127.0.0.1:15000"]


def key_problems(key: str, *, has_user: bool) -> list[str]:
    """What is wrong with the key; it is not repeated."""
    if not re.fullmatch(r"[!-~]*", key):
        return ["PEDIGREE_LINEAGE_API_KEY has a character in it that no header may hold; use letters, digits and signs"]
    if key and has_user:
        return [
            "PEDIGREE_LINEAGE_API_KEY and a user in PEDIGREE_LINEAGE_URL: a call can carry one of them; leave one out"
        ]
    return []


def tls_problems(cert: str, key: str) -> list[str]:
    """What is wrong with the files of TLS."""
    if bool(cert) is not bool(key):
        return ["PEDIGREE_LINEAGE_TLS_CERT and PEDIGREE_LINEAGE_TLS_KEY: set both of them or none"]
    return [
        f"there is no file {file}, which TLS was to be had of"
        for file in (cert, key)
        if file and not Path(file).is_file()
    ]


def insecure_problems(insecure: frozenset[str]) -> list[str]:
    """What is wrong with what a backend may do without."""
    unknown = sorted(insecure - set(INSECURITIES))
    return (
        [f"PEDIGREE_LINEAGE_INSECURE names {', '.join(unknown)}; there is {', '.join(INSECURITIES)}"] if unknown else []
    )


def limit_problems(largest: Mapping[str, str]) -> list[str]:
    """What is wrong with the limits."""
    return [
        f"{name} is {text!r}, but must be a whole number above 0"
        for name, text in largest.items()
        if not is_count(text)
    ]


def is_count(text: str) -> bool:
    """True for a whole number above 0."""
    return text.isascii() and text.isdigit() and 0 < len(text) <= 18 and int(text) > 0
