"""Python gRPC and nothing else: every call is answered with the same bytes. One process per core on one port.

`python -m benchmarks.bare PORT REPLY [REDIS]`: with the port of a Redis the records that are asked for are read before, and
thrown away, so that what is left to a server in Python is what it makes of them.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import grpc
import uvloop

from pedigree.online.store import redis_keys
from pedigree.online.store.address import parse
from pedigree.serving.store.redis_client import SingleRedis
from pedigree.serving.v1.serving_pb2 import GetOnlineFeaturesRequest

FIELDS = tuple(redis_keys.field(f"customer_activity_{number}", 0) for number in range(5))
PREFIX = redis_keys.entity_prefix("bench", ["customer_id"])


async def serve(port: int, reply: bytes, redis: int | None) -> None:
    """Answer for ever."""
    store = None if redis is None else SingleRedis(parse(f"127.0.0.1:{redis}"), patience=5.0)

    async def answer(request: GetOnlineFeaturesRequest, _context: Any) -> bytes:
        if store is not None:
            keys = [PREFIX + value.SerializeToString() for value in request.entities["customer_id"].val]
            await store.hmget([(keys, FIELDS)])
        return reply

    method = grpc.unary_unary_rpc_method_handler(answer, request_deserializer=GetOnlineFeaturesRequest.FromString)
    server = grpc.aio.server(options=(("grpc.so_reuseport", 1),))
    server.add_generic_rpc_handlers(
        (grpc.method_handlers_generic_handler("feast.serving.ServingService", {"GetOnlineFeatures": method}),)
    )
    server.add_insecure_port(f"127.0.0.1:{port}")
    await server.start()
    await server.wait_for_termination()


def main() -> None:
    """Serve with as many processes as there are cores."""
    port, reply = int(sys.argv[1]), Path(sys.argv[2]).read_bytes()
    redis = int(sys.argv[3]) if len(sys.argv) > 3 else None
    others = []
    if "BARE_WORKER" not in os.environ:
        command = [sys.executable, "-m", "benchmarks.bare", *sys.argv[1:]]
        environment = {**os.environ, "BARE_WORKER": "1"}
        others = [subprocess.Popen(command, env=environment) for _ in range((os.cpu_count() or 1) - 1)]
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    try:
        uvloop.run(serve(port, reply, redis))
    finally:
        for other in others:
            other.terminate()


if __name__ == "__main__":
    main()
