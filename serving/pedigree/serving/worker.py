"""One process of the server: listens, says so in one line, and stops without dropping a request."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import sys
from collections.abc import AsyncIterator, Callable, Coroutine, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from typing import Any

import grpc
import uvloop
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2_grpc

from pedigree.online.errors import OnlineError
from pedigree.serving.auth.jwks import JwkSet
from pedigree.serving.auth.tokens import Tokens
from pedigree.serving.data_plane.data_plane import DataPlane
from pedigree.serving.data_plane.plan_cache import PlanCache
from pedigree.serving.errors import AddressTakenError, ServingError
from pedigree.serving.exposure import refuse_exposed, without_ipv6
from pedigree.serving.feature_store_yaml import read_repo
from pedigree.serving.server import SHARED
from pedigree.serving.settings import Auth, ServingSettings, Tls, serving_settings
from pedigree.serving.store.reader import Reader
from pedigree.serving.telemetry import logs
from pedigree.serving.telemetry.sampling import Sampler
from pedigree.serving.telemetry.traces import tracing_of
from pedigree.serving.transport.draining import cut_connections
from pedigree.serving.transport.interceptor import Interceptor
from pedigree.serving.transport.readiness import READINESS, Readiness
from pedigree.serving.transport.reflection import reflection_servicer
from pedigree.serving.transport.servicer import OWN_SERVICE, SERVICE, ServingServicer
from pedigree.serving.transport.tls import credentials

log = logging.getLogger(__name__)

HEALTHY_NAMES = ("", "liveness", SERVICE, OWN_SERVICE)
"""What health answers for by itself. All say whether this process takes requests; none asks the online store, so that a
store that is down for a moment does not make an orchestrator kill every server. `readiness` does ask it."""

PAUSE = 1.0
"""Seconds before work in the background is begun again."""
LONGEST_PAUSE = 10.0
"""Seconds between two looks for keys that nobody knows, at most."""

Going = Callable[[], Coroutine[Any, Any, None]]
"""What begins work in the background."""


@dataclass(frozen=True, slots=True)
class Listening:
    """A server that takes requests: the project it serves, the address it is reached at, and that of its metrics."""

    project: str
    address: str
    metrics_address: str | None = None


@asynccontextmanager
async def listening(settings: ServingSettings, *, leaves: bool = False) -> AsyncIterator[Listening]:
    """A server for as long as the block runs; at its end requests under way have `settings.drain` to finish.

    Args:
        leaves: whether the process ends with the block.
    Raises:
        NotAppliedError, StoreUnreachableError: there is nothing to serve.
        AddressTakenError: something else listens there.
        SettingsError: certificates cannot be used, traces cannot be sent, or other machines would reach what is not safe.
    """
    refuse_exposed(settings)
    repo = read_repo(settings.feature_store_yaml)
    async with AsyncExitStack() as last, AsyncExitStack() as stack:
        metrics = metrics_module() if settings.metrics_address else None
        tracing = tracing_of(settings)
        if tracing is not None:
            stack.callback(tracing.close)
        reader = Reader.open(repo.project, repo.address, timeout=settings.store_timeout)
        stack.push_async_callback(reader.close)
        plans = await PlanCache.open(reader, kept=settings.plan_file, feature_store_yaml=settings.feature_store_yaml)
        if metrics is not None:
            reader.store = metrics.TimedStore(reader.store)
        tokens = tokens_of(settings.auth) if settings.auth else None
        interceptor = Interceptor.of(
            settings,
            is_known=lambda name: name in plans.current.plan.services,
            tokens=tokens,
            metrics=metrics,
            tracing=tracing,
        )
        healthy = health.aio.HealthServicer()
        await healthy.set(READINESS, health_pb2.HealthCheckResponse.NOT_SERVING)
        sampler = Sampler(metrics.count_values) if metrics else None
        server = server_of(settings, ServingServicer(DataPlane(plans, reader, settings), interceptor, sampler), healthy)
        watch = Readiness(reader, plans, tokens.keys if tokens else None, healthy, interceptor, settings, metrics)
        await watch.look()
        with without_ipv6(settings.address) as place:
            address = bind(server, place, settings.tls)
        scraped = stack.enter_context(scraped_at(settings.metrics_address)) if is_alone(settings) else None
        for work in background(settings, plans, tokens, watch):
            stack.callback(asyncio.create_task(going_on(work)).cancel)
        await server.start()
        last.push_async_exit(Ending(server, address, leaves))
        stack.push_async_callback(drain, healthy, interceptor, settings)
        await say_healthy(healthy)
        yield Listening(repo.project, address, scraped)


def metrics_module() -> Any:
    """The module that counts, which is loaded only where something is counted."""
    from pedigree.serving.telemetry import metrics

    return metrics


def is_alone(settings: ServingSettings) -> bool:
    """Whether this process has to tell its metrics itself: nobody started it who does."""
    return settings.metrics_address is not None and SHARED not in os.environ


def scraped_at(address: str | None) -> Any:
    """/metrics of this process alone."""
    from prometheus_client import REGISTRY

    from pedigree.serving.telemetry.metrics_endpoint import metrics_at

    return metrics_at(address or "", REGISTRY)


def tokens_of(auth: Auth) -> Tokens:
    """Who verifies tokens."""
    return Tokens(auth, JwkSet(auth.jwks, pause=min(LONGEST_PAUSE, auth.keys_every.total_seconds())))


def server_of(settings: ServingSettings, servicer: ServingServicer, healthy: Any) -> Any:
    """The gRPC server with everything that it answers. Health needs no token; reflection is for servers that are open anyway."""
    server = grpc.aio.server(options=options_of(settings))
    server.add_generic_rpc_handlers(servicer.handlers())
    health_pb2_grpc.add_HealthServicer_to_server(healthy, Sparing(server, frozenset({"Check"})))
    if settings.auth is None:
        reflection_pb2_grpc.add_ServerReflectionServicer_to_server(
            reflection_servicer(SERVICE, OWN_SERVICE), Sparing(server)
        )
    elif settings.tls is None:
        log.warning(
            "tokens are taken without TLS: whoever listens on the way can use them; set PEDIGREE_SERVING_TLS_CERT"
        )
    return server


@dataclass(frozen=True, slots=True)
class Sparing:
    """A server to which services are added by name.

    gRPC's generated code registers each method besides, which gives it a queue of its own; gRPC then looks at all queues before
    every request. Only a health check is worth that: it is not to wait behind others.
    """

    server: Any
    queued_apart: frozenset[str] = frozenset()

    def add_generic_rpc_handlers(self, handlers: Any) -> None:
        """Add services by their names."""
        self.server.add_generic_rpc_handlers(handlers)

    def add_registered_method_handlers(self, service: str, handlers: Mapping[str, Any]) -> None:
        """Register those of a service's methods that have a queue of their own."""
        apart = {name: handler for name, handler in handlers.items() if name in self.queued_apart}
        if apart:
            self.server.add_registered_method_handlers(service, apart)


def options_of(settings: ServingSettings) -> Sequence[tuple[str, int]]:
    """What gRPC is told. Streams have a loose limit: gRPC's own clients open more than they are told to, and lose those."""
    limits = settings.limits
    return (
        ("grpc.so_reuseport", int(SHARED in os.environ)),
        ("grpc.max_receive_message_length", limits.message_bytes),
        ("grpc.max_concurrent_streams", 4 * limits.concurrent),
        ("grpc.server.max_pending_requests", limits.waiting),
        ("grpc.server.max_pending_requests_hard_limit", limits.waiting),
    )


def bind(server: Any, address: str, tls: Tls | None = None) -> str:
    """Have `server` listen on `address`; returns it with the port that was taken."""
    certified = credentials(tls) if tls else None
    try:
        port = server.add_secure_port(address, certified) if certified else server.add_insecure_port(address)
    except RuntimeError as error:
        raise AddressTakenError(address) from error
    return f"{address.rpartition(':')[0]}:{port}"


def background(settings: ServingSettings, plans: PlanCache, tokens: Tokens | None, watch: Readiness) -> list[Going]:
    """What goes on beside requests."""
    found: list[Going] = [lambda: plans.follow(settings.plan_every), watch.follow]
    if tokens is not None:
        keys, every = tokens.keys, tokens.auth.keys_every
        found.append(lambda: keys.follow(every))
    return found


async def going_on(work: Going) -> None:
    """Work that never ends; after an error that nobody foresaw it is begun again."""
    while True:
        try:
            await work()
        except Exception:
            log.exception("work in the background ended, and is begun again")
        await asyncio.sleep(PAUSE)


async def say_healthy(healthy: Any) -> None:
    """Every name that health answers for by itself serves; `readiness` is said by who looks at it."""
    for name in HEALTHY_NAMES:
        await healthy.set(name, health_pb2.HealthCheckResponse.SERVING)


async def drain(healthy: Any, interceptor: Interceptor, settings: ServingSettings) -> None:
    """Say that we stop, refuse what comes, and let what is under way end in its time."""
    await healthy.enter_graceful_shutdown()
    await interceptor.drain(settings.drain.total_seconds())


@dataclass(frozen=True, slots=True)
class Ending:
    """The last thing that a server does: it cuts its connections.

    Attributes:
        leaves: whether the process ends with it, at once: gRPC would report each call that is cut as an error.
    """

    server: Any
    address: str
    leaves: bool

    async def __call__(self, _kind: object, error: BaseException | None, _traceback: object) -> None:
        """End; where an error ends the block it is raised, and the process does not end here."""
        cut_connections(int(self.address.rpartition(":")[2]))
        if self.leaves and error is None:
            logging.shutdown()
            os._exit(0)
        await self.server.stop(None)


async def serve(settings: ServingSettings) -> None:
    """Serve until the process is told to stop by SIGTERM or SIGINT, or this coroutine is cancelled.

    Raises:
        NotAppliedError: there is nothing to serve.
        AddressTakenError: something else listens there.
    """
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for name in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(name, stop.set)
    orphaned = asyncio.create_task(when_orphaned(stop)) if SHARED in os.environ else None
    async with listening(settings, leaves=True) as server:
        sys.stdout.write(f"serving {server.project} on {server.address}\n")
        if server.metrics_address:
            sys.stdout.write(f"metrics on {server.metrics_address}\n")
        sys.stdout.flush()
        await stop.wait()
        log.info("stopping; requests under way have %s", settings.drain)
    if orphaned is not None:
        orphaned.cancel()


async def when_orphaned(stop: asyncio.Event) -> None:
    """Stop where the process that watches over us was killed: nobody would ever stop us."""
    parent = os.getppid()
    while os.getppid() == parent:
        await asyncio.sleep(PAUSE)
    stop.set()


def main() -> int:
    """Serve in this process: 0 after a stop that was asked for, 1 with one line on stderr when there is nothing to start with."""
    try:
        settings = serving_settings()
        logs.configure(settings.log_format)
        uvloop.run(serve(settings))
    except (ServingError, OnlineError) as error:
        sys.stderr.write(f"{error}\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
