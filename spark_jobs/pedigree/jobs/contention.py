"""Several who write one table at once: on this machine one after the other, elsewhere again where another was quicker."""

from __future__ import annotations

import fcntl
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar
from urllib.parse import urlsplit
from urllib.request import url2pathname

from delta.exceptions import (
    ConcurrentAppendException,
    ConcurrentDeleteDeleteException,
    ConcurrentDeleteReadException,
    ConcurrentTransactionException,
    ConcurrentWriteException,
    DeltaConcurrentModificationException,
    MetadataChangedException,
    ProtocolChangedException,
)
from py4j.protocol import Py4JJavaError

from pedigree.jobs.errors import TableContendedError, TableUnwritableError

ATTEMPTS = 5
"""How often a write is tried that others keep coming in before."""

OTHERS_WERE_QUICKER = (
    *(ConcurrentAppendException, ConcurrentDeleteDeleteException, ConcurrentDeleteReadException),
    *(ConcurrentTransactionException, ConcurrentWriteException, DeltaConcurrentModificationException),
    *(MetadataChangedException, ProtocolChangedException),
)
"""What Delta raises where another commit came in between; in Python they have no root of their own."""

T = TypeVar("T")


@contextmanager
def exclusive(uri: str) -> Iterator[None]:
    """Nobody else of us writes the table at `uri`, or what is kept beside it, while the block runs.

    Where the table is on this machine's disk: Delta's log is written there without a guard between processes. Elsewhere the
    object store guards the log. The lock ends with its process, however that ends.

    Raises:
        TableUnwritableError: its folder is none, or may not be written to.
    """
    parts = urlsplit(uri)
    if parts.scheme != "file":
        yield
        return
    table = Path(url2pathname(parts.path))
    try:
        table.parent.mkdir(parents=True, exist_ok=True)
        opened = (table.parent / f".{table.name}.lock").open("w")
    except OSError as error:
        raise TableUnwritableError(table.name, cause=str(error)) from error
    with opened as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def contended(write: Callable[[], T], table: str) -> T:
    """What a write gives that is made anew where somebody else's commit came in before it. It must replace what it wrote.

    Raises:
        TableContendedError: others were quicker each time; nothing was written.
        TableUnwritableError: it failed otherwise.
    """
    for attempt in range(ATTEMPTS):
        try:
            return write()
        except OTHERS_WERE_QUICKER as error:
            if attempt == ATTEMPTS - 1:
                raise TableContendedError(table, attempts=ATTEMPTS) from error
        except Py4JJavaError as error:
            raise TableUnwritableError(table, cause=root_cause(error)) from error
    raise AssertionError


def root_cause(error: Py4JJavaError) -> str:
    """What an error of Spark's began with, in one line."""
    found = error.java_exception
    while found.getCause() is not None:
        found = found.getCause()
    return " ".join(str(found.toString()).split())
