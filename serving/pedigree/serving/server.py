"""The server: `python -m pedigree.serving.server`.

One process per core on one port; it starts them, watches over them and stops them.
"""

from __future__ import annotations

import logging
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType
from typing import Any

from pedigree.lineage.redaction import redacted
from pedigree.serving.errors import AddressTakenError, ServingError
from pedigree.serving.exposure import refuse_exposed
from pedigree.serving.settings import ServingSettings, serving_settings
from pedigree.serving.telemetry import logs

SHARED = "PEDIGREE_SERVING_SHARED"
WORKER = (sys.executable, "-m", "pedigree.serving.worker")
PAUSE = 0.2
LONGEST_PAUSE = 5.0
"""Seconds between two starts of a worker that keeps ending."""

log = logging.getLogger(__name__)


@dataclass(slots=True)
class Workers:
    """The processes that serve, all on one address. `counting` is the folder in which they count, where they do."""

    address: str
    counting: Path | None = None
    stopping: bool = False
    processes: list[subprocess.Popen[str]] = field(default_factory=list)

    def start(self) -> subprocess.Popen[str]:
        """One more worker; it is one of us once it has said its line."""
        environment = {**os.environ, "PEDIGREE_SERVING_ADDRESS": self.address, SHARED: "1"}
        if self.counting is not None:
            environment["PROMETHEUS_MULTIPROC_DIR"] = str(self.counting)
        process = subprocess.Popen(WORKER, env=environment, stdout=subprocess.PIPE, text=True)
        self.processes.append(process)
        return process

    def stop(self, _number: int = signal.SIGTERM, _frame: FrameType | None = None) -> None:
        """Tell all of them to finish what they have and end."""
        self.stopping = True
        for process in self.processes:
            process.send_signal(signal.SIGTERM)

    def watch(self) -> None:
        """Start anew what ends by itself, until told to stop; return once all have ended."""
        pause = PAUSE
        while not self.stopping:
            time.sleep(PAUSE)
            for process in [one for one in self.processes if one.poll() is not None]:
                self.processes.remove(process)
                self.forget(process.pid)
                if not self.stopping:
                    log.error("worker %s ended with %s; another one is started", process.pid, process.returncode)
                    time.sleep(pause)
                    pause = min(pause * 2, LONGEST_PAUSE)
                    self.start()
        for process in self.processes:
            process.wait()

    def forget(self, process: int) -> None:
        """A worker has ended: what it had under way is no more."""
        if self.counting is not None:
            from pedigree.serving.telemetry.metrics_endpoint import ended

            ended(self.counting, process)


def serve(settings: ServingSettings) -> int:
    """Serve until told to stop by SIGTERM or SIGINT.

    Raises:
        SettingsError: other machines would reach it, and it lacks something that nobody said it may do without.
        AddressTakenError: something else listens there.
    """
    refuse_exposed(settings)
    with held(settings.address) as address, counted(settings.metrics_address) as (folder, metrics):
        workers = Workers(address, folder)
        for name in (signal.SIGTERM, signal.SIGINT):
            signal.signal(name, workers.stop)
        line = said(workers.start())
        if not line:
            return workers.processes[0].wait()
        for process in [workers.start() for _ in range(settings.workers - 1)]:
            said(process)
        if not workers.stopping:
            sys.stdout.write(line + (f"metrics on {metrics}\n" if metrics else ""))
            sys.stdout.flush()
        workers.watch()
    return 0


@contextmanager
def counting(address: str) -> Iterator[tuple[Path, str]]:
    """A folder in which workers count, and where Prometheus reads it for as long as the block runs."""
    from pedigree.serving.telemetry.metrics_endpoint import counting_folder, metrics_of

    with counting_folder() as folder, metrics_of(folder, address) as taken:
        yield folder, taken


def counted(address: str | None) -> Any:
    """The same where metrics are wanted; nothing of it is loaded where they are not."""
    return counting(address) if address else nullcontext((None, None))


def said(process: subprocess.Popen[str]) -> str:
    """The line with which a worker says that it serves; empty where it ended instead."""
    return process.stdout.readline() if process.stdout else ""


@contextmanager
def held(address: str) -> Iterator[str]:
    """The address, with the port that was taken, kept for our workers alone.

    Raises:
        AddressTakenError: something else listens there.
    """
    host, _, port = address.rpartition(":")
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    place = (host.strip("[]"), int(port))
    with socket.socket(family) as probe, socket.socket(family) as holder:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        holder.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        holder.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        try:
            probe.bind(place)
            place = (place[0], probe.getsockname()[1])
            probe.listen()
            probe.close()
            holder.bind(place)
        except OSError as error:
            raise AddressTakenError(address) from error
        yield f"{host}:{place[1]}"


def main() -> int:
    """The command: 0 after a stop that was asked for; 1 with one line on stderr where it cannot start, 75 where it may later."""
    try:
        settings = serving_settings()
        logs.configure(settings.log_format)
        return serve(settings)
    except ServingError as error:
        return refused(error)


def refused(error: Exception) -> int:
    """Say in one line why nothing was started; the exit code says whether it may be later."""
    sys.stderr.write(redacted(f"pedigree: {error}\n"))
    return os.EX_TEMPFAIL if getattr(error, "transient", False) else 1


if __name__ == "__main__":
    sys.exit(main())
