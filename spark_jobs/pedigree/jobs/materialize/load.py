"""Rows of one audited table version into the online store: the newest of each key, encoded by column on the executors.

A first load reads every row of its time; every later one only what changed between two versions of the table (Delta's change
data feed) and what its time adds, as long as the view and the table are those that were loaded. It may be broken off and run
again at any point: the newest wins inside Redis, and what is loaded is said last.
"""

from __future__ import annotations

import logging
from contextlib import nullcontext
from dataclasses import dataclass, replace
from functools import partial
from typing import Literal, TypedDict

from pyspark.sql import DataFrame, SparkSession

from pedigree.jobs.errors import ChangesUntoldError, NothingToRollBackError, WithheldError
from pedigree.jobs.materialize.load_attempt import Attempt, attempt
from pedigree.jobs.materialize.redis_writer import Loading, Progress, Sent, now_us, write
from pedigree.jobs.materialize.table_rows import (
    changed,
    changed_keys,
    dated,
    is_same_table,
    net_changes,
    obstacle,
    removed,
    whole,
)
from pedigree.online.store import scripts
from pedigree.online.store.eviction import evicts
from pedigree.online.store.load_state import LoadState, LoadStatus
from pedigree.online.store.redis_store import RedisStore

log = logging.getLogger(__name__)

How = Literal["full", "changes", "nothing", "rollback"]

ANEW = "all of %s is loaded anew, since %s"


class LoadedFrom(TypedDict):
    """What a mark says of the view and the table that were loaded."""

    table_id: str | None
    definition: str
    keys: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Loaded:
    """What a load did: how it read the table, the keys that it had rows of, and how many of them the store took a row of."""

    load: int
    how: How
    rows: int
    written: int
    newest_us: int | None


def load(loading: Loading, redis_store: RedisStore, spark: SparkSession, *, run_id: str, progress: Progress) -> Loaded:
    """Bring the store to the table's version for a span of time. Until the first load of a view ends, nobody reads it.

    A span that does not touch what is loaded takes with it what lies between, so that what is loaded has no hole. Where what is
    loaded cannot be brought up to date in place (another load was killed or is under way, the view's definition or the table is
    another, the table does not tell what changed, Redis may have evicted rows) all of it is loaded anew beside it, and a
    warning says why.

    Args:
        progress: is told how many rows are done, from time to time.
    Raises:
        WithheldError: the version was rolled back; nothing was written.
        LoadOvertakenError: somebody else changed what is loaded meanwhile, and that stands.
    """
    loading = dated(loading, spark)
    with attempt(
        loading, redis_store, run_id=run_id, progress=progress, check=partial(refuse_withheld, loading)
    ) as tried:
        is_first = tried.before.state is not LoadStatus.LOADED
        wide = loading if is_first else loading.joined(tried.before)
        if tried.is_alone and (is_first or not (loading.keys or tried.before.keys)):
            return in_full(wide, tried, spark)
        if tried.is_alone and not tried.lacks_rows:
            reason = obstacle(wide, tried.before, spark)
            if reason is None:
                try:
                    return by_changes(wide, tried, spark)
                except ChangesUntoldError as untold:
                    reason = str(untold)
            log.warning(ANEW, loading.view, reason)
        return anew(wide, tried, spark)


def refresh(
    loading: Loading,
    redis_store: RedisStore,
    spark: SparkSession,
    *,
    run_id: str,
    progress: Progress,
    includes_withheld: bool = False,
) -> Loaded:
    """Load everything anew beside what is read, then have it read instead: no read is refused, or half answered, at any moment.

    Rows that were pushed meanwhile, or that no table has, come along. All that was loaded is loaded again, whatever the span. A
    version that was rolled back stays withheld.

    Args:
        includes_withheld: take a version that was rolled back after all.
    Raises:
        WithheldError: the version was rolled back; nothing was written.
        LoadOvertakenError: somebody else changed what is loaded meanwhile, and that stands.
    """
    loading = dated(loading, spark)
    check = partial(refuse_withheld, loading, lifts=includes_withheld)
    with attempt(loading, redis_store, run_id=run_id, progress=progress, check=check) as tried:
        is_first = tried.before.state is not LoadStatus.LOADED
        if is_first and tried.is_alone and not tried.before.readable:
            return in_full(loading, tried, spark)
        wide = loading if is_first else loading.joined(tried.before)
        return anew(wide, tried, spark, lifts=includes_withheld)


def roll_back(
    loading: Loading, redis_store: RedisStore, spark: SparkSession, *, run_id: str, progress: Progress
) -> Loaded:
    """Bring the store back to an earlier version of the table, by the keys alone that changed since.

    Until a version is published that is newer than the one that was rolled back, nothing is loaded. Where another load was
    killed or is under way, all of the earlier version is loaded anew beside what is read.

    Raises:
        NothingToRollBackError: nothing later is served; nothing was written.
        LoadOvertakenError: somebody else changed what is loaded meanwhile, and that stands.
    """
    loading = dated(loading, spark)
    with attempt(
        loading, redis_store, run_id=run_id, progress=progress, check=partial(refuse_no_later, loading)
    ) as tried:
        before = tried.before
        wide = loading.joined(before)
        is_as_loaded = before.definition == loading.definition and is_same_table(loading, before, spark)
        if tried.lacks_rows or not (tried.is_alone and is_as_loaded):
            return anew(wide, tried, spark, how="rollback")
        if loading.keys:
            try:
                with changed_keys(wide, before, spark) as keys:
                    sent = restore(keys, wide, tried, spark)
            except ChangesUntoldError as untold:
                log.warning(ANEW, loading.view, untold)
                return anew(wide, tried, spark, how="rollback")
        else:
            sent = send_newest(
                whole(wide, spark), wide, redis_store, field=tried.field, number=tried.number, is_read=True
            )
        mark = replace(
            before,
            load=tried.number,
            version=loading.version,
            committed_us=loading.committed_us,
            withheld=withheld_after(loading, before, how="rollback"),
            loaded_us=now_us(),
        )
        tried.commit_in_place(mark)
        return Loaded(tried.number, "rollback", sent.keys, sent.written, before.newest_us)


def refuse_withheld(loading: Loading, before: LoadState, *, lifts: bool = False) -> None:
    """Raise where a version was rolled back, and is not what is served."""
    is_served = before.state is LoadStatus.LOADED and before.version == loading.version
    if not lifts and before.withheld is not None and loading.published <= before.withheld and not is_served:
        raise WithheldError(loading.view, version=loading.published, served=before.version)


def refuse_no_later(loading: Loading, before: LoadState) -> None:
    """Raise where nothing is served that is later than the version to go back to."""
    if before.state is not LoadStatus.LOADED or before.version is None:
        raise NothingToRollBackError(loading.view, "nothing was loaded of it")
    if loading.version >= before.version:
        raise NothingToRollBackError(
            loading.view, f"version {before.version} is served, which is not after {loading.version}"
        )


def withheld_after(loading: Loading, before: LoadState, *, how: How, lifts: bool = False) -> int | None:
    """Up to which version nothing is loaded once a load has ended."""
    if how == "rollback":
        return max(before.version or 0, before.withheld or 0)
    is_lifted = lifts or before.withheld is None or loading.published > before.withheld
    return None if is_lifted else before.withheld


def in_full(loading: Loading, tried: Attempt, spark: SparkSession) -> Loaded:
    """Load all rows of the time in place: a first load, or a view of one row."""
    before, number = tried.before, tried.number
    is_read = before.readable
    sent = send_newest(
        whole(loading, spark), loading, tried.redis_store, field=tried.field, number=number, is_read=is_read
    )
    tried.redis_store.set_baseline(tried.field, tried.memories)
    tried.commit_in_place(after(loading, tried, sent, how="full"))
    return Loaded(number, "full", sent.keys, sent.written, sent.newest_us or before.newest_us)


def by_changes(loading: Loading, tried: Attempt, spark: SparkSession) -> Loaded:
    """Load what changed since the version that is loaded, and what the time adds."""
    before, redis_store, number = tried.before, tried.redis_store, tried.number
    grown = loading.version != before.version
    with net_changes(loading, before, spark) if grown else nullcontext() as net:
        rows = changed(loading, before, spark, net)
        sent = Sent()
        if rows is not None:
            sent = send_newest(rows, loading, redis_store, field=tried.field, number=number, is_read=True)
        gone = None if net is None else removed(loading, net)
        if gone is not None:
            sent += replace(restore(gone, loading, tried, spark), newest_us=None)
    how: How = "nothing" if rows is None else "changes"
    tried.commit_in_place(after(loading, tried, sent, how=how))
    return Loaded(number, how, sent.keys, sent.written, sent.newest_us or before.newest_us)


def anew(loading: Loading, tried: Attempt, spark: SparkSession, *, how: How = "full", lifts: bool = False) -> Loaded:
    """Load all rows of the time into a field of their own, and have that read."""
    tried.forget_the_dead()
    rows, number = whole(loading, spark), tried.number
    sent = send_newest(rows, loading, tried.redis_store, field=tried.own_field, number=number, is_read=False)
    mark = LoadState(
        state=LoadStatus.LOADED,
        generation=number,
        load=number,
        version=loading.version,
        committed_us=loading.committed_us,
        since_us=loading.since_us,
        until_us=min(loading.until_us, loading.latest_us),
        newest_us=sent.newest_us,
        loaded_us=now_us(),
        rows=sent.keys,
        withheld=withheld_after(loading, tried.before, how=how, lifts=lifts),
        evictable=evicts(tried.memories),
        **provenance(loading),
    )
    tried.commit_own_field(mark)
    return Loaded(number, how, sent.keys, sent.written, sent.newest_us)


def send_newest(
    rows: DataFrame, loading: Loading, redis_store: RedisStore, *, field: bytes, number: int, is_read: bool
) -> Sent:
    """Send the newest row of each key, or all rows where Redis may find the newest.

    Redis may where nobody reads the field yet, since a reader would see the older rows go by, and where few keys have more
    than one row.
    """
    needs_newest = is_read or not loading.join_keys or loading.crowded(rows)
    chosen = loading.newest(rows) if needs_newest else loading.known(rows)
    script = scripts.WRITE if loading.join_keys else scripts.RESTORE
    return write(chosen, loading, redis_store, field=field, number=number, script=script)


def after(loading: Loading, tried: Attempt, sent: Sent, *, how: How) -> LoadState:
    """What is loaded once a load in place has ended."""
    before = tried.before
    reached = min(loading.until_us, loading.latest_us)
    return LoadState(
        state=LoadStatus.LOADED,
        generation=before.generation,
        load=tried.number,
        version=loading.version,
        committed_us=loading.committed_us,
        since_us=loading.since_us,
        until_us=reached if before.until_us is None else max(reached, before.until_us),
        newest_us=(Sent(newest_us=before.newest_us) + sent).newest_us,
        loaded_us=now_us(),
        rows=sent.keys if how == "full" else before.rows,
        withheld=withheld_after(loading, before, how=how),
        evictable=evicts(tried.memories) if how == "full" else before.evictable,
        **provenance(loading),
    )


def provenance(loading: Loading) -> LoadedFrom:
    """By which definition, and from which table, something is loaded."""
    return {"table_id": loading.table_id, "definition": loading.definition, "keys": tuple(loading.keys)}


def restore(keys: DataFrame, loading: Loading, tried: Attempt, spark: SparkSession) -> Sent:
    """Give keys the newest row that the table has of them in all that is loaded, or none, whatever the store holds."""
    rows = keys.join(loading.newest(whole(loading, spark)), on=loading.keys, how="left")
    return write(rows, loading, tried.redis_store, field=tried.field, number=tried.number, script=scripts.RESTORE)
