"""Lines of the log on their way out: whoever reads them slowly, or not at all, keeps no request waiting."""

from __future__ import annotations

import logging
import os
import time
from queue import Full, Queue
from threading import Thread

LINES = 10_000
"""How many lines wait at most; what comes then is dropped, and counted."""
PATIENCE = 2.0
"""Seconds that the end of the process waits for lines that nobody reads."""


class LogQueue(logging.Handler):
    """Hands finished lines to a thread that writes them to a file descriptor.

    The thread takes no lock, so that a process may end while it waits for somebody to read.

    Attributes:
        dropped: how many lines found no room since the last that did.
    """

    def __init__(self, descriptor: int, lines: int = LINES) -> None:
        super().__init__()
        self.descriptor = descriptor
        self.waiting: Queue[str] = Queue(lines)
        self.dropped = 0
        Thread(target=self.write, name="log", daemon=True).start()

    def emit(self, record: logging.LogRecord) -> None:
        """Put a line into the queue where there is room, after one that says how many found none."""
        try:
            if self.dropped and self.put(self.format(told_lost(self.dropped))):
                self.dropped = 0
            self.dropped += not self.put(self.format(record))
        except Exception:
            self.handleError(record)

    def put(self, line: str) -> bool:
        """Whether there was room for a line."""
        try:
            self.waiting.put_nowait(line)
        except Full:
            return False
        return True

    def write(self) -> None:
        """Write lines for as long as the process lives. Where nobody can read any more, they go nowhere."""
        while True:
            left = f"{self.waiting.get()}\n".encode(errors="backslashreplace")
            while left:
                try:
                    left = left[os.write(self.descriptor, left) :]
                except OSError:
                    break
            self.waiting.task_done()

    def flush(self) -> None:
        """Wait until the lines are written, but no longer than `PATIENCE`."""
        until = time.monotonic() + PATIENCE
        while self.waiting.unfinished_tasks and time.monotonic() < until:
            time.sleep(0.01)


def told_lost(lines: int) -> logging.LogRecord:
    """The record that says how many lines were dropped."""
    text = f"{lines} lines of the log were dropped, since nobody read it"
    return logging.LogRecord(__name__, logging.WARNING, __file__, 0, text, None, None)
