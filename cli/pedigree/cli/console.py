"""How the command talks: plain lines for people on stdout; what the engines say goes to a log."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

from pedigree.cli.checkout import STATE

ENGINE_LOG = STATE / "logs" / "engines.log"
LINE = 200
"""Columns of a table where stdout is no terminal; lines of text are not broken there."""


@contextmanager
def engines_to_log() -> Iterator[Console]:
    """Within the block everything that Spark, Feast and their children print goes to `ENGINE_LOG`.

    Yields:
        a console on the real stdout.
    """
    ENGINE_LOG.parent.mkdir(parents=True, exist_ok=True)
    sys.stdout.flush()
    sys.stderr.flush()
    out, err = os.dup(1), os.dup(2)
    with open_log(ENGINE_LOG) as log, os.fdopen(os.dup(out), "w", buffering=1) as real:
        os.dup2(log, 1)
        os.dup2(log, 2)
        try:
            yield Console(
                file=real, highlight=False, soft_wrap=not real.isatty(), width=None if real.isatty() else LINE
            )
        finally:
            sys.stdout.flush()
            sys.stderr.flush()
            os.dup2(out, 1)
            os.dup2(err, 2)
            os.close(out)
            os.close(err)


@contextmanager
def open_log(path: Path) -> Iterator[int]:
    """The file descriptor of an emptied log. Engines are not ours to silence, so nobody else on this machine may read it."""
    log = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_APPEND, 0o600)
    os.fchmod(log, 0o600)
    try:
        yield log
    finally:
        os.close(log)


@contextmanager
def working(console: Console, total: int) -> Iterator[tuple[Callable[[str], None], Callable[[], None]]]:
    """A progress bar of `total` parts: one function to say what goes on, one to say that a part is done.

    Where stdout is no terminal nothing is drawn, and the lines that follow say what was done.
    """
    columns = (
        SpinnerColumn(),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TextColumn("{task.description}"),
    )
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as progress:
        task = progress.add_task("", total=total)
        yield (lambda text: progress.update(task, description=text), lambda: progress.advance(task))


class Stopwatch:
    """Seconds since it was made, or since the last lap."""

    def __init__(self) -> None:
        self._since = time.monotonic()

    def so_far(self) -> float:
        """The seconds since then; goes on."""
        return time.monotonic() - self._since

    def lap(self) -> float:
        """The seconds since the last lap."""
        now = time.monotonic()
        seconds, self._since = now - self._since, now
        return seconds
