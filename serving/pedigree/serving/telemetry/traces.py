"""OpenTelemetry spans, one for each request; nothing of it is loaded where no traces are wanted."""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from pedigree.serving.errors import ServingSettingsError
from pedigree.serving.settings import ServingSettings
from pedigree.serving.status_codes import code_of

log = logging.getLogger(__name__)

PACKAGE = "opentelemetry-exporter-otlp-proto-grpc or opentelemetry-exporter-otlp-proto-http"
MISSING = f"traces cannot be sent: the OTLP exporter is not installed (pip install {PACKAGE})"
ENDPOINTS = ("OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT")
PROTOCOLS = ("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "OTEL_EXPORTER_OTLP_PROTOCOL")
FAULTS = frozenset(("UNKNOWN", "DEADLINE_EXCEEDED", "UNIMPLEMENTED", "INTERNAL", "UNAVAILABLE", "DATA_LOSS"))
"""The codes by which OpenTelemetry has a server's span be an error: what a caller did wrong is none."""


@dataclass(frozen=True, slots=True)
class Tracing:
    """Where spans go, and how a caller's own span is found."""

    provider: Any
    tracer: Any
    extract: Callable[[Mapping[str, str]], Any]
    server: Any
    failed: Any

    @contextmanager
    def span(self, rpc: str, metadata: Any, request_id: str) -> Iterator[Any]:
        """A request's span, within the caller's where it sent a `traceparent`."""
        service, _, method = rpc.rpartition("/")
        attributes = {
            "rpc.system": "grpc",
            "rpc.service": service,
            "rpc.method": method,
            "pedigree.request_id": request_id,
        }
        carrier = {name: value for name, value in metadata if name in ("traceparent", "tracestate")}
        with self.tracer.start_as_current_span(
            rpc,
            context=self.extract(carrier),
            kind=self.server,
            attributes=attributes,
            record_exception=False,
            set_status_on_exception=False,
        ) as span:
            try:
                yield span
            except Exception as error:
                if code_of(error).name in FAULTS:
                    span.set_status(self.failed, type(error).__name__)
                raise

    def close(self) -> None:
        """Send what is left."""
        self.provider.shutdown()


def tracing_of(settings: ServingSettings) -> Tracing | None:
    """Tracing, where it is wanted: by the setting, or by OpenTelemetry's own name of where spans go.

    Raises:
        SettingsError: the setting asks for OTLP, and it cannot be spoken.
    """
    if settings.traces == "console":
        return console()
    is_asked_by_name = any(os.environ.get(name) for name in ENDPOINTS)
    if settings.traces == "off" or (settings.traces == "auto" and not is_asked_by_name):
        return None
    exporter = otlp_exporter()
    if exporter is not None:
        return tracing(exporter)
    if settings.traces == "otlp":
        raise ServingSettingsError([f"PEDIGREE_SERVING_TRACES='otlp': {MISSING}"])
    log.error("%s is set, but %s; serving goes on without them", ENDPOINTS[0], MISSING)
    return None


def console() -> Tracing:
    """Spans as JSON on stderr."""
    from opentelemetry.sdk.trace.export import ConsoleSpanExporter

    return tracing(ConsoleSpanExporter(out=sys.stderr, formatter=lambda span: span.to_json(indent=None) + "\n"))


def otlp_exporter() -> Any:
    """What sends spans by OTLP, None where it is not installed."""
    from importlib import import_module

    protocol = next((os.environ[name] for name in PROTOCOLS if os.environ.get(name)), "grpc")
    transports = ["http", "grpc"] if protocol.startswith("http") else ["grpc", "http"]
    for transport in transports:
        try:
            return import_module(f"opentelemetry.exporter.otlp.proto.{transport}.trace_exporter").OTLPSpanExporter()
        except ImportError:
            continue
    return None


def tracing(exporter: Any) -> Tracing:
    """Tracing that sends spans in batches, off the way of requests. OpenTelemetry's own settings say how many are sampled."""
    from opentelemetry.sdk.resources import Resource
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import BatchSpanProcessor
    from opentelemetry.trace import SpanKind, StatusCode
    from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

    name = os.environ.get("OTEL_SERVICE_NAME", "pedigree-serving")
    provider = TracerProvider(resource=Resource.create({"service.name": name}))
    provider.add_span_processor(BatchSpanProcessor(exporter))
    extract = TraceContextTextMapPropagator().extract
    return Tracing(provider, provider.get_tracer("pedigree.serving"), extract, SpanKind.SERVER, StatusCode.ERROR)
