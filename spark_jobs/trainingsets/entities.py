"""The entity set: for whom, and as of when, features are wanted. Read from a file, a table, a query or a frame."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq
from deltalake import DeltaTable
from deltalake.exceptions import DeltaError, TableNotFoundError
from pyarrow import types
from pyspark.sql import DataFrame, SparkSession

from spark_jobs.historical import in_utc
from spark_jobs.trainingsets.definitions import Definitions
from spark_jobs.trainingsets.errors import EntitySetError
from spark_jobs.trainingsets.fingerprint import content_of
from spark_jobs.trainingsets.manifest import Entities
from spark_jobs.trainingsets.presence import delta_place
from spark_jobs.trainingsets.shelf import file_system

INSTANT = "event_timestamp"
UTC_MICROS = pa.timestamp("us", "UTC")


def entities_at(place: str) -> pa.Table:
    """The rows of a CSV file, a Parquet file or a Delta table.

    Raises:
        EntitySetError: nothing is there, or it is none of these.
    """
    uri = place if ":" in place else str(Path(place).absolute())
    files, path = file_system(uri)
    try:
        if path.endswith(".csv"):
            with files.open_input_stream(path) as file:
                return pyarrow.csv.read_csv(file)
        if path.endswith(".parquet"):
            return pq.read_table(path, filesystem=files)
        return pa.table(DeltaTable(delta_place(uri)).to_pyarrow_table())
    except (FileNotFoundError, TableNotFoundError) as error:
        raise EntitySetError(place, "nothing is there", "Check the path.") from error
    except (pa.ArrowInvalid, DeltaError) as error:
        remedy = "It must be a .csv file, a .parquet file or folder, or the folder of a Delta table."
        raise EntitySetError(place, f"it cannot be read ({error})", remedy) from error


def entities_of(frame: Any, spark: SparkSession) -> pa.Table:
    """The rows of a frame of pandas, Arrow or Spark, or of a SQL query."""
    if isinstance(frame, pa.Table):
        return frame
    if isinstance(frame, pd.DataFrame):
        try:
            return pa.Table.from_pandas(in_utc(frame), preserve_index=False)
        except (pa.ArrowInvalid, pa.ArrowTypeError) as error:
            remedy = "Give each column values of one type."
            raise EntitySetError("The frame", f"a column mixes types ({error})", remedy) from error
    if isinstance(frame, str):
        return spark.sql(frame).toArrow()
    if isinstance(frame, DataFrame):
        return frame.toArrow()
    remedy = "Give a frame of pandas, Arrow or Spark, or a SQL query."
    raise EntitySetError(type(frame).__name__, "it is no frame", remedy)


def settled(rows: pa.Table, *, origin: str) -> pa.Table:
    """The rows with every instant in UTC and in microseconds, and nothing of where they came from in the schema.

    Raises:
        EntitySetError: there are no rows, or two columns have one name.
    """
    if rows.num_rows == 0:
        raise EntitySetError(origin, "it has no rows", "Give at least one.")
    twice = sorted({name for name in rows.column_names if rows.column_names.count(name) > 1})
    if twice:
        raise EntitySetError(origin, f"it has {', '.join(twice)} more than once", "Give each column a name of its own.")
    columns = [
        column.cast(UTC_MICROS, safe=False) if types.is_timestamp(column.type) else plain(column)
        for column in rows.columns
    ]
    return pa.table(columns, names=rows.column_names)


def plain(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """The column as Parquet gives it back: text that was encoded or large becomes plain text."""
    if types.is_dictionary(column.type):
        return plain(column.cast(column.type.value_type))
    return column.cast(pa.string()) if types.is_large_string(column.type) else column


def described(rows: pa.Table, definitions: Definitions, *, origin: str) -> Entities:
    """What the manifest says of an entity set that has all that the definitions ask for.

    Raises:
        EntitySetError: it lacks a key, an instant or a requested column, or has a column that is reserved.
    """
    instant = instant_of(rows, origin)
    requested = [name for view in definitions.on_demand for name in view.requested]
    needed = dict.fromkeys((*definitions.join_keys, instant, *requested))
    refuse(origin, "it has no column", [name for name in needed if name not in rows.column_names], needed)
    made = [f"{view.shown_as}__{name}" for view in definitions.views for name in view.features]
    made += [f"{view.name}__{name}" for view in definitions.on_demand for name in view.features]
    reserved = [name for name in rows.column_names if name in made or name.startswith("__")]
    refuse(origin, "these names are taken", reserved, needed)
    nulls = rows[instant].null_count
    if nulls:
        raise EntitySetError(origin, f"{nulls:,} rows have no {instant}", "Leave them out, or give each its instant.")
    content = content_of(rows.to_batches(), rows.schema)
    return Entities(content=content, instant=instant, keys=definitions.join_keys, origin=origin)


def refuse(origin: str, what: str, names: Sequence[str], needed: Iterable[str]) -> None:
    """Raise where there are such names."""
    if names:
        remedy = f"It needs {', '.join(needed)}; other columns pass through, if they do not begin with two underscores."
        raise EntitySetError(origin, f"{what} {', '.join(names)}", remedy)


def instant_of(rows: pa.Table, origin: str) -> str:
    """The column with the instants: `event_timestamp`, or the only one that holds times."""
    times = [each.name for each in rows.schema if types.is_timestamp(each.type)]
    if INSTANT in times:
        return INSTANT
    if len(times) == 1 and INSTANT not in rows.column_names:
        return times[0]
    found = f"the columns with times are {', '.join(times)}" if times else "no column holds times"
    remedy = f"Name the column with each row's instant {INSTANT}, and write times as 2013-11-01T12:00:00Z."
    raise EntitySetError(origin, found, remedy)
