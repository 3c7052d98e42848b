"""Rows from Spark into the store: encoded by column on the executors, and written from there."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from functools import partial, reduce
from hashlib import blake2b
from operator import and_
from threading import Event, Thread
from typing import Any

import pyarrow as pa
from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from pedigree.jobs.column_names import all_named, is_key, named
from pedigree.online.errors import UnfitRowError, UnfitValueError, shortened
from pedigree.online.records import batch_encoder
from pedigree.online.records.record import Schema
from pedigree.online.store import pipelined_writer, redis_keys, scripts
from pedigree.online.store.address import Address
from pedigree.online.store.load_state import LoadState
from pedigree.online.store.redis_store import RedisStore

COUNTS = "keys long, written long, newest_us long, refused string"

CROWDED = 2.0
"""From so many rows of a key on the newest of each are found by a shuffle; below, it costs less to have Redis find them."""

ONE_KEY_OF = 32
"""How many keys there are for each that is looked at to tell how many rows keys have."""

BEHIND = (
    "%s is loaded until %s, and this machine's clock has only come to %s. All of that stays loaded. Look at the clocks: that of "
    "the load before was ahead, or this one was set back"
)

UNFINISHED = "The load did not finish, and the next one starts over."
UNFIT = (TypeError, ValueError, AssertionError, AttributeError, OverflowError)
"""What Feast's conversion raises for a value that is none of its type."""

Progress = Callable[[int], object]

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Sent:
    """What became of rows on their way into the store.

    Attributes:
        keys: how many keys they are of; where several rows of a key meet a newer one that was pushed, each counts.
        written: how many of these the store took a row of, as newer than its own.
        newest_us: the newest event time, where there is one.
        refused: what is wrong with a row that the store cannot hold; nothing of its batch was sent, nor of those after it.
    """

    keys: int = 0
    written: int = 0
    newest_us: int | None = None
    refused: str | None = None

    def __add__(self, other: Sent) -> Sent:
        times = [at for at in (self.newest_us, other.newest_us) if at is not None]
        refused = self.refused or other.refused
        return Sent(self.keys + other.keys, self.written + other.written, max(times, default=None), refused)


@dataclass(frozen=True, slots=True)
class Loading:
    """A view on its way from its table to the store.

    Attributes:
        join_keys: names and Feast's types, in the order of the store's keys.
        renamed: what the table calls a feature that has another name.
        latest_us: rows after this are of a time that has not come, and stay out.
        published: the version of the audited commit whose rows `version` has.
        committed_us: when `version` was committed, where that was looked up.
        table_id: Delta's own id of the table, where that was looked up.
    """

    view: str
    uri: str
    version: int
    schema: Schema
    join_keys: tuple[tuple[str, str], ...]
    event: str
    created: str | None
    renamed: tuple[tuple[str, str], ...]
    since_us: int
    until_us: int
    latest_us: int
    published: int
    committed_us: int | None = None
    table_id: str | None = None

    @property
    def definition(self) -> str:
        """What tells this view's records from those of another definition of it."""
        said = repr((self.schema.text, self.join_keys, self.event, self.created, sorted(self.renamed)))
        return blake2b(said.encode(), digest_size=16).hexdigest()

    def joined(self, before: LoadState) -> Loading:
        """The same for one span that has what is loaded in it too, and what lies between: what is loaded has no hole.

        The time of what is loaded has come, whatever the clock says by now.
        """
        since, until = before.since_us, before.until_us
        if until is not None and until > self.latest_us:
            log.warning(BEHIND, self.view, moment(until), moment(self.latest_us))
        return replace(
            self,
            since_us=self.since_us if since is None else min(since, self.since_us),
            until_us=self.until_us if until is None else max(until, self.until_us),
            latest_us=self.latest_us if until is None else max(until, self.latest_us),
        )

    @property
    def keys(self) -> list[str]:
        """The columns of the key."""
        return [name for name, _ in self.join_keys]

    @property
    def others(self) -> list[str]:
        """The features and the times."""
        return list(dict.fromkeys([*self.schema.names, self.event, *([self.created] if self.created else [])]))

    @property
    def order(self) -> Column:
        """What decides which of a key's rows is the newest."""
        return F.struct(*all_named([self.event, *([self.created] if self.created else [])]))

    def newest(self, rows: DataFrame) -> DataFrame:
        """The newest row of each key; the store's columns only. Without a key it is one row, of nulls where there is none."""
        chosen = F.max_by(F.struct(*all_named(self.others)), self.order).alias("row")
        if not self.keys:
            return rows.agg(chosen).select("row.*")
        return self.known(rows).groupBy(*all_named(self.keys)).agg(chosen).select(*all_named(self.keys), "row.*")

    def known(self, rows: DataFrame) -> DataFrame:
        """The rows that have a key; the store's columns only."""
        has_key = reduce(and_, (is_key(rows, key) for key in self.keys), F.lit(True))
        return rows.where(has_key).select(*all_named([*self.keys, *self.others]))

    def crowded(self, rows: DataFrame) -> bool:
        """True where there are so many rows of a key that the newest are better found before they are sent.

        It is told by all rows of some keys; where these have none there are few rows, and either way is quick.
        """
        key = F.xxhash64(*all_named(self.keys)).alias("key")
        some = self.known(rows).select(key).where(F.pmod("key", F.lit(ONE_KEY_OF)) == 0)
        rows_of, keys_of = some.agg(F.count("key"), F.approx_count_distinct("key")).collect()[0]
        return bool(rows_of >= CROWDED * keys_of)

    def named(self, rows: DataFrame) -> DataFrame:
        """The table's rows under the features' names. A column gives way to another one that is mapped to its name."""
        names = dict(self.renamed)
        kept = [column for column in rows.columns if column in names or column not in names.values()]
        return rows.select(*(named(column).alias(names.get(column, column)) for column in kept))

    def within(self, since_us: int, until_us: int) -> Column:
        """Rows of a span of time, both ends in it, as far as it has come."""
        at, until = named(self.event), min(until_us, self.latest_us)
        return (at >= instant(since_us)) & (at <= instant(until))


def write(
    rows: DataFrame, loading: Loading, redis_store: RedisStore, *, field: bytes, number: int, script: str
) -> Sent:
    """Encode rows and send them to the store from where they are.

    Raises:
        UnfitRowError: a value is none of its declared type. Others may have been sent.
    """
    numbered = [f"column_{number}" for number, _ in enumerate(rows.columns)]  # mapInArrow takes no dot in a name
    work = partial(
        send,
        names=rows.columns,
        loading=loading,
        project=redis_store.project,
        address=redis_store.address,
        field=field,
        number=number,
        script=script,
    )
    sent = (
        rows.toDF(*numbered)
        .mapInArrow(work, COUNTS)
        .agg(F.sum("keys"), F.sum("written"), F.max("newest_us"), F.min("refused"))
        .collect()[0]
    )
    if sent[3] is not None:
        raise UnfitRowError(loading.view, sent[3], state=UNFINISHED)
    return Sent(sent[0] or 0, sent[1] or 0, sent[2])


def send(
    batches: Iterator[pa.RecordBatch],
    *,
    names: Sequence[str],
    loading: Loading,
    project: str,
    address: Address,
    field: bytes,
    number: int,
    script: str,
) -> Iterator[pa.RecordBatch]:
    """What an executor does with its part of the rows. It ends at a batch with a row that does not fit."""
    prefix = redis_keys.entity_prefix(project, loading.keys)
    redis_store = RedisStore.open(project, address)
    sent = Sent()
    try:
        for numbered in batches:
            batch = numbered.rename_columns(names)
            keys = batch_encoder.keys(batch, prefix, loading.join_keys, encoded)
            records = batch_encoder.records(
                batch, loading.schema, event=loading.event, created=loading.created, load=number, encode=encoded
            )
            if script == scripts.RESTORE:
                records = batch_encoder.emptied(records, batch.column(loading.event))
            taken = pipelined_writer.write(redis_store, field, keys, records, script)
            sent += Sent(len(batch) - taken.again, taken.written, newest_us(batch.column(loading.event)))
            redis_store.add_progress(number, len(batch))
    except UnfitValueError as error:
        sent += Sent(refused=f"{error}, in the row {row_at(batch, error.place, loading)}")
    finally:
        redis_store.close()
    kinds = {"refused": pa.string()}
    yield pa.record_batch({name: pa.array([one], kinds.get(name, pa.int64())) for name, one in asdict(sent).items()})


def row_at(batch: pa.RecordBatch, place: int, loading: Loading) -> str:
    """What tells a row of a batch from others: its key and event time."""
    values = [f"{name} = {shortened(batch.column(name)[place].as_py())}" for name in loading.keys]
    return ", ".join([*values, f"{loading.event} = {batch.column(loading.event)[place].as_py()}"])


def newest_us(events: pa.Array) -> int | None:
    """The newest of event times; None where there is none."""
    known = events.drop_null()
    return int(batch_encoder.micros(known).max()) if len(known) else None


def encoded(kind: str, plain: Any) -> list[bytes | None]:
    """Values without a way by column (lists, maps, …), by Feast's own conversion.

    Raises:
        UnfitValueError: Feast refuses a value. `place` is its row.
    """
    from feast.type_map import python_values_to_proto_values
    from feast.value_type import ValueType

    values = list(plain)
    try:
        found = python_values_to_proto_values(values, ValueType[kind])
    except UNFIT as error:
        if len(values) == 1:
            raise UnfitValueError(0, values[0], kind) from error
        for place, value in enumerate(values):
            try:
                encoded(kind, [value])
            except UnfitValueError as unfit:
                raise UnfitValueError(place, value, kind) from unfit
        raise
    pairs = zip(values, found, strict=True)
    return [None if one is None else bytes(value.SerializeToString(deterministic=True)) for one, value in pairs]


@contextmanager
def telling(redis_store: RedisStore, number: int, progress: Progress) -> Iterator[None]:
    """While the block runs, `progress` hears twice a second how many more rows are done, and others that the load is alive."""
    ended = Event()

    def tell() -> None:
        seen, last = 0, False
        while not last:
            last = ended.wait(0.5)
            done = redis_store.progress(number)
            redis_store.keep_alive(number)
            progress(done - seen)
            seen = done

    teller = Thread(target=tell, name="load-progress", daemon=True)
    teller.start()
    try:
        yield
    finally:
        ended.set()
        teller.join()
        redis_store.end_progress(number)


def instant(us: int) -> Column:
    """An instant in µs of UTC, for Spark."""
    return F.timestamp_micros(F.lit(us))


def moment(us: int) -> str:
    """An instant in µs of UTC, for people."""
    return f"{datetime.fromtimestamp(us / 1e6, UTC):%Y-%m-%d %H:%M:%S} UTC"


def now_us() -> int:
    """The clock, in µs of UTC."""
    return time.time_ns() // 1000
