"""One process of the server: listens, says so in one line, and stops without dropping a request."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import grpc
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2_grpc

from online.errors import OnlineError
from serving.errors import AddressTakenError, ServingError
from serving.plane import Plane
from serving.plans import Plans
from serving.reader import Reader
from serving.reflection import reflection_servicer
from serving.repo import read_repo
from serving.server import SHARED
from serving.servicer import SERVICE, ServingServicer
from serving.settings import ServingSettings, serving_settings

log = logging.getLogger(__name__)

HEALTHY_NAMES = ("", "liveness", SERVICE)
"""What health answers for. All say whether this process takes requests; none asks the online store, so that a store that
is down for a moment does not make an orchestrator kill every server."""


@dataclass(frozen=True, slots=True)
class Listening:
    """A server that takes requests: the project it serves and the address it is reached at."""

    project: str
    address: str


@asynccontextmanager
async def listening(settings: ServingSettings) -> AsyncIterator[Listening]:
    """A server for as long as the block runs; at its end requests in flight have `settings.drain` to finish.

    Raises:
        NotAppliedError: there is nothing to serve.
        AddressTakenError: something else listens there.
    """
    repo = read_repo(settings.feature_store_yaml)
    reader = Reader.open(repo.project, repo.address, timeout=settings.store_timeout)
    plans = await Plans.open(reader, kept=settings.plan_file, feature_store_yaml=settings.feature_store_yaml)
    following = asyncio.create_task(plans.follow(settings.plan_every))
    healthy = health.aio.HealthServicer()
    server = grpc.aio.server(options=(("grpc.so_reuseport", int(SHARED in os.environ)),))
    server.add_generic_rpc_handlers(ServingServicer(Plane(plans, reader, settings)).handlers())
    health_pb2_grpc.add_HealthServicer_to_server(healthy, server)
    reflection_pb2_grpc.add_ServerReflectionServicer_to_server(reflection_servicer(SERVICE), server)
    try:
        address = bind(server, settings.address)
        await server.start()
        await say_healthy(healthy)
        yield Listening(project=repo.project, address=address)
    finally:
        following.cancel()
        await healthy.enter_graceful_shutdown()
        await server.stop(settings.drain.total_seconds())
        await reader.close()


def bind(server: Any, address: str) -> str:
    """Have `server` listen on `address`; returns it with the port that was taken."""
    try:
        port = server.add_insecure_port(address)
    except RuntimeError as error:
        raise AddressTakenError(address) from error
    return f"{address.rpartition(':')[0]}:{port}"


async def say_healthy(healthy: Any) -> None:
    """Every name that health answers for serves."""
    for name in HEALTHY_NAMES:
        await healthy.set(name, health_pb2.HealthCheckResponse.SERVING)


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
    async with listening(settings) as server:
        sys.stdout.write(f"serving {server.project} on {server.address}\n")
        sys.stdout.flush()
        await stop.wait()
        log.info("stopping; requests in flight have %s", settings.drain)


def main() -> int:
    """Serve in this process: 0 after a stop that was asked for, 1 with one line on stderr when there is nothing to start with."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    try:
        asyncio.run(serve(serving_settings()))
    except (ServingError, OnlineError) as error:
        sys.stderr.write(f"{error}\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
