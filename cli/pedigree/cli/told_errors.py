"""Which errors are told to a user in one line: those whose message was written for people."""

from __future__ import annotations

import sys

from pedigree.cli.errors import PedigreeError
from pedigree.lineage.errors import LineageError
from pedigree.online.errors import OnlineError
from pedigree.serving.errors import ServingError

TOLD = (PedigreeError, ServingError, LineageError, OnlineError)
TOLD_ONCE_IMPORTED = {
    "feast.errors": "FeastError",
    "pedigree.features.errors": "RepositoryError",
    "pedigree.jobs.errors": "JobError",
}
"""Roots of errors in modules that not every installation has, and that not every command needs."""


def is_told(error: Exception) -> bool:
    """True for errors whose message is written for people."""
    roots = (getattr(sys.modules[name], root) for name, root in TOLD_ONCE_IMPORTED.items() if name in sys.modules)
    return isinstance(error, (*TOLD, *roots))
