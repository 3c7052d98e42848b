"""The plan that is served by: kept beside the rows, looked at every few seconds, and the last good one kept on disk."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path

from pedigree.online.errors import PlanError
from pedigree.online.plans.plan import Plan
from pedigree.online.plans.plan_json import decoded, version_of
from pedigree.serving.bounds import Bounds
from pedigree.serving.data_plane.selection import Selection, selection_of
from pedigree.serving.errors import NotAppliedError, StoreUnavailableError, StoreUnreachableError
from pedigree.serving.lru import Lru
from pedigree.serving.store.reader import Reader

log = logging.getLogger(__name__)

COLUMNS_KEPT = 1 << 16
"""How many columns the ways of asking have, together, that are kept compiled: a column takes one or two kilobytes."""


@dataclass(slots=True)
class CurrentPlan:
    """A plan, and the ways of asking that were compiled from it. One object per plan: a request keeps the one it began with."""

    plan: Plan
    version: str
    bounds: Bounds
    selections: Lru[tuple[object, ...], Selection] = field(default_factory=lambda: Lru(COLUMNS_KEPT))

    @classmethod
    def of(cls, plan: Plan) -> CurrentPlan:
        """A plan that nothing was asked of yet."""
        return cls(plan, version_of(plan), Bounds.of(plan))

    def selection(self, service: str | None, references: Sequence[str], *, full_names: bool) -> Selection:
        """What is asked for; see `selection_of`."""
        name = (service, tuple(references), full_names)
        found = self.selections.get(name)
        if found is None:
            found = selection_of(self.plan, service, references, full_names=full_names)
            self.selections.keep(name, found, weight=1 + len(found.columns))
        return found


def readable(text: bytes | None) -> tuple[Plan | None, PlanError | None]:
    """The plan that a text holds; None where there is none, or none that can be read, and then why."""
    if text is None:
        return None, None
    try:
        return decoded(text), None
    except PlanError as error:
        log.error("a plan is refused: %s", error)
        return None, error


def kept_text(file: Path) -> bytes | None:
    """What a file holds; None where it cannot be read, which the log then says."""
    try:
        return file.read_bytes() if file.is_file() else None
    except OSError as error:
        log.error("the plan that is kept in %s cannot be read: %s", file, error)
        return None


@dataclass(slots=True)
class PlanCache:
    """Where plans come from.

    Attributes:
        kept: the file that holds the last good plan, so that a server starts while its store is away.
    """

    reader: Reader
    kept: Path
    current: CurrentPlan
    seen: bytes | None = None

    @classmethod
    async def open(cls, reader: Reader, *, kept: Path, feature_store_yaml: Path) -> PlanCache:
        """The plan as it stands now.

        Raises:
            NotAppliedError: there is none, or nothing in it.
            StoreUnreachableError: none is kept, and the store cannot be asked.
            PlanError: none is kept, and that of the store cannot be read.
        """
        text, unreachable = None, None
        try:
            text = await reader.plan()
        except StoreUnavailableError as error:
            unreachable = StoreUnreachableError(str(feature_store_yaml), str(error.__cause__) or "no answer in time")
        plan, refusal = readable(text)
        if plan is None:
            text = kept_text(kept)
            plan, _ = readable(text)
        why = unreachable or refusal
        if plan is None and why:
            raise why
        if plan is None or plan.project != reader.project or not plan.views:
            raise NotAppliedError(reader.project, str(feature_store_yaml))
        plans = cls(reader, kept, CurrentPlan.of(plan), text)
        plans.keep(text or b"")
        return plans

    async def follow(self, every: timedelta) -> None:
        """Take up every new plan, for ever. One that cannot be read or fetched leaves the last good one in place."""
        while True:
            await asyncio.sleep(every.total_seconds())
            try:
                await self.look()
            except StoreUnavailableError:
                log.warning("the plan could not be looked at; %s is served on", self.current.version)
            except Exception:  # whatever is wrong with a new plan, the one that is served is right
                log.exception("a new plan cannot be taken up; %s is served on", self.current.version)

    async def look(self) -> None:
        """Take up the plan that is kept beside the rows, where it is a new one."""
        text = await self.reader.plan()
        if text is None or text == self.seen:
            return
        self.seen = text
        try:
            plan = decoded(text)
        except PlanError as error:
            log.error("a new plan is refused, and %s is served on: %s", self.current.version, error)
            return
        if plan.project != self.reader.project:
            log.error("a new plan is of the project %r; %s is served on", plan.project, self.current.version)
            return
        self.current = CurrentPlan.of(plan)
        self.keep(text)
        log.info("serving by plan %s", self.current.version)

    def keep(self, text: bytes) -> None:
        """Keep a good plan on disk, whole or not at all."""
        try:
            self.kept.parent.mkdir(parents=True, exist_ok=True)
            beside = self.kept.with_name(f"{self.kept.name}.{id(self)}")
            beside.write_bytes(text)
            beside.replace(self.kept)
        except OSError as error:
            log.warning("the plan cannot be kept in %s: %s", self.kept, error)
