"""How the text of a setting becomes its value. A parser raises ValueError with what is wrong and what would be right."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from math import isfinite
from pathlib import Path
from typing import TypeVar
from urllib.parse import urlsplit

from pydantic import SecretStr

from pedigree.lineage.loopback import is_loopback
from pedigree.lineage.redaction import shown

T = TypeVar("T")
W = TypeVar("W", bound=str)

ALGORITHMS = frozenset(f"{family}{bits}" for family in ("RS", "ES", "PS") for bits in (256, 384, 512)) | {"EdDSA"}
"""Signatures that a public key verifies. With a shared secret (HS…) whoever can verify a token can also make one."""


@dataclass(slots=True)
class Reading:
    """Settings that are being read, and everything that is wrong with them."""

    environ: Mapping[str, str]
    problems: list[str] = field(default_factory=list)

    def setting(self, name: str, parse: Callable[[str], T], *, otherwise: T) -> T:
        """The value of a setting, or `otherwise` where it is not set or cannot be used."""
        if name not in self.environ:
            return otherwise
        try:
            return parse(self.environ[name])
        except (ValueError, OverflowError) as error:
            self.problems.append(f"{name}={shown(self.environ[name])!r} {error}")
            return otherwise

    def together(self, names: tuple[str, ...]) -> bool:
        """Whether settings that need one another are set; some without the others are a problem."""
        missing = [name for name in names if not self.environ.get(name)]
        if missing and len(missing) < len(names):
            present = [name for name in names if name not in missing]
            self.problems.append(f"{', '.join(present)} without {', '.join(missing)}: set all of them or none")
        return not missing


def host_and_port(text: str) -> str:
    """`host:port`, as it came."""
    host, colon, port = text.rpartition(":")
    if not host or not colon or not port.isdecimal() or int(port) > 65535:
        raise ValueError("is not host:port, such as 127.0.0.1:15051")
    return text


def span(text: str) -> timedelta:
    """A positive number of seconds."""
    try:
        seconds = timedelta(seconds=float(text))
    except ValueError:
        seconds = timedelta(0)
    if seconds <= timedelta(0):
        raise ValueError("is not a positive number of seconds, such as 0.5")
    return seconds


def leeway(text: str) -> timedelta:
    """A number of seconds, zero among them, for which an expired token may still be taken; at most five minutes."""
    try:
        seconds = timedelta(seconds=float(text))
    except ValueError:
        seconds = timedelta(-1)
    if not timedelta(0) <= seconds <= timedelta(minutes=5):
        raise ValueError("is not a number of seconds between 0 and 300, such as 10")
    return seconds


def count(text: str) -> int:
    """A whole number above zero."""
    if not text.isdecimal() or int(text) == 0:
        raise ValueError("is not a whole number above zero, such as 1000")
    return int(text)


def rate(text: str) -> float:
    """A number above zero."""
    try:
        number = float(text)
    except ValueError:
        number = 0.0
    if not (number > 0 and isfinite(number)):
        raise ValueError("is not a number above zero, such as 100")
    return number


def instant(text: str) -> datetime:
    """An ISO 8601 instant that names its offset from UTC, in UTC."""
    try:
        at = datetime.fromisoformat(text)
    except ValueError:
        raise ValueError("is not an ISO 8601 instant, such as 2013-07-01T12:00:00+00:00") from None
    if at.tzinfo is None:
        raise ValueError(f"names no offset from UTC: write {text}+00:00 if UTC is meant")
    return at.astimezone(UTC)


def file(text: str) -> Path:
    """A file that is there."""
    path = Path(text)
    if not path.is_file():
        raise ValueError("is not a file that is there")
    return path


def algorithms(text: str) -> tuple[str, ...]:
    """Names of signature algorithms, by commas."""
    names = tuple(name.strip() for name in text.split(",") if name.strip())
    wrong = [name for name in names if name not in ALGORITHMS]
    if wrong or not names:
        raise ValueError(
            f"names {', '.join(wrong) or 'nothing'}: unsigned tokens and shared secrets are never taken; "
            "choose from RS, ES or PS with 256, 384 or 512, and EdDSA"
        )
    return names


def key_source(text: str) -> SecretStr:
    """A file that is there, or the URL of a key set that nobody on the way can exchange."""
    try:
        split = urlsplit(text)
    except ValueError:
        raise ValueError("is no URL that can be read") from None
    if split.scheme == "https" and split.hostname:
        return SecretStr(text)
    if split.scheme == "http":
        if not is_loopback(split.hostname or ""):
            raise ValueError(
                "would fetch keys without TLS, and whoever sits on the way could make tokens; use https://"
            )
        return SecretStr(text)
    return SecretStr(str(file(text)))


def words(*choices: W) -> Callable[[str], frozenset[W]]:
    """A parser of words between commas, of a few that there are."""

    def parse(text: str) -> frozenset[W]:
        found = {word.strip() for word in text.split(",") if word.strip()}
        if not found.issubset(choices):
            raise ValueError(f"names something that is none of {', '.join(choices)}")
        return frozenset(one for one in choices if one in found)

    return parse


def one_of(*choices: str) -> Callable[[str], str]:
    """A parser of one of a few words."""

    def parse(text: str) -> str:
        if text not in choices:
            raise ValueError(f"is none of {', '.join(choices)}")
        return text

    return parse
