"""Python gRPC and nothing else: every call is answered with the same bytes. One process per core on one port."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import grpc

from serving.v1.serving_pb2 import GetOnlineFeaturesRequest


async def serve(port: int, reply: bytes) -> None:
    """Answer for ever."""

    async def answer(_request: GetOnlineFeaturesRequest, _context: Any) -> bytes:
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
    others = []
    if "BARE_WORKER" not in os.environ:
        command = [sys.executable, "-m", "benchmarks.bare", *sys.argv[1:]]
        environment = {**os.environ, "BARE_WORKER": "1"}
        others = [subprocess.Popen(command, env=environment) for _ in range((os.cpu_count() or 1) - 1)]
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    try:
        asyncio.run(serve(port, reply))
    finally:
        for other in others:
            other.terminate()


if __name__ == "__main__":
    main()
