"""Entity frames, as people hand them in, turned into labels: every instant in UTC, every column of a type that engines share."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
from feast.errors import EntityTimestampInferenceException, FeastEntityDFMissingColumnsError
from feast.infra.offline_stores.offline_utils import DEFAULT_ENTITY_DF_EVENT_TIMESTAMP_COL as INSTANT
from pyspark.errors import PySparkTypeError
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F
from pyspark.sql.pandas.types import from_arrow_type
from pyspark.sql.types import DateType, TimestampNTZType, TimestampType

from pedigree.jobs.errors import EntityFrameError

POSITION = "__position"
IN_UTC = pa.timestamp("us", tz="UTC")
NUMBERS = {
    pa.uint8(): pa.int16(),
    pa.uint16(): pa.int32(),
    pa.uint32(): pa.int64(),
    pa.uint64(): pa.decimal128(20, 0),
    pa.float16(): pa.float32(),
}
"""Number types that Spark has not, and the next one that holds all their values."""


@dataclass(frozen=True, slots=True)
class Labels:
    """An entity frame: what is asked.

    Attributes:
        rows: an Arrow table where the frame is at hand, a Spark frame where Spark has it.
        instant: the column with the instants.
        keys: all other columns, in the frame's order.
        span: the first and the last instant; 1970 where there are none.
    """

    rows: pa.Table | DataFrame
    instant: str
    keys: tuple[str, ...]
    span: tuple[datetime, datetime]

    def on_spark(self, spark: SparkSession) -> DataFrame:
        """The rows as Spark has them, with their position."""
        if isinstance(self.rows, pa.Table):
            positions = pa.array(range(len(self.rows)), pa.int64())
            return spark.createDataFrame(self.rows.append_column(POSITION, positions))
        return self.rows.select("*", F.monotonically_increasing_id().alias(POSITION))


def labels_of(entity_df: Any, join_keys: Collection[str], *, spark: SparkSession | None) -> Labels:
    """The labels of an entity frame.

    Args:
        entity_df: keys and instants, one row per label: a frame of pandas, Arrow or Spark, or SQL. A naive instant is UTC.
        join_keys: the columns that must be there beside the instants.
        spark: the session that SQL is run in.
    Raises:
        EntityTimestampInferenceException, FeastEntityDFMissingColumnsError: Feast's own words for a frame that will not do.
        EntityFrameError: a column is of no type that an engine has, or a name is reserved or stands twice.
    """
    frame = spark.sql(entity_df) if isinstance(entity_df, str) and spark else entity_df
    if isinstance(frame, DataFrame):
        times = {field.name for field in frame.schema if isinstance(field.dataType, TIMES)}
        instant = instant_of(frame.columns, times, join_keys)
        return Labels(frame, instant, others(frame.columns, instant), span_on_spark(frame, instant))
    table = arrow_of(frame)
    times = {field.name for field in table.schema if pa.types.is_timestamp(field.type)}
    instant = instant_of(table.column_names, times, join_keys)
    table = storable(plain(with_instants(table, instant)))
    return Labels(table, instant, others(table.column_names, instant), span_of(table[instant]))


TIMES = (TimestampType, TimestampNTZType, DateType)


def others(columns: Collection[str], instant: str) -> tuple[str, ...]:
    """The columns beside the instants."""
    return tuple(column for column in columns if column != instant)


def instant_of(columns: Collection[str], times: Collection[str], join_keys: Collection[str]) -> str:
    """The column with the instants: `event_timestamp`, or the only one that holds times.

    Raises:
        EntityTimestampInferenceException, FeastEntityDFMissingColumnsError: there is none, or a join key is missing.
        EntityFrameError: a name stands twice, or starts with two underscores.
    """
    lower = [name.lower() for name in columns]
    refused = sorted({name for name in columns if name.startswith("__") or lower.count(name.lower()) > 1})
    if refused:
        raise EntityFrameError(
            f"its columns {', '.join(refused)} are reserved or stand twice",
            "Rename them; names that start with two underscores are reserved, and upper case is not told from lower.",
        )
    if INSTANT not in columns and len(times) != 1:
        raise EntityTimestampInferenceException(INSTANT)
    instant = INSTANT if INSTANT in columns else next(iter(times))
    missing = set(join_keys) - set(columns)
    if missing:
        raise FeastEntityDFMissingColumnsError({*join_keys, instant}, missing)
    return instant


def arrow_of(frame: Any) -> pa.Table:
    """A frame of pandas or Arrow as a table; pandas' NaN is null.

    Raises:
        EntityFrameError: it is neither, or one of its columns mixes types.
    """
    if isinstance(frame, pa.Table):
        return frame
    if not isinstance(frame, pd.DataFrame):
        raise EntityFrameError(
            f"it is a {type(frame).__name__}", "Give a frame of pandas, Arrow or Spark, or a SQL query."
        )
    try:
        return pa.Table.from_pandas(in_utc(frame), preserve_index=False)
    except (pa.ArrowInvalid, pa.ArrowTypeError, pa.ArrowNotImplementedError) as error:
        said = f"a column mixes types, or has one that Arrow has not: {error}"
        raise EntityFrameError(said, "Give each column one type: numbers, text or times.") from error


def in_utc(frame: pd.DataFrame) -> pd.DataFrame:
    """The frame with times that Python objects stand for in UTC, even where rows differ in their zones."""
    objects = [column for column in frame if frame[column].dtype == object]
    times = [
        column
        for column in objects
        if frame[column].notna().any() and frame[column].dropna().map(lambda value: isinstance(value, datetime)).all()
    ]
    return frame.assign(**{str(column): pd.to_datetime(frame[column], utc=True) for column in times})


def with_instants(table: pa.Table, instant: str) -> pa.Table:
    """The table with its instants as instants; text is read as ISO 8601.

    Raises:
        EntityFrameError: the column holds no times.
    """
    column = table[instant]
    if pa.types.is_string(column.type) or pa.types.is_large_string(column.type):
        try:
            column = pa.chunked_array(
                [pa.Array.from_pandas(pd.to_datetime(column.to_pandas(), utc=True, format="ISO8601"))]
            )
        except ValueError as error:
            raise EntityFrameError(f"{instant} is no time: {error}", "Give instants, or ISO 8601 text.") from error
    if not len(column):
        column = pa.nulls(0, IN_UTC)
    if not (pa.types.is_timestamp(column.type) or pa.types.is_date(column.type)):
        raise EntityFrameError(f"{instant} is {column.type} and no time", "Give instants, or ISO 8601 text.")
    return table.set_column(table.column_names.index(instant), instant, column.cast(IN_UTC, safe=False))


def plain(table: pa.Table) -> pa.Table:
    """The table in the types that all engines share: instants in UTC to the microsecond, text as such, no dictionaries."""
    columns = {
        name: storage(column).cast(plain_type(storage(column).type), safe=False)
        for name, column in by_name(table).items()
    }
    return pa.table(columns)


def storage(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """A column without what Arrow or pandas add to its type; a UUID is text."""
    if isinstance(column.type, pa.UuidType):
        return pa.chunked_array(
            [pa.array([None if one is None else str(one) for one in column.to_pylist()], pa.string())]
        )
    return column


def storable(table: pa.Table) -> pa.Table:
    """The table, if Spark has a type for each of its columns: what DuckDB answers today, Spark can tomorrow.

    Raises:
        EntityFrameError: it has none for a column.
    """
    odd = []
    for field in table.schema:
        try:
            from_arrow_type(field.type)
        except (PySparkTypeError, TypeError):
            odd.append(f"{field.name} is {field.type}")
    if odd:
        raise EntityFrameError(f"{'; '.join(odd)}, which no engine has", "Convert it to numbers, text or times.")
    return table


def by_name(table: pa.Table) -> Mapping[str, pa.ChunkedArray]:
    """The columns by their names."""
    return dict(zip(table.column_names, table.columns, strict=True))


def plain_type(kind: pa.DataType) -> pa.DataType:
    """The type that Spark hands out for a column of `kind`."""
    if pa.types.is_dictionary(kind):
        return plain_type(kind.value_type)
    if pa.types.is_timestamp(kind):
        return IN_UTC
    if pa.types.is_duration(kind):
        return pa.duration("us")
    if pa.types.is_time(kind):
        return pa.time64("us")
    if pa.types.is_large_string(kind) or pa.types.is_string_view(kind):
        return pa.string()
    if pa.types.is_large_binary(kind) or pa.types.is_binary_view(kind):
        return pa.binary()
    return NUMBERS.get(kind, kind)


def span_of(instants: pa.ChunkedArray) -> tuple[datetime, datetime]:
    """The first and the last instant, aware."""
    ends = pc.min_max(instants.cast(pa.int64()))
    return at_micros(ends["min"].as_py()), at_micros(ends["max"].as_py())


def span_on_spark(frame: DataFrame, instant: str) -> tuple[datetime, datetime]:
    """The first and the last instant, aware."""
    micros = F.unix_micros(F.col(instant).cast("timestamp"))
    first, last = frame.agg(F.min(micros), F.max(micros)).collect()[0]
    return at_micros(first), at_micros(last)


def at_micros(micros: int | None) -> datetime:
    """An instant by its microseconds since 1970; no labels have no instants, and are as good as of 1970."""
    return datetime.fromtimestamp(0, UTC) + timedelta(microseconds=micros or 0)
