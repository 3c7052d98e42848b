"""Damaged records, told to whoever reads the log: a view's name and why, now and then, however many there are."""

from __future__ import annotations

import logging

from pedigree.serving.limits import Rates
from pedigree.serving.refusals import TooFastError

log = logging.getLogger(__name__)

LINES = Rates(rate=0.1, burst=3)
"""One line in ten seconds for each view."""


def note_damage(view: str, reason: str) -> None:
    """A record of a view cannot be told."""
    try:
        LINES.spend(view)
    except TooFastError:
        return
    log.error(
        "a record of %s is damaged, and is answered as INVALID: %s; fill the view again: pedigree rebuild %s",
        view,
        reason,
        view,
    )
