"""How much is taken at once, and of whom how fast. Nothing waits: what is too much is refused."""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass, field
from math import ceil
from time import monotonic

from pedigree.serving.refusals import TooFastError

PRINCIPALS = 10_000
"""How many principals' buckets are kept; who was not seen for longest starts with a full one."""


@dataclass(slots=True)
class Bucket:
    """What a principal may still ask, and when that was so."""

    tokens: float
    at: float


@dataclass(slots=True)
class Rates:
    """A token bucket for each principal.

    Attributes:
        rate: how much flows in per second.
        burst: how much a bucket holds.
    """

    rate: float
    burst: int
    buckets: OrderedDict[str, Bucket] = field(default_factory=OrderedDict)

    def spend(self, principal: str) -> None:
        """Take one request's worth.

        Raises:
            TooFastError: there is less; it says when there will be enough.
        """
        now = monotonic()
        bucket = self.bucket_of(principal, now)
        bucket.tokens = min(self.burst, bucket.tokens + (now - bucket.at) * self.rate)
        bucket.at = now
        if bucket.tokens < 1:
            raise TooFastError(self.rate, ceil((1 - bucket.tokens) / self.rate * 1000))
        bucket.tokens -= 1

    def bucket_of(self, principal: str, now: float) -> Bucket:
        """A principal's bucket, full where it has none yet."""
        bucket = self.buckets.get(principal)
        if bucket is None:
            bucket = self.buckets[principal] = Bucket(self.burst, now)
            if len(self.buckets) > PRINCIPALS:
                self.buckets.popitem(last=False)
        self.buckets.move_to_end(principal)
        return bucket
