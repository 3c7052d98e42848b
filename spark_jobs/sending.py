"""Rows from Spark into the store: encoded by column on the executors, and written from there."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import partial
from threading import Event, Thread
from typing import Any

import pyarrow as pa
from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from online import columns, names, scripts
from online.address import Address
from online.bank import Bank
from online.record import Schema

COUNTS = "done long, written long"
EPOCH = datetime.fromtimestamp(0, UTC)
MICROSECOND = timedelta(microseconds=1)

Progress = Callable[[int], object]


@dataclass(frozen=True, slots=True)
class Loading:
    """A view on its way from its table to the store.

    Attributes:
        join_keys: names and Feast's types, in the order of the store's keys.
        renamed: what the table calls a feature that has another name.
        latest_us: rows after this are of a time that has not come, and stay out.
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

    @property
    def order(self) -> Column:
        """What decides which of a key's rows is the newest."""
        return F.struct(self.event, self.created) if self.created else F.struct(self.event)

    def newest(self, rows: DataFrame) -> DataFrame:
        """The newest row of each key; the store's columns only."""
        keys = [name for name, _ in self.join_keys]
        others = [*self.schema.names, self.event, *([self.created] if self.created else [])]
        chosen = F.max_by(F.struct(*dict.fromkeys(others)), self.order).alias("row")
        if not keys:
            return rows.agg(chosen).where(F.col("row").isNotNull()).select("row.*")
        known = rows.dropna(subset=keys)
        return known.groupBy(*keys).agg(chosen).select(*keys, "row.*")

    def named(self, rows: DataFrame) -> DataFrame:
        """The table's rows under the features' names."""
        for there, here in self.renamed:
            rows = rows.withColumnRenamed(there, here)
        return rows

    def within(self, since_us: int, until_us: int) -> Column:
        """Rows of a span of time, both ends in it, as far as it has come."""
        at, until = F.col(self.event), min(until_us, self.latest_us)
        return (at >= instant(since_us)) & (at <= instant(until))


def write(rows: DataFrame, loading: Loading, bank: Bank, *, field: bytes, number: int, script: str) -> tuple[int, int]:
    """Encode rows and send them to the store from where they are; returns how many there were, and how many it took."""
    work = partial(
        send,
        loading=loading,
        project=bank.project,
        address=bank.address,
        field=field,
        number=number,
        script=script,
    )
    total = rows.mapInArrow(work, COUNTS).agg(F.sum("done"), F.sum("written")).collect()[0]
    return int(total[0] or 0), int(total[1] or 0)


def send(
    batches: Iterator[pa.RecordBatch],
    *,
    loading: Loading,
    project: str,
    address: Address,
    field: bytes,
    number: int,
    script: str,
) -> Iterator[pa.RecordBatch]:
    """What an executor does with its part of the rows."""
    prefix = names.entity_prefix(project, [name for name, _ in loading.join_keys])
    bank = Bank.open(project, address)
    done = written = 0
    try:
        for batch in batches:
            keys = columns.keys(batch, prefix, loading.join_keys, encoded)
            records = columns.records(
                batch, loading.schema, event=loading.event, created=loading.created, load=number, encode=encoded
            )
            if script == scripts.RESTORE:
                records = columns.emptied(records, batch.column(loading.event))
            written += bank.write(field, list(zip(keys.to_pylist(), records.to_pylist(), strict=True)), script)
            done += len(batch)
            bank.add_progress(number, len(batch))
    finally:
        bank.close()
    yield pa.record_batch({"done": pa.array([done]), "written": pa.array([written])})


def encoded(kind: str, plain: Any) -> list[bytes | None]:
    """Values without a way by column (lists, maps, …), by Feast's own conversion."""
    from feast.type_map import python_values_to_proto_values
    from feast.value_type import ValueType

    found = python_values_to_proto_values(list(plain), ValueType[kind])
    pairs = zip(plain, found, strict=True)
    return [None if one is None else bytes(value.SerializeToString(deterministic=True)) for one, value in pairs]


@contextmanager
def telling(bank: Bank, number: int, told: Progress) -> Iterator[None]:
    """While the block runs, `told` hears twice a second how many more rows are done."""
    ended = Event()

    def tell() -> None:
        seen, last = 0, False
        while not last:
            last = ended.wait(0.5)
            done = bank.progress(number)
            told(done - seen)
            seen = done

    teller = Thread(target=tell, name="load-progress", daemon=True)
    teller.start()
    try:
        yield
    finally:
        ended.set()
        teller.join()
        bank.end_progress(number)


def instant(us: int) -> Column:
    """An instant in µs of UTC, for Spark."""
    return F.timestamp_micros(F.lit(us))


def micros(at: datetime) -> int:
    """Microseconds of UTC; Spark's naive times are of this machine's zone."""
    return (at.astimezone(UTC) - EPOCH) // MICROSECOND


def now_us() -> int:
    """The clock, in µs of UTC."""
    return time.time_ns() // 1000
