"""The log lines of requests that were not answered: why, and who asked. A flood of requests is no flood of lines."""

from __future__ import annotations

import logging
from collections import Counter
from dataclasses import dataclass, field

import grpc

from pedigree.serving.limits import Rates
from pedigree.serving.refusals import TooFastError, UnauthenticatedError
from pedigree.serving.status_codes import REFUSED

log = logging.getLogger(__name__)

LINES_PER_SECOND, LINES_AT_ONCE = 10, 20
LONGEST_TEXT = 256
"""Characters of a caller's name, and of a reason, in one line."""


@dataclass(slots=True)
class RefusalLog:
    """Logs refused requests, a bounded number of lines per second for each kind of refusal.

    Attributes:
        left_out: how many refusals of each kind were not logged since its last line.
    """

    rates: Rates = field(default_factory=lambda: Rates(rate=LINES_PER_SECOND, burst=LINES_AT_ONCE))
    left_out: Counter[str] = field(default_factory=Counter)

    def note(self, error: Exception, code: grpc.StatusCode, caller: str) -> None:
        """Log that a request was refused with `code`, unless that was just logged often enough.

        Args:
            caller: who asked: a token's subject, a certificate's name, or an address.
        """
        kind = REFUSED.get(type(error), code.name)
        try:
            self.rates.spend(kind)
        except TooFastError:
            self.left_out[kind] += 1
            return
        unlogged = self.left_out.pop(kind, 0)
        more = f"; {unlogged} more like it were not logged" if unlogged else ""
        log.info("refused %s with %s (%s): %s%s", clipped(caller), code.name, kind, clipped(reason_of(error)), more)


def reason_of(error: Exception) -> str:
    """Why a request was refused, for operators: the caller itself is not told what is wrong with its token."""
    return error.reason if isinstance(error, UnauthenticatedError) else str(error)


def clipped(text: str) -> str:
    """A text in quotes, on one line and of a bounded length."""
    return repr(text if len(text) <= LONGEST_TEXT else text[:LONGEST_TEXT] + "…")
