"""The background thread that keeps trying to empty the outbox."""

from __future__ import annotations

import logging
import time
from threading import Event, Thread

from pedigree.lineage.delivery.http_sender import HttpSender
from pedigree.lineage.delivery.outbox import Flushed, Outbox

FIRST_PAUSE = 0.2
LONGEST_PAUSE = 15.0
IDLE_SECONDS = 5.0
PATIENCE_SECONDS = 60.0

log = logging.getLogger(__name__)


class DeliveryThread:
    """A daemon thread that delivers what waits, also what other, dead processes left, and backs off while it cannot."""

    def __init__(self, outbox: Outbox) -> None:
        self._outbox = outbox
        self._awake = Event()
        self._closing = Event()
        self._closing_at = 0.0
        self._thread = Thread(target=self._work, name="lineage-delivery", daemon=True)

    @classmethod
    def start(cls, outbox: Outbox) -> DeliveryThread:
        """Start delivering `outbox`."""
        deliverer = cls(outbox)
        deliverer._thread.start()
        return deliverer

    def wake(self) -> None:
        """There is something new to deliver."""
        self._awake.set()

    def close(self, seconds: float) -> None:
        """Deliver what can be within `seconds`, then stop."""
        self._closing_at = time.monotonic() + seconds
        self._closing.set()
        self._awake.set()
        self._thread.join(seconds)
        left = self._outbox.waiting()
        if left:
            log.warning(
                "%d lineage events wait in %s. The next run delivers them, and so does `pedigree lineage flush`.",
                left,
                self._outbox.folder,
            )

    def _work(self) -> None:
        pause, retry_at = FIRST_PAUSE, 0.0
        with HttpSender(self._outbox.settings) as sender:
            while not self._closing.is_set():
                self._awake.clear()
                retry = time.monotonic() >= retry_at
                done = self._attempt(sender, PATIENCE_SECONDS, retry=retry)
                if not done.reason:
                    pause = FIRST_PAUSE
                    self._awake.wait(IDLE_SECONDS)
                    continue
                if pause == FIRST_PAUSE:
                    log.warning("Lineage events wait in %s: %s", self._outbox.folder, done.reason)
                if retry:
                    retry_at = time.monotonic() + pause
                    pause = min(pause * 2, LONGEST_PAUSE)
                # what fails waits for its time; the others are delivered as they come, unless the backend is out
                (self._awake if done.held else self._closing).wait(max(retry_at - time.monotonic(), 0))
            self._attempt(sender, self._closing_at - time.monotonic())

    def _attempt(self, sender: HttpSender, seconds: float, *, retry: bool = True) -> Flushed:
        try:
            return self._outbox.flush(seconds, sender=sender, retry=retry)
        except OSError as error:  # the outbox itself is out of reach: try again, as with a backend
            return Flushed(reason=str(error))
