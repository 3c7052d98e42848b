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

from pedigree.lineage.delivery.delivery_attempts import Attempts
from pedigree.lineage.delivery.dispatch import NO_TIME, Dispatch
from pedigree.lineage.delivery.http_sender import HttpSender
from pedigree.lineage.errors import OutboxUnwritableError
from pedigree.lineage.settings import LineageSettings

EVENTS = "[0-9]*.json"

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Flushed:
    """What one flush did: events `delivered`, `rejected` and `parked` by it, events still `waiting`, and why they wait.

    `held` counts the runs whose next event the backend fails on, where it takes the others.
    """

    delivered: int = 0
    waiting: int = 0
    rejected: int = 0
    parked: int = 0
    held: int = 0
    reason: str = ""


class Outbox:
    """A folder of events in the order they were emitted, shared by any number of processes."""

    def __init__(self, settings: LineageSettings) -> None:
        self.settings = settings
        self.folder = settings.outbox
        self.rejects = settings.outbox / "rejected"
        self.parking = settings.outbox / "parked"
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
            outbox.parking.mkdir(parents=True, exist_ok=True)
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
            try:
                with partial.open("wb") as file:
                    file.write(event.encode())
                    file.flush()
                    os.fsync(file.fileno())
                partial.rename(path)
            except OSError:
                partial.unlink(missing_ok=True)
                raise
            sync_folder(self.folder)
        return path

    def waiting(self) -> int:
        """How many events have not been delivered."""
        return len(self.pending())

    def pending(self) -> list[Path]:
        """The events that wait, in the order they were emitted."""
        return sorted(self.folder.glob(EVENTS))

    def rejected(self) -> list[Path]:
        """The events that the backend refused for good, and what could not be read; beside each lies a `.reason`."""
        return sorted(self.rejects.glob(EVENTS))

    def parked(self) -> list[Path]:
        """The events that the backend failed on again and again, and those of their runs; beside each lies a `.reason`."""
        return sorted(self.parking.glob(EVENTS))

    def aside(self) -> list[Path]:
        """The events that were set aside, refused or parked, in the order in which they were written."""
        return sorted([*self.rejected(), *self.parked()], key=lambda path: path.name)

    def half_written(self) -> list[Path]:
        """What processes left that were killed while they kept an event: no event, since its job never went on."""
        return sorted(self.folder.glob(f".{EVENTS}.partial"))

    def failing(self) -> Attempts:
        """The waiting events that the backend failed on."""
        attempts = Attempts.load(self.folder)
        attempts.keep_only({path.name for path in self.pending()}, {path.name for path in self.parked()})
        return attempts

    def requeue(self) -> int:
        """Let what was refused or parked wait again, in its old place; returns how many events."""
        with self.turn(wait=True):
            aside = self.aside()
            for path in aside:
                path.rename(self.folder / path.name)
                path.with_suffix(".reason").unlink(missing_ok=True)
        return len(aside)

    def set_aside(self, path: Path, folder: Path, reason: str) -> bool:
        """Move an event out of the way, with the reason beside it; False if it cannot be moved and has to stay."""
        kept = folder / path.name
        try:
            kept.with_suffix(".reason").write_text(reason + "\n")
            path.rename(kept)
        except OSError as error:
            log.warning(
                "The lineage event %s is passed over, but cannot be moved to %s (%s): %s", path, folder, error, reason
            )
            return False
        log.warning(
            "A lineage event was not delivered and is kept in %s: %s. `pedigree lineage outbox` lists such events, "
            "`pedigree lineage replay` sends them again.",
            kept,
            reason,
        )
        return True

    def flush(self, timeout: float = 5.0, *, sender: HttpSender | None = None, retry: bool = True) -> Flushed:
        """Deliver what waits, in the order of each run, until the backend is out or `timeout` seconds are over.

        Args:
            timeout: seconds to spend.
            sender: the connection to use instead of one of its own.
            retry: also try once more each event that the backend has failed on.
        """
        deadline = time.monotonic() + timeout
        tried = set() if retry else set(self.failing().failed)
        if sender is not None:
            return self._flush(sender, deadline, tried)
        with HttpSender(self.settings) as own:
            return self._flush(own, deadline, tried)

    def _flush(self, sender: HttpSender, deadline: float, tried: set[str]) -> Flushed:
        total = Flushed()
        while self.pending():
            with self.turn() as mine:
                done = self._dispatch(sender, deadline, tried) if mine else None
            if done is not None:
                total = total_of(total, done)
            elif time.monotonic() < deadline:
                time.sleep(0.05)  # another process delivers, our events included
            else:
                total = replace(total, reason=NO_TIME)
            if total.reason:
                return replace(total, waiting=self.waiting())
        return total

    def _dispatch(self, sender: HttpSender, deadline: float, tried: set[str]) -> Flushed:
        attempts = Attempts.load(self.folder)
        dispatch = Dispatch(self, sender, attempts, deadline, tried)
        try:
            dispatch.run()
        finally:
            attempts.save()
        moved = dispatch.delivered + dispatch.rejected + dispatch.parked
        reason = dispatch.reason
        if not reason and not moved and self.pending():
            last = next((each.reason for each in attempts.failed.values()), "they cannot be moved out of the way")
            reason = f"the backend takes other events, but not those of {len(dispatch.held)} runs: {last}"
        held = 0 if dispatch.reason else len(dispatch.held)
        return Flushed(dispatch.delivered, 0, dispatch.rejected, dispatch.parked, held, reason)

    @contextmanager
    def turn(self, *, wait: bool = False) -> Iterator[bool]:
        """True for the one deliverer of all processes, as long as this lasts; with `wait` it is waited for."""
        descriptor = os.open(self.folder / ".delivering", os.O_CREAT | os.O_RDWR, 0o644)
        try:
            mine = True
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
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


def total_of(before: Flushed, done: Flushed) -> Flushed:
    """Two passes of one flush as one."""
    return Flushed(
        delivered=before.delivered + done.delivered,
        rejected=before.rejected + done.rejected,
        parked=before.parked + done.parked,
        held=done.held,
        reason=done.reason,
    )


def sync_folder(folder: Path) -> None:
    """Make a rename in `folder` survive a crash of the machine."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
