"""What was true, and known, at an instant: the point-in-time join, in time linear in labels plus feature rows.

Labels and feature rows are laid on one time line per key, and each label takes the newest row that is visible to it. The work is
one shuffle and one running window per view, however many feature rows a key has.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from pyspark.sql import Column, DataFrame, SparkSession, Window
from pyspark.sql import functions as F
from pyspark.sql.types import ArrayType, DataType, MapType, NullType, NumericType, StructType

from pedigree.jobs.column_names import all_named, is_key, named, quoted
from pedigree.jobs.errors import EntityFrameError
from pedigree.jobs.historical.arrow_files import is_parquet_path
from pedigree.jobs.historical.definitions import History, Retrieval
from pedigree.jobs.historical.entity_frame import POSITION
from pedigree.jobs.sources.parquet import read_parquet

INSTANT_OF_RANGE = "entity_ts"
"""What Feast calls the instant of a retrieval between two dates."""

KEY = "__key_{}"
AT = "__at"
IS_LABEL = "__is_label"
LABEL = "__label"
ROW = "__row"
NEWEST = "__newest"
EVENT_AT = "__event_at"
CREATED_AT = "__created_at"

Form = Callable[[Column, DataType], Column]
"""A value of a type in another form."""


@dataclass(frozen=True, slots=True)
class TimeLine:
    """The rows of one view.

    Attributes:
        rows: with keys, times and features.
        keys: for each column of the rows that is a key, the labels' column that it is compared with.
        event_at: when a row became true; rows without it are seen by nobody.
        created_at: when it was learnt; None where nobody wrote that down.
        features: the rows' columns by the names they get beside the labels.
        ttl: how old a row may be at the instant, that age included; zero is no limit.
    """

    rows: DataFrame
    keys: Mapping[str, str]
    event_at: str
    created_at: str | None
    features: Mapping[str, str]
    ttl: timedelta


def answer(asked: Retrieval, spark: SparkSession) -> DataFrame:
    """The labels in their order, each with the features of every view; nothing is computed yet.

    Raises:
        EntityFrameError: a key of the labels is of another kind than the rows'.
    """
    labels = asked.labels
    rows = labels.on_spark(spark)
    for history in asked.histories:
        line = time_line(history, spark)
        rows = as_of(rows, line, instant=labels.instant, knowledge_time=history.knowledge_time)
    return rows.orderBy(POSITION).drop(POSITION)


def every_key(histories: Sequence[History], spark: SparkSession, *, since: datetime, until: datetime) -> DataFrame:
    """Every combination of keys that a view has a row for between two instants, once, as labels of the later instant.

    Args:
        histories: the views; a view without a key that another one has leaves it null.
        since, until: aware, both included.
    Returns:
        the keys, and `INSTANT_OF_RANGE`.
    """
    per_view = []
    for history in histories:
        keys = [named(column).alias(key) for column, key in history.keys.items()]
        event_at = named(history.event_at).cast("timestamp")
        per_view.append(read(history, spark).where(event_at.between(F.lit(since), F.lit(until))).select(*keys))
    every = functools.reduce(lambda one, other: one.unionByName(other, allowMissingColumns=True), per_view)
    return every.distinct().select("*", F.lit(until).alias(INSTANT_OF_RANGE))


def read(history: History, spark: SparkSession) -> DataFrame:
    """All rows of a view, with the columns that matter."""
    partitions = [column for column, _, _ in history.partitions]
    if is_parquet_path(history.source):
        rows = read_parquet(spark, history.source.path)
    else:
        rows = spark.sql(f"SELECT * FROM {history.source.get_table_query_string()}")  # noqa: S608 - a name of the registry
    return rows.select(*all_named([*history.columns, *partitions]))


def time_line(history: History, spark: SparkSession) -> TimeLine:
    """The rows of one view between the oldest and the newest instant that a label can see."""
    rows = read(history, spark)
    event_at = named(history.event_at).cast("timestamp")
    rows = rows.where(event_at <= F.lit(history.until))
    if history.since is not None:
        rows = rows.where(event_at >= F.lit(history.since))
    for column, bound, value in history.partitions:
        rows = rows.where(F.expr(f"{quoted(column)} {bound} '{value}'"))
    if history.created_at and history.known_by is not None:
        created_at = named(history.created_at).cast("timestamp")
        rows = rows.where(created_at.isNull() | (created_at <= F.lit(history.known_by)))
    return TimeLine(rows, history.keys, history.event_at, history.created_at, history.features, history.ttl)


def as_of(labels: DataFrame, line: TimeLine, *, instant: str, knowledge_time: bool) -> DataFrame:
    """The labels with the features of the newest row that each may see.

    Newest is by event time, then by created time, then by the features themselves, so that the answer never depends on the
    order in which files are read. A label sees rows with its own keys whose event time is not after its instant and not
    older than the ttl; with `knowledge_time` also only rows that had been created by then. A null key, and a key that is
    not a number, sees nothing.

    Args:
        labels: any number of rows, duplicates included; columns that start with two underscores are reserved.
        line: the view.
        instant: the labels' column with the instants.
        knowledge_time: whether a row that was learnt after the instant is hidden.
    Returns:
        every label once, in no particular order, with the line's features; null where nothing is visible.
    Raises:
        EntityFrameError: a key of the labels is of another kind than the rows'.
    """
    rows = row_side(line, knowledge_time=knowledge_time)
    both = label_side(labels, line, rows, instant=instant).unionByName(rows, allowMissingColumns=True)
    keys = [KEY.format(number) for number in range(len(line.keys))]
    so_far = Window.partitionBy(*keys).orderBy(AT, IS_LABEL).rowsBetween(Window.unboundedPreceding, Window.currentRow)
    newest = both.select("*", F.max(ROW).over(so_far).alias(NEWEST)).where(IS_LABEL)
    is_fresh = fresh(line.ttl)
    features = [F.when(is_fresh, value_of(line, name)).alias(name) for name in line.features]
    return newest.select(f"{LABEL}.*", *features)


def row_side(line: TimeLine, *, knowledge_time: bool) -> DataFrame:
    """The rows that some label may see, each at the instant from which it is visible."""
    rows = line.rows
    event_at = named(line.event_at).cast("timestamp")
    created_at = named(line.created_at).cast("timestamp") if line.created_at else F.lit(None).cast("timestamp")
    visible_at = F.greatest(event_at, created_at) if knowledge_time else event_at
    kinds = {field.name: field.dataType for field in rows.schema}
    values = [orderable(named(column), kinds[column]).alias(name) for name, column in line.features.items()]
    comparable = F.lit(True)
    for key in line.keys:
        comparable &= is_key(rows, key)
    return rows.where(comparable & event_at.isNotNull()).select(
        *(named(key).alias(KEY.format(number)) for number, key in enumerate(line.keys)),
        visible_at.alias(AT),
        F.lit(False).alias(IS_LABEL),
        F.struct(event_at.alias(EVENT_AT), created_at.alias(CREATED_AT), *values).alias(ROW),
    )


def label_side(labels: DataFrame, line: TimeLine, rows: DataFrame, *, instant: str) -> DataFrame:
    """The labels at their instants, with keys of the rows' types and no row."""
    types = {field.name: field.dataType for field in rows.schema}
    names = [KEY.format(number) for number in range(len(line.keys))]
    keys = [
        comparable(labels, key, types[name]).alias(name) for name, key in zip(names, line.keys.values(), strict=True)
    ]
    return labels.select(
        *keys,
        named(instant).cast("timestamp").alias(AT),
        F.lit(True).alias(IS_LABEL),
        F.lit(None).cast(types[ROW]).alias(ROW),
        F.struct(*(named(column) for column in labels.columns)).alias(LABEL),
    )


def comparable(labels: DataFrame, key: str, kind: DataType) -> Column:
    """A key of the labels in the rows' type; null where that type cannot hold it, so that 1.5 is never taken for 1.

    Raises:
        EntityFrameError: text would have to be compared with numbers, or the like.
    """
    there, value = labels.schema[key].dataType, named(key)
    if there == kind:
        return value
    if isinstance(there, NullType):
        return F.lit(None).cast(kind)
    if not (isinstance(there, NumericType) and isinstance(kind, NumericType)):
        raise EntityFrameError.of_another_kind(key, found=there.simpleString(), wanted=kind.simpleString())
    cast = value.try_cast(kind)
    return F.when(cast.try_cast(there) == value, cast)


def value_of(line: TimeLine, name: str) -> Column:
    """A feature of the newest row, as it was before `orderable`."""
    return original(F.col(NEWEST)[name], line.rows.schema[line.features[name]].dataType)


def orderable(value: Column, kind: DataType) -> Column:
    """A value in a form that has an order: each map in it, which has none, as its sorted entries."""
    if not has_map(kind):
        return value
    if isinstance(kind, MapType):
        entries = F.transform(F.map_entries(value), lambda one: entry(one, kind, orderable))
        return F.array_sort(entries)
    if isinstance(kind, ArrayType):
        return F.transform(value, lambda one: orderable(one, kind.elementType))
    return fields_by(value, kind, orderable)


def original(value: Column, kind: DataType) -> Column:
    """What `orderable` was made of."""
    if not has_map(kind):
        return value
    if isinstance(kind, MapType):
        return F.map_from_entries(F.transform(value, lambda one: entry(one, kind, original)))
    if isinstance(kind, ArrayType):
        return F.transform(value, lambda one: original(one, kind.elementType))
    return fields_by(value, kind, original)


def entry(pair: Column, kind: MapType, form: Form) -> Column:
    """An entry of a map, its value in another form."""
    return F.struct(pair["key"].alias("key"), form(pair["value"], kind.valueType).alias("value"))


def fields_by(value: Column, kind: DataType, form: Form) -> Column:
    """A struct, each of its fields in another form."""
    assert isinstance(kind, StructType)  # noqa: S101 - nothing else holds a map
    fields = [form(value[field.name], field.dataType).alias(field.name) for field in kind]
    return F.when(value.isNotNull(), F.struct(*fields))


def has_map(kind: DataType) -> bool:
    """True for a map, and what holds one."""
    if isinstance(kind, ArrayType):
        return has_map(kind.elementType)
    return isinstance(kind, MapType) or (
        isinstance(kind, StructType) and any(has_map(field.dataType) for field in kind)
    )


def fresh(ttl: timedelta) -> Column:
    """True where the newest row is not older than the ttl at the label's instant."""
    if ttl <= timedelta(0):
        return F.lit(True)
    oldest = F.timestamp_micros(F.unix_micros(AT) - ttl // timedelta(microseconds=1))
    return F.col(NEWEST)[EVENT_AT] >= oldest
