"""How often the backend has failed on an event while it took others: what tells a poisonous event from an outage.

A failure counts once another event has been delivered after it. During an outage nothing is delivered, so nothing counts.
"""

from __future__ import annotations

import json
import logging
from dataclasses import asdict, dataclass, replace
from pathlib import Path

MOST_ATTEMPTS = 10

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class DeliveryAttempt:
    """What is known of an event that the backend failed on: its run, the failures that count, and the last reason.

    `open` is True for a failure since which nothing was delivered.
    """

    run: str
    count: int = 0
    open: bool = True
    reason: str = ""


class Attempts:
    """The events of an outbox that the backend failed on, by file name, and the runs that have a parked event.

    Only the deliverer whose turn it is reads or writes it.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._kept = ""
        self.failed: dict[str, DeliveryAttempt] = {}
        self.parked: dict[str, str] = {}

    @classmethod
    def load(cls, folder: Path) -> Attempts:
        """What was noted in `folder`; a note that cannot be read is begun anew, since it only counts."""
        attempts = cls(folder / ".attempts")
        try:
            noted = json.loads(attempts._path.read_bytes())
            attempts.failed = {name: DeliveryAttempt(**each) for name, each in noted["failed"].items()}
            attempts.parked = dict(noted["parked"])
        except FileNotFoundError:
            log.debug("Nothing was noted in %s yet.", folder)
        except (OSError, ValueError, TypeError, KeyError, AttributeError) as error:
            log.warning("%s cannot be read (%s); failed deliveries are counted from 0 again.", attempts._path, error)
        attempts._kept = attempts._text()
        return attempts

    def save(self) -> None:
        """Keep the note, whole or not at all, if it has changed."""
        text = self._text()
        if text != self._kept:
            partial = self._path.with_name(f"{self._path.name}.partial")
            partial.write_text(text)
            partial.rename(self._path)
            self._kept = text

    def _text(self) -> str:
        return json.dumps({"failed": {name: asdict(each) for name, each in self.failed.items()}, "parked": self.parked})

    def fail(self, name: str, *, run: str, reason: str) -> None:
        """The backend failed on an event."""
        self.failed[name] = replace(self.failed.get(name, DeliveryAttempt(run)), open=True, reason=reason)

    def succeed(self, name: str) -> list[str]:
        """An event was delivered, so failures before it count. Returns the events that have failed too often."""
        self.failed.pop(name, None)
        for other, each in self.failed.items():
            if each.open:
                self.failed[other] = replace(each, count=each.count + 1, open=False)
        return [other for other, each in self.failed.items() if each.count >= MOST_ATTEMPTS]

    def keep_only(self, waiting: set[str], parked: set[str]) -> None:
        """Forget events that are no longer there."""
        self.failed = {name: each for name, each in self.failed.items() if name in waiting}
        self.parked = {run: name for run, name in self.parked.items() if name in parked}
