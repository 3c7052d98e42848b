"""Where the server listens and how long it waits: one frozen value, read once from `PEDIGREE_…`."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import cache
from pathlib import Path
from typing import TypeVar

from serving.errors import SettingsError

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class ServingSettings:
    """Everything the server can be told.

    Attributes:
        address: `host:port` to listen on; port 0 takes any free one.
        workers: how many processes serve; by default one per core.
        feature_store_yaml: the Feast repository to serve.
        store_timeout: the longest that one request waits for the online store.
        deadline: the time a request has that brings no deadline of its own.
        drain: the time that requests in flight have to finish once the server was told to stop.
        max_entities: the most entity rows of one request.
        max_values: the most values of one request: rows times features.
        plan_file: where the last good plan is kept, so that a server starts while its store is away.
        plan_every: how often a new plan is looked for.
        clock_at: the instant that stands for "now" when a value's age is judged; None is the real clock.
    """

    address: str = "127.0.0.1:15051"
    workers: int = field(default_factory=lambda: os.cpu_count() or 1)
    feature_store_yaml: Path = Path("feature_repo/feature_store.yaml")
    store_timeout: timedelta = timedelta(seconds=0.5)
    deadline: timedelta = timedelta(seconds=5)
    drain: timedelta = timedelta(seconds=10)
    max_entities: int = 1000
    max_values: int = 200_000
    plan_file: Path = Path(".pedigree/serving-plan.json")
    plan_every: timedelta = timedelta(seconds=2)
    clock_at: datetime | None = None

    def now(self) -> datetime:
        """The instant against which a value's age is judged, in UTC."""
        return self.clock_at or datetime.now(UTC)


@cache
def serving_settings() -> ServingSettings:
    """The settings of this process, read once.

    Raises:
        SettingsError: some are wrong; each one is named.
    """
    return read_settings(os.environ)


def read_settings(environ: Mapping[str, str]) -> ServingSettings:
    """The settings in `environ`, with defaults for what it does not name.

    Raises:
        SettingsError: some are wrong; each one is named.
    """
    default = ServingSettings()
    problems: list[str] = []

    def setting(name: str, parse: Callable[[str], T], *, otherwise: T) -> T:
        if name not in environ:
            return otherwise
        try:
            return parse(environ[name])
        except (ValueError, OverflowError) as error:
            problems.append(f"{name}={environ[name]!r} {error}")
            return otherwise

    settings = ServingSettings(
        address=setting("PEDIGREE_SERVING_ADDRESS", host_and_port, otherwise=default.address),
        workers=setting("PEDIGREE_SERVING_WORKERS", count, otherwise=default.workers),
        feature_store_yaml=setting("PEDIGREE_FEATURE_STORE_YAML", Path, otherwise=default.feature_store_yaml),
        store_timeout=setting("PEDIGREE_SERVING_STORE_TIMEOUT", span, otherwise=default.store_timeout),
        deadline=setting("PEDIGREE_SERVING_DEADLINE", span, otherwise=default.deadline),
        drain=setting("PEDIGREE_SERVING_DRAIN", span, otherwise=default.drain),
        max_entities=setting("PEDIGREE_SERVING_MAX_ENTITIES", count, otherwise=default.max_entities),
        max_values=setting("PEDIGREE_SERVING_MAX_VALUES", count, otherwise=default.max_values),
        plan_file=setting("PEDIGREE_SERVING_PLAN", Path, otherwise=default.plan_file),
        plan_every=setting("PEDIGREE_SERVING_PLAN_EVERY", span, otherwise=default.plan_every),
        clock_at=setting("PEDIGREE_CLOCK", instant, otherwise=None),
    )
    if not settings.feature_store_yaml.is_file():
        problems.append(
            f"there is no {settings.feature_store_yaml} (run from the repository's root, "
            "or set PEDIGREE_FEATURE_STORE_YAML to the file)"
        )
    if problems:
        raise SettingsError(problems)
    return settings


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
    if not text.isdecimal() or int(text) == 0:
        raise ValueError("is not a whole number above zero, such as 1000")
    return int(text)


def instant(text: str) -> datetime:
    """An ISO 8601 instant that names its offset from UTC, in UTC."""
    try:
        at = datetime.fromisoformat(text)
    except ValueError:
        raise ValueError("is not an ISO 8601 instant, such as 2013-07-01T12:00:00+00:00") from None
    if at.tzinfo is None:
        raise ValueError(f"names no offset from UTC: write {text}+00:00 if UTC is meant")
    return at.astimezone(UTC)
