"""What Prometheus is told. Counted in files that all processes share, where `PROMETHEUS_MULTIPROC_DIR` names a folder.

Imported only where metrics are wanted: `prometheus_client` looks at the environment once, when it is imported.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from time import perf_counter
from typing import Any

from prometheus_client import Counter, Gauge, Histogram

from pedigree.serving.store.redis_client import HashFields, Store

FAST = (0.0002, 0.0005, 0.001, 0.002, 0.003, 0.005, 0.0075, 0.01, 0.02, 0.05, 0.1, 0.25, 0.5, 1, 2.5)
"""Seconds; a request takes a millisecond or two."""

REQUESTS = Histogram(
    "pedigree_serving_request_seconds",
    "Time of a request inside the server, by RPC, feature service (empty: by references) and gRPC code.",
    ("rpc", "service", "code"),
    buckets=FAST,
)
STORE = Histogram("pedigree_serving_store_seconds", "Time of a read of the online store.", ("outcome",), buckets=FAST)
REFUSED = Counter("pedigree_serving_refused", "Requests that were refused before any work, by reason.", ("reason",))
SAMPLED = Counter(
    "pedigree_serving_sampled_values",
    "Values of sampled replies by view and status; only their ratios mean something.",
    ("view", "status"),
)
ACTIVE_REQUESTS = Gauge("pedigree_serving_active_requests", "Requests that are under way.", multiprocess_mode="livesum")
READY = Gauge(
    "pedigree_serving_ready",
    "1 where the online store answers and tokens can be verified.",
    multiprocess_mode="livemin",
)
PLAN = Gauge(
    "pedigree_serving_plan_info", "How many processes serve by this plan.", ("version",), multiprocess_mode="livesum"
)
NEWEST = Gauge(
    "pedigree_serving_view_newest_event_age_seconds",
    "Age of the newest event time that a load wrote of a view.",
    ("view",),
    multiprocess_mode="livemostrecent",
)
LOADED = Gauge(
    "pedigree_serving_view_loaded_age_seconds",
    "Time since the last load of a view ended.",
    ("view",),
    multiprocess_mode="livemostrecent",
)
KEYS = Gauge("pedigree_serving_keys", "Public keys of the tokens' issuer that are known.", multiprocess_mode="livemin")

child = lru_cache(maxsize=4096)(REQUESTS.labels)


def count_request(rpc: str, service: str, code: str, seconds: float) -> None:
    """A request came to its end."""
    child(rpc, service, code).observe(seconds)


def count_refused(reason: str) -> None:
    """A request was refused."""
    REFUSED.labels(reason).inc()


def count_values(counts: Mapping[tuple[str, str], int]) -> None:
    """So many values of a view had a status."""
    for (view, status), number in counts.items():
        SAMPLED.labels(view, status).inc(number)


class TimedStore:
    """A store whose reads are timed."""

    def __init__(self, store: Store) -> None:
        self.store = store
        self.read, self.failed = STORE.labels("read"), STORE.labels("failed")

    async def hmget(self, hash_fields: HashFields) -> list[Any]:
        """See `Store`."""
        start, outcome = perf_counter(), self.failed
        try:
            found = await self.store.hmget(hash_fields)
            outcome = self.read
            return found
        finally:
            outcome.observe(perf_counter() - start)

    async def get(self, key: bytes) -> Any:
        """See `Store`."""
        return await self.store.get(key)

    async def info(self) -> list[bytes]:
        """See `Store`."""
        return await self.store.info()

    async def ping(self, key: bytes) -> None:
        """See `Store`."""
        await self.store.ping(key)

    async def close(self) -> None:
        """See `Store`."""
        await self.store.close()
