"""The durable outbox: an event is a file before it is sent, and stops being one only when the backend has it."""

from __future__ import annotations

import fcntl
import logging
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from itertools import count
from pathlib import Path
from threading import Lock

from lineage.courier import Courier
from lineage.errors import OutboxUnwritableError
from lineage.settings import LineageSettings

NO_TIME = "no time was left"

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Flushed:
    """What one flush did: events `delivered` and `rejected` by it, events still `waiting`, and why they wait."""

    delivered: int = 0
    waiting: int = 0
    rejected: int = 0
    reason: str = ""


class Outbox:
    """A folder of events in the order they were emitted, shared by any number of processes."""

    def __init__(self, settings: LineageSettings) -> None:
        self.settings = settings
        self.folder = settings.outbox
        self.rejects = settings.outbox / "rejected"
        self._lock = Lock()
        self._count = count()
        self._last_ns = 0

    @classmethod
    def open(cls, settings: LineageSettings) -> Outbox:
        """The outbox of these settings, made if it is not there.

        Raises:
            OutboxUnwritableError: the folder cannot be written.
        """
        outbox = cls(settings)
        try:
            outbox.rejects.mkdir(parents=True, exist_ok=True)
            probe = outbox.folder / f".probe-{os.getpid()}"
            probe.write_bytes(b"")
            probe.unlink()
        except OSError as error:
            raise OutboxUnwritableError(str(outbox.folder), str(error)) from error
        return outbox

    def put(self, event: str) -> Path:
        """Keep an event. When this returns, it survives a killed process and a crashed machine."""
        with self._lock:
            path = self.folder / self._next_name()
            partial = path.with_name(f".{path.name}.partial")
            with partial.open("wb") as file:
                file.write(event.encode())
                file.flush()
                os.fsync(file.fileno())
            partial.rename(path)
            sync_folder(self.folder)
        return path

    def waiting(self) -> int:
        """How many events have not been delivered."""
        return len(self.pending())

    def pending(self) -> list[Path]:
        """The events that wait, in the order they were emitted."""
        return sorted(path for path in self.folder.glob("[0-9]*.json"))

    def rejected(self) -> list[Path]:
        """The events that the backend refused for good; beside each lies a `.reason`."""
        return sorted(self.rejects.glob("[0-9]*.json"))

    def requeue(self) -> int:
        """Let the refused events wait again, in their old place; returns how many."""
        refused = self.rejected()
        for path in refused:
            path.rename(self.folder / path.name)
            path.with_suffix(".reason").unlink(missing_ok=True)
        return len(refused)

    def flush(self, timeout: float = 5.0, *, courier: Courier | None = None) -> Flushed:
        """Deliver what waits, in order, until the outbox is empty, the backend fails or `timeout` seconds are over."""
        deadline = time.monotonic() + timeout
        if courier is not None:
            return self._flush(courier, deadline)
        with Courier(self.settings) as own:
            return self._flush(own, deadline)

    def _flush(self, courier: Courier, deadline: float) -> Flushed:
        total = Flushed()
        while self.pending():
            with self.turn() as mine:
                done = self._deliver(courier, deadline) if mine else Flushed()
            total = Flushed(total.delivered + done.delivered, 0, total.rejected + done.rejected, done.reason)
            if not total.reason and time.monotonic() >= deadline:
                total = replace(total, reason=NO_TIME)
            if total.reason:
                return replace(total, waiting=self.waiting())
            if not mine:  # another process delivers, our events included
                time.sleep(0.05)
        return total

    def _deliver(self, courier: Courier, deadline: float) -> Flushed:
        delivered = rejected = 0
        for path in self.pending():
            left = deadline - time.monotonic()
            if left <= 0:
                return Flushed(delivered, 0, rejected, NO_TIME)
            verdict = courier.post(path.read_bytes(), seconds=left)
            if verdict.kind == "waiting":
                return Flushed(delivered, 0, rejected, verdict.reason)
            if verdict.kind == "rejected":
                self._reject(path, verdict.reason)
                rejected += 1
            else:
                path.unlink()
                delivered += 1
        return Flushed(delivered, 0, rejected)

    def _reject(self, path: Path, reason: str) -> None:
        kept = self.rejects / path.name
        kept.with_suffix(".reason").write_text(reason + "\n")
        path.rename(kept)
        log.warning("The lineage backend refused an event, which is kept in %s: %s", kept, reason)

    @contextmanager
    def turn(self) -> Iterator[bool]:
        """True for the one deliverer of all processes, as long as this lasts."""
        descriptor = os.open(self.folder / ".delivering", os.O_CREAT | os.O_RDWR, 0o644)
        try:
            mine = True
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                mine = False
            yield mine
            if mine:
                fcntl.flock(descriptor, fcntl.LOCK_UN)  # also for a descriptor that a fork took with it
        finally:
            os.close(descriptor)

    def _next_name(self) -> str:
        self._last_ns = max(time.time_ns(), self._last_ns + 1)
        return f"{self._last_ns:020d}-{os.getpid():08d}-{next(self._count):08d}.json"


def sync_folder(folder: Path) -> None:
    """Make a rename in `folder` survive a crash of the machine."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
