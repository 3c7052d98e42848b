"""What is looked at in the background: whether we can answer, and, where metrics are wanted, how old views are."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from grpc_health.v1 import health_pb2

from pedigree.online.errors import DamagedError, NewerFormatError
from pedigree.online.store import redis_keys
from pedigree.online.store.eviction import policy_problem
from pedigree.online.store.load_state import LoadState
from pedigree.serving.auth.jwks import JwkSet
from pedigree.serving.data_plane.plan_cache import PlanCache
from pedigree.serving.errors import StoreUnavailableError
from pedigree.serving.settings import ServingSettings
from pedigree.serving.store.evictions import look_at_memory
from pedigree.serving.store.reader import Reader
from pedigree.serving.transport.interceptor import Interceptor

log = logging.getLogger(__name__)

READINESS = "readiness"
EVERY = 1.0
"""Seconds between two looks at the store."""
PATIENCE = 1.0
"""Seconds that the store has to answer a look, however long a request may wait for it."""
AGES_EVERY = 5
"""Looks at the store between two at the views' ages."""
STATES = {True: health_pb2.HealthCheckResponse.SERVING, False: health_pb2.HealthCheckResponse.NOT_SERVING}


@dataclass(slots=True)
class Readiness:
    """Follows the store, the plan and the keys for the health name `readiness`, and tells metrics.

    Attributes:
        metrics: the module `pedigree.serving.telemetry.metrics`, where they are wanted.
        marks: what was last seen to be loaded of each view: it grows older while the store is away.
        eviction: what is wrong with how the store makes room, as far as it was said.
    """

    reader: Reader
    plans: PlanCache
    keys: JwkSet | None
    healthy: Any
    interceptor: Interceptor
    settings: ServingSettings
    metrics: Any = None
    is_ready: bool | None = None
    marks: dict[str, LoadState] = field(default_factory=dict)
    version: str = ""
    eviction: str | None = None

    async def follow(self) -> None:
        """Look for ever."""
        looks = 0
        while True:
            await self.look()
            if self.metrics is not None:
                await self.tell(with_ages=looks % AGES_EVERY == 0)
            looks += 1
            await asyncio.sleep(EVERY)

    async def look(self) -> None:
        """Say whether we are ready, where that has changed; layouts that the store did not tell are asked for again."""
        self.reader.forget_missing_schemas()
        is_ready = await self.store_answers() and self.has_keys() and bool(self.plans.current.plan.views)
        if is_ready is not self.is_ready:
            log.info("ready: %s", is_ready)
            self.is_ready = is_ready
            await self.healthy.set(READINESS, STATES[is_ready])

    async def store_answers(self) -> bool:
        """Whether the online store takes commands."""
        try:
            async with asyncio.timeout(PATIENCE):
                await self.reader.ping()
                await look_at_memory(self.reader)
        except (StoreUnavailableError, TimeoutError):
            return False
        self.warn_of_eviction()
        return True

    def warn_of_eviction(self) -> None:
        """Say so where the store would drop rows to make room; once, until that changes."""
        problem = policy_problem(self.reader.memories)
        is_new = (problem is None) is not (self.eviction is None)
        self.eviction = problem
        if is_new and problem is not None:
            log.warning("the online store: %s", problem)
        elif is_new:
            log.info("the online store evicts no rows any more")

    def has_keys(self) -> bool:
        """Whether tokens can be verified, where some are asked for."""
        return self.keys is None or self.keys.text is not None

    async def tell(self, *, with_ages: bool) -> None:
        """Set the gauges."""
        self.metrics.ACTIVE_REQUESTS.set(self.interceptor.inside)
        self.metrics.READY.set(bool(self.is_ready))
        if self.keys is not None:
            self.metrics.KEYS.set(len(self.keys.keys))
        self.tell_plan(self.plans.current.version)
        if with_ages:
            await self.learn_marks()
            self.tell_ages((self.settings.clock_at or datetime.now(UTC)).timestamp())

    def tell_plan(self, version: str) -> None:
        """Say which plan is served by, and of the one before that it is not any more."""
        if version != self.version:
            if self.version:
                self.metrics.PLAN.labels(self.version).set(0)
            self.metrics.PLAN.labels(version).set(1)
            self.version = version

    async def learn_marks(self) -> None:
        """Read what is loaded of every view; where that fails, what was last seen stays."""
        views = tuple(self.plans.current.plan.views)
        fields = tuple(view.encode() for view in views)
        try:
            async with asyncio.timeout(PATIENCE):
                asked = [((redis_keys.marks_key(self.reader.project),), fields)]
                [texts] = await self.reader.answer(self.reader.store.hmget(asked))
        except (StoreUnavailableError, TimeoutError):
            return
        self.marks = marks_of(dict(zip(views, texts, strict=True)))

    def tell_ages(self, now: float) -> None:
        """Say how old views are."""
        for view, mark in self.marks.items():
            if mark.newest_us is not None:
                self.metrics.NEWEST.labels(view).set(now - mark.newest_us / 1e6)
            if mark.loaded_us is not None:
                self.metrics.LOADED.labels(view).set(now - mark.loaded_us / 1e6)


def marks_of(texts: Mapping[str, bytes | None]) -> dict[str, LoadState]:
    """What is loaded of each view that is told of; what cannot be read is left out, and said to the log."""
    found = {}
    for view, text in texts.items():
        try:
            if text is not None:
                found[view] = LoadState.read(text, view)
        except (DamagedError, NewerFormatError) as error:
            log.error("%s", error)
    return found
