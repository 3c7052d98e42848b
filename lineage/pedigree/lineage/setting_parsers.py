"""How the text of a setting becomes its value, for every package that reads settings from the environment.

A parser raises ValueError with what is wrong and what would be right. `Reading` collects the problems of all settings, so that
they are reported together, and without the secrets that a value may hold.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from math import isfinite
from pathlib import Path
from typing import TypeVar

from pedigree.lineage.redaction import shown

T = TypeVar("T")
W = TypeVar("W", bound=str)

MOST_DIGITS = 18
"""Digits of the largest whole number that a setting may have."""


@dataclass(slots=True)
class Reading:
    """Reads settings, and collects everything that is wrong with them."""

    environ: Mapping[str, str]
    problems: list[str] = field(default_factory=list)

    def setting(self, name: str, parse: Callable[[str], T], *, otherwise: T, is_secret: bool = False) -> T:
        """The value of a setting, or `otherwise` if it is not set or cannot be used.

        Args:
            is_secret: whether a problem must not repeat the value.
        """
        if name not in self.environ:
            return otherwise
        try:
            return parse(self.environ[name])
        except (ValueError, OverflowError) as error:
            value = "" if is_secret else f"={shown(self.environ[name])!r}"
            self.problems.append(f"{name}{value} {error}")
            return otherwise

    def together(self, names: tuple[str, ...]) -> bool:
        """True if settings that need one another are all set. Some without the others are a problem."""
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


def count(text: str) -> int:
    """A whole number above zero."""
    if not (text.isascii() and text.isdecimal()) or len(text) > MOST_DIGITS or int(text) == 0:
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


def words(*choices: W) -> Callable[[str], frozenset[W]]:
    """A parser of comma-separated words out of `choices`."""

    def parse(text: str) -> frozenset[W]:
        named = {word.strip() for word in text.split(",") if word.strip()}
        if not named.issubset(choices):
            raise ValueError(f"names something that is none of {', '.join(choices)}")
        return frozenset(choice for choice in choices if choice in named)

    return parse


def one_of(*choices: str) -> Callable[[str], str]:
    """A parser of one word out of `choices`."""

    def parse(text: str) -> str:
        if text not in choices:
            raise ValueError(f"is none of {', '.join(choices)}")
        return text

    return parse
