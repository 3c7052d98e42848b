"""One pass over the events of an outbox: each run's in order, and no run in the way of another."""

from __future__ import annotations

import json
import logging
import os
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from pedigree.lineage.delivery.delivery_attempts import MOST_ATTEMPTS, Attempts
from pedigree.lineage.delivery.http_sender import Delivery, HttpSender

if TYPE_CHECKING:
    from pedigree.lineage.delivery.outbox import Outbox

FAILURES_OF_AN_OUTAGE = 3
NO_TIME = "no time was left"

log = logging.getLogger(__name__)


@dataclass(slots=True)
class Dispatch:
    """Delivers what waits in `outbox` until `deadline`. Events in `tried` have failed already and are left alone.

    Attributes:
        reason: why the pass ended before its end: the backend is out, or time is.
        held: the runs whose next event failed; their later events wait behind it.
    """

    outbox: Outbox
    sender: HttpSender
    attempts: Attempts
    deadline: float
    tried: set[str]
    delivered: int = 0
    rejected: int = 0
    parked: int = 0
    reason: str = ""
    held: set[str] = field(default_factory=set)
    _failures: int = 0

    def run(self) -> None:
        """Deliver runs that nothing is known against, then try again what failed before, the least failed first."""
        waiting = self.outbox.pending()
        self.attempts.keep_only({path.name for path in waiting}, {path.name for path in self.outbox.parked()})
        failed = {name: self.outbox.folder / name for name in self.attempts.failed}
        self.held = {each.run for each in self.attempts.failed.values()}
        for path in waiting:
            if path.name not in failed and not self._send(path):
                return
        for name in sorted(self.attempts.failed.keys() & failed.keys(), key=self._order):
            if name in self.attempts.failed and name not in self.tried:
                self.held.discard(self.attempts.failed[name].run)
                if not self._send(failed[name]):
                    return

    def _order(self, name: str) -> tuple[int, bool, str]:
        attempt = self.attempts.failed[name]
        return attempt.count, attempt.open, name

    def _send(self, path: Path) -> bool:
        """Send one event unless its run is held; False if there is no use in going on."""
        left = self.deadline - time.monotonic()
        if left <= 0:
            self.reason = NO_TIME
            return False
        body = self._read(path)
        if body is None:
            return True
        run = run_of(body) or path.name
        if run in self.held:
            return True
        if self.attempts.parked.get(run, path.name) < path.name:
            self._park(path, f"it waits for {self.attempts.parked[run]} of the same run, which is parked")
            return True
        return self._take(path, run, self.sender.post(body, seconds=left))

    def _take(self, path: Path, run: str, verdict: Delivery) -> bool:
        """What the backend made of an event is what becomes of it; False if there is no use in going on."""
        if verdict.kind == "delivered":
            self._deliver(path)
        elif verdict.kind == "rejected":
            self._reject(path, verdict.reason)
            self.attempts.failed.pop(path.name, None)
        elif verdict.kind == "unavailable":
            self.reason = verdict.reason
        else:
            self._hold(path, run, verdict.reason)
        return not self.reason

    def _deliver(self, path: Path) -> None:
        path.unlink(missing_ok=True)
        self.delivered += 1
        self._failures = 0
        for name in self.attempts.succeed(path.name):
            failed = self.attempts.failed.pop(name)
            self.attempts.parked.setdefault(failed.run, name)
            times = f"the backend failed on it {MOST_ATTEMPTS} times while it took other events"
            self._park(self.outbox.folder / name, f"{times}: {failed.reason}")
            self.held.discard(failed.run)  # the rest of the run is parked behind it

    def _hold(self, path: Path, run: str, reason: str) -> None:
        if path.name not in self.attempts.failed:
            log.warning("The lineage backend failed on %s; later events of its run wait behind it: %s", path, reason)
        self.attempts.fail(path.name, run=run, reason=reason)
        self.tried.add(path.name)
        self.held.add(run)
        self._failures += 1
        if self._failures >= FAILURES_OF_AN_OUTAGE:
            self.reason = f"the backend fails on one run after the other: {reason}"

    def _park(self, path: Path, reason: str) -> None:
        self.parked += self.outbox.set_aside(path, self.outbox.parking, reason)

    def _reject(self, path: Path, reason: str) -> None:
        self.rejected += self.outbox.set_aside(path, self.outbox.rejects, reason)

    def _read(self, path: Path) -> bytes | None:
        """An event's text; None if it is gone, or cannot be read and is set aside."""
        try:
            if path.is_file():
                return path.read_bytes()
            reason = "it is no file" if path.exists() else "it is a link to nothing"
        except FileNotFoundError:
            return None
        except OSError as error:
            reason = f"it cannot be read ({error})"
        if os.path.lexists(path):
            self._reject(path, reason)
        return None


def run_of(body: bytes) -> str | None:
    """The run that an event is of; None for an event without one, or what is no event."""
    try:
        found = json.loads(body)["run"]["runId"]
    except (ValueError, TypeError, KeyError, RecursionError):
        return None
    return found if isinstance(found, str) else None
