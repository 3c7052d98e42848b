"""Where the server listens, whom it answers and how long it waits: one frozen value, read once from `PEDIGREE_…`."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import cache
from pathlib import Path
from typing import Literal

from pydantic import SecretStr

from pedigree.lineage.setting_parsers import (
    Reading,
    count,
    file,
    host_and_port,
    instant,
    one_of,
    rate,
    span,
    words,
)
from pedigree.online.feature_store_yaml import located
from pedigree.serving.errors import ServingSettingsError
from pedigree.serving.setting_parsers import algorithms, key_source, leeway

Insecurity = Literal["no-tls", "no-tokens", "open-metrics"]
INSECURITIES: tuple[Insecurity, ...] = ("no-tls", "no-tokens", "open-metrics")


@dataclass(frozen=True, slots=True)
class Tls:
    """The files of a server that speaks TLS. With `client_ca` every client must show a certificate that it signed."""

    cert: Path
    key: Path
    client_ca: Path | None = None


@dataclass(frozen=True, slots=True)
class Auth:
    """Which tokens are taken.

    Attributes:
        jwks: the URL or the file of the issuer's public keys; a URL may hold a password.
        issuer: what a token must say of who made it.
        audience: what a token must say of whom it is for.
        algorithms: the signatures that are taken.
        roles_claim: where a token tells roles; `roles` also means Keycloak's places.
        groups_claim: where a token tells groups.
        leeway: how far clocks may be apart.
        keys_every: how often the keys are fetched anew; a key that is gone then counts no more.
    """

    jwks: SecretStr
    issuer: str
    audience: str
    algorithms: tuple[str, ...] = ("RS256", "ES256")
    roles_claim: str = "roles"
    groups_claim: str = "groups"
    leeway: timedelta = timedelta(seconds=10)
    keys_every: timedelta = timedelta(minutes=5)


@dataclass(frozen=True, slots=True)
class RequestLimits:
    """What one process takes at most.

    Attributes:
        message_bytes: the largest request.
        reply_bytes: the largest reply. gRPC's clients take 4 MiB unless they are told otherwise.
        concurrent: how many requests may be under way; one more is refused at once.
        waiting: how many may have come that are not under way yet. gRPC itself ends those beyond it, which costs next to nothing:
            so a flood is not waited for.
        rate: how many requests a principal may make per second; None is no limit.
        burst: how many of them at once.
    """

    message_bytes: int = 4 * 1024 * 1024
    reply_bytes: int = 4 * 1024 * 1024
    concurrent: int = 256
    waiting: int = 64
    rate: float | None = None
    burst: int = 1


@dataclass(frozen=True, slots=True)
class ServingSettings:
    """Everything the server can be told.

    Attributes:
        address: `host:port` to listen on; port 0 takes any free one.
        workers: how many processes serve; by default one per core.
        feature_store_yaml: the Feast repository to serve.
        store_timeout: the longest that one request waits for the online store.
        deadline: the time a request has that brings no deadline of its own.
        drain: the time that requests under way have to finish once the server was told to stop.
        max_entities: the most entity rows of one request.
        max_values: the most values of one request: rows times features.
        plan_file: where the last good plan is kept, so that a server starts while its store is away.
        plan_every: how often a new plan is looked for.
        clock_at: the instant that stands for "now" when a value's age is judged; None is the real clock.
        tls: the certificates; None: whoever listens on the way reads along.
        auth: which tokens are taken; None: everybody is answered.
        limits: what one process takes at most.
        metrics_address: `host:port` of Prometheus' /metrics; None: nothing is counted.
        log_format: `json` or `text`.
        traces: `off`, `otlp` (as OpenTelemetry's own settings say), `console` (to stderr), or `auto`: `otlp` where
            OTEL_EXPORTER_OTLP_ENDPOINT is set.
        insecure: what a server that is reached from other machines may do without.
    """

    address: str = "127.0.0.1:15051"
    workers: int = field(default_factory=lambda: os.cpu_count() or 1)
    feature_store_yaml: Path = field(default_factory=located)
    store_timeout: timedelta = timedelta(seconds=0.5)
    deadline: timedelta = timedelta(seconds=5)
    drain: timedelta = timedelta(seconds=10)
    max_entities: int = 1000
    max_values: int = 200_000
    plan_file: Path = Path(".pedigree/serving-plan.json")
    plan_every: timedelta = timedelta(seconds=2)
    clock_at: datetime | None = None
    tls: Tls | None = None
    auth: Auth | None = None
    limits: RequestLimits = RequestLimits()
    metrics_address: str | None = None
    log_format: str = "json"
    traces: str = "auto"
    insecure: frozenset[Insecurity] = frozenset()

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
    reading = Reading(environ)
    setting = reading.setting
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
        tls=tls_of(reading),
        auth=auth_of(reading),
        limits=limits_of(reading),
        metrics_address=setting("PEDIGREE_SERVING_METRICS_ADDRESS", host_and_port, otherwise=None),
        log_format=setting("PEDIGREE_SERVING_LOG", one_of("json", "text"), otherwise=default.log_format),
        traces=setting("PEDIGREE_SERVING_TRACES", one_of("auto", "off", "otlp", "console"), otherwise=default.traces),
        insecure=setting("PEDIGREE_SERVING_INSECURE", words(*INSECURITIES), otherwise=default.insecure),
    )
    if not settings.feature_store_yaml.is_file():
        reading.problems.append(
            f"there is no {settings.feature_store_yaml} (run within a feature repository, "
            "or set PEDIGREE_FEATURE_STORE_YAML to the file)"
        )
    if reading.problems:
        raise ServingSettingsError(reading.problems)
    return settings


def tls_of(reading: Reading) -> Tls | None:
    """The certificates, where some are named."""
    names = ("PEDIGREE_SERVING_TLS_CERT", "PEDIGREE_SERVING_TLS_KEY")
    nowhere = Path()
    cert, key = (reading.setting(name, file, otherwise=nowhere) for name in names)
    client_ca = reading.setting("PEDIGREE_SERVING_TLS_CLIENT_CA", file, otherwise=None)
    if reading.together(names):
        return Tls(cert, key, client_ca)
    if client_ca is not None:
        reading.problems.append(f"PEDIGREE_SERVING_TLS_CLIENT_CA without {' and '.join(names)}: nobody could be asked")
    return None


def auth_of(reading: Reading) -> Auth | None:
    """Which tokens are taken, where some are asked for.

    An issuer signs tokens for many; without the audience a token that was made for another server would be taken here.
    """
    setting = reading.setting
    auth = Auth(
        jwks=setting("PEDIGREE_SERVING_AUTH_JWKS", key_source, otherwise=SecretStr("")),
        issuer=setting("PEDIGREE_SERVING_AUTH_ISSUER", str, otherwise=""),
        audience=setting("PEDIGREE_SERVING_AUTH_AUDIENCE", str, otherwise=""),
        algorithms=setting("PEDIGREE_SERVING_AUTH_ALGORITHMS", algorithms, otherwise=("RS256", "ES256")),
        roles_claim=setting("PEDIGREE_SERVING_AUTH_ROLES_CLAIM", str, otherwise="roles"),
        groups_claim=setting("PEDIGREE_SERVING_AUTH_GROUPS_CLAIM", str, otherwise="groups"),
        leeway=setting("PEDIGREE_SERVING_AUTH_LEEWAY", leeway, otherwise=timedelta(seconds=10)),
        keys_every=setting("PEDIGREE_SERVING_AUTH_KEYS_EVERY", span, otherwise=timedelta(minutes=5)),
    )
    needed = ("PEDIGREE_SERVING_AUTH_JWKS", "PEDIGREE_SERVING_AUTH_ISSUER", "PEDIGREE_SERVING_AUTH_AUDIENCE")
    return auth if reading.together(needed) else None


def limits_of(reading: Reading) -> RequestLimits:
    """What one process takes at most; a burst is a second's worth of requests where it is not set."""
    setting, default = reading.setting, RequestLimits()
    per_second = setting("PEDIGREE_SERVING_RATE", rate, otherwise=None)
    return RequestLimits(
        message_bytes=setting("PEDIGREE_SERVING_MAX_MESSAGE_BYTES", count, otherwise=default.message_bytes),
        reply_bytes=setting("PEDIGREE_SERVING_MAX_REPLY_BYTES", count, otherwise=default.reply_bytes),
        concurrent=setting("PEDIGREE_SERVING_MAX_CONCURRENT", count, otherwise=default.concurrent),
        waiting=setting("PEDIGREE_SERVING_MAX_WAITING", count, otherwise=default.waiting),
        rate=per_second,
        burst=setting("PEDIGREE_SERVING_BURST", count, otherwise=max(1, round(per_second or 1))),
    )
