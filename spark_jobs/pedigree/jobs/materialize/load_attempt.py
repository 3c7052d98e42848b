"""One try at changing what is loaded of a view, beside others that may do so at the same time or were killed half-way.

A try takes note of the mark when it begins, and sets a new one only if the mark is still what it was (compare and set). Until
then it is known as open. Rows are changed in place only where no other try is open; otherwise they are written into a field of
their own (the generation has the try's number), which nobody reads before the mark says so. So whoever sets the mark first
wins, and what the others wrote is never read.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace

from pedigree.jobs.errors import JobError, LoadOvertakenError
from pedigree.jobs.materialize.redis_writer import Loading, Progress, telling
from pedigree.online.store import redis_keys
from pedigree.online.store.eviction import Memory
from pedigree.online.store.load_state import Load, LoadState, LoadStatus, OpenLoad
from pedigree.online.store.redis_store import RedisStore

log = logging.getLogger(__name__)

TRIES = 100
"""How often a mark is read again that others are just changing."""

Check = Callable[[LoadState], None]
"""Raises where what is loaded of a view does not allow what is to be done."""


@dataclass(frozen=True, slots=True)
class Attempt:
    """A load, rebuild or rollback under way.

    Attributes:
        number: the load's number, which its records bear.
        seen: the mark as it was kept when this began; empty where the store did not know the view.
        before: what it says.
        others: other tries that were open then, running or killed.
        memories: what each Redis said then of its memory; None where our user may not ask.
        lacks_rows: whether Redis may have evicted rows of what is loaded, so that all of it has to be sent again.
    """

    loading: Loading
    redis_store: RedisStore
    number: int
    seen: bytes
    before: LoadState
    others: dict[int, OpenLoad]
    memories: tuple[Memory, ...] | None
    lacks_rows: bool

    @property
    def is_alone(self) -> bool:
        """True where nobody else may have changed rows since the mark was set, or may do so now."""
        return not self.others

    @property
    def prefix(self) -> bytes:
        """What the keys of the view's entities start with."""
        return redis_keys.entity_prefix(self.redis_store.project, self.loading.keys)

    @property
    def field(self) -> bytes:
        """The field that is read."""
        return redis_keys.field(self.loading.view, self.before.generation)

    @property
    def own_field(self) -> bytes:
        """A field that nobody else writes, and nobody reads until the mark says so."""
        return redis_keys.field(self.loading.view, self.number)

    def forget_former_keys(self) -> None:
        """Delete the rows that stand where the view's former keys put them."""
        if self.before.keys is None or list(self.before.keys) == self.loading.keys:
            return
        former = redis_keys.entity_prefix(self.redis_store.project, list(self.before.keys))
        for generation in {self.before.generation, *self.others}:
            self.redis_store.forget(redis_keys.field(self.loading.view, generation), former)

    def forget_the_dead(self) -> None:
        """Free what tries that are dead left in fields of their own. One that lives after all can set no mark any more."""
        dead = [number for number in self.others if not self.redis_store.is_alive(number)]
        self.redis_store.strike_off(dead)
        now = self.redis_store.mark(self.loading.view) or self.before  # what was struck off cannot become it any more
        for number in dead:
            if number != now.generation:
                self.redis_store.forget(redis_keys.field(self.loading.view, number), self.prefix)

    def commit_in_place(self, mark: LoadState) -> None:
        """Say what is loaded, after rows were changed in the field that is read.

        Raises:
            LoadOvertakenError: somebody else said so first; theirs stands.
        """
        if self.redis_store.swap_mark(self.loading.view, self.seen, mark, number=self.number, becomes=None):
            return
        now = self.redis_store.mark(self.loading.view)
        if now is None or not now.readable or now.generation != self.before.generation:
            self.redis_store.forget_load(self.field, self.prefix, self.number)
            self.redis_store.strike_off([self.number])
        raise self.overtaken(now)

    def commit_own_field(self, mark: LoadState) -> None:
        """Have the own field read in place of the one that is read now; rows that were pushed come along.

        Raises:
            LoadOvertakenError: somebody else changed what is loaded first; theirs stands.
        """
        self.redis_store.move(self.field, self.own_field, self.prefix, ends=False)
        self.redis_store.set_baseline(self.own_field, self.memories)
        becomes = OpenLoad(self.loading.view, moves_from=self.before.generation)
        if not self.redis_store.swap_mark(self.loading.view, self.seen, mark, number=self.number, becomes=becomes):
            self.redis_store.forget(self.own_field, self.prefix)
            self.redis_store.strike_off([self.number])
            raise self.overtaken(self.redis_store.mark(self.loading.view))
        self.redis_store.move(self.field, self.own_field, self.prefix, ends=True)
        for number in self.others:
            self.redis_store.forget(redis_keys.field(self.loading.view, number), self.prefix)
        self.forget_former_keys()
        self.redis_store.strike_off([*self.others, self.number])

    def overtaken(self, now: LoadState | None) -> LoadOvertakenError:
        """What is raised where somebody else was first."""
        said = (
            "the store no longer knows it"
            if now is None
            else f"now {now.state}, version {now.version}, load {now.load}"
        )
        return LoadOvertakenError(self.loading.view, number=self.number, now=said)


@contextmanager
def attempt(
    loading: Loading, redis_store: RedisStore, *, run_id: str, progress: Progress, check: Check
) -> Iterator[Attempt]:
    """A try within the block. Whatever ends it before it commits leaves it open, since rows may have been changed.

    Args:
        progress: is told how many rows are done, from time to time.
        check: what must hold of the view's mark; where it raises, nothing was begun.
    """
    redis_store.register(loading.schema)
    memories = redis_store.memories()
    number = redis_store.begin(Load(loading.view, run_id, loading.uri, loading.version))
    with telling(redis_store, number, progress):
        others = redis_store.open_loads(
            loading.view
        )  # before the mark: who sets it after this has been seen to be open
        others.pop(number, None)
        try:
            seen, before = noticed(loading.view, redis_store, number)
            check(before)
        except JobError:
            redis_store.strike_off([number])
            raise
        if finish(loading, redis_store, before):
            others.pop(before.generation, None)
        yield Attempt(
            loading, redis_store, number, seen, before, others, memories, lacks_rows(loading.view, redis_store, before)
        )


def lacks_rows(view: str, redis_store: RedisStore, before: LoadState) -> bool:
    """Whether Redis may have evicted rows of what is loaded."""
    if not before.readable or not redis_store.may_lack_rows(view, before):
        return False
    log.warning("Redis has evicted keys since %s was filled; all of it is sent again", view)
    return True


def finish(loading: Loading, redis_store: RedisStore, before: LoadState) -> bool:
    """Do what the try whose field is read still had to do, where it was killed just then; False where there was nothing."""
    last = redis_store.open_loads(loading.view).get(before.generation)
    if last is None or last.moves_from is None:
        return False
    old, new = (redis_keys.field(loading.view, generation) for generation in (last.moves_from, before.generation))
    redis_store.move(old, new, redis_keys.entity_prefix(redis_store.project, loading.keys), ends=True)
    redis_store.strike_off([before.generation])
    return True


def noticed(view: str, redis_store: RedisStore, number: int) -> tuple[bytes, LoadState]:
    """The mark of a view, as it is kept and as it says; a view that cannot be read is marked as loading.

    Raises:
        LoadOvertakenError: others change it all the time.
    """
    for _ in range(TRIES):
        seen = redis_store.mark_text(view)
        before = LoadState.read(seen, view) if seen else LoadState(LoadStatus.DECLARED)
        if before.readable:
            return seen, before
        begun = replace(before, state=LoadStatus.LOADING)
        if redis_store.swap_mark(view, seen, begun, number=number, becomes=OpenLoad(view)):
            return begun.text().encode(), begun
    raise LoadOvertakenError(view, number=number, now="it changes all the time")
