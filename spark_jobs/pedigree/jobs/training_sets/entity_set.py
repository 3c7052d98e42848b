"""The entity set: for whom, and as of when, features are wanted. Read from a file or a table, a query or a frame."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq
from deltalake import DeltaTable
from deltalake.exceptions import DeltaError, TableNotFoundError
from feast.errors import EntityTimestampInferenceException
from pyspark.sql import DataFrame

from pedigree.jobs.errors import EntityFrameError
from pedigree.jobs.historical.arrow_files import IN_MICROSECONDS, foreign_features
from pedigree.jobs.historical.entity_frame import arrow_of, instant_of, plain, with_instants
from pedigree.jobs.settings import job_settings
from pedigree.jobs.spark.session import open_session
from pedigree.jobs.training_sets.definitions import column_of, references
from pedigree.jobs.training_sets.errors import EntitySetError
from pedigree.jobs.training_sets.fingerprint import content_of
from pedigree.jobs.training_sets.manifest import Definitions, Entities
from pedigree.jobs.training_sets.store import file_system
from pedigree.jobs.training_sets.table_versions import delta_place


def delta_rows(uri: str) -> pa.Table:
    """All rows of a Delta table; by Spark where its protocol asks for a reader that knows more than Arrow's."""
    table = DeltaTable(delta_place(uri))
    if foreign_features(table):
        return open_session(job_settings()).read.format("delta").load(uri).toArrow()
    return table.to_pyarrow_dataset(parquet_read_options=IN_MICROSECONDS).to_table()


def entities_at(place: str) -> pa.Table:
    """The rows of a CSV file, a Parquet file or folder, or a Delta table.

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
        return delta_rows(uri)
    except (FileNotFoundError, TableNotFoundError) as error:
        remedy = "It must be a .csv file, a .parquet file or folder, or the folder of a Delta table."
        raise EntitySetError(place, "nothing of the kind is there", remedy) from error
    except (pa.ArrowInvalid, DeltaError) as error:
        raise EntitySetError(place, f"it cannot be read ({error})", "Look whether it is whole.") from error


def entities_of(frame: Any) -> pa.Table:
    """The rows of a frame of pandas, Arrow or Spark, or of a SQL query, which Spark runs.

    Raises:
        EntityFrameError: it is none of these, or a column mixes types.
    """
    if isinstance(frame, str):
        frame = open_session(job_settings()).sql(frame)
    return arrow_of(frame.toArrow() if isinstance(frame, DataFrame) else frame)


def settled(rows: pa.Table, definitions: Definitions, *, origin: str) -> tuple[pa.Table, Entities]:
    """The rows in the types that they are kept in, and what the manifest says of them.

    Raises:
        EntitySetError: there are no rows, a key, an instant or a requested column is missing, or a name is taken.
    """
    if rows.num_rows == 0:
        raise EntitySetError(origin, "it has no rows", "Give at least one.")
    requested = [name for view in definitions.on_demand for name in view.requested]
    needed = dict.fromkeys((*definitions.join_keys, *requested))
    refuse(origin, "it has no column", [name for name in needed if name not in rows.column_names], needed)
    made = {column_of(feature) for feature in references(definitions)}
    refuse(origin, "features have the names", [name for name in rows.column_names if name in made], needed)
    times = [each.name for each in rows.schema if pa.types.is_timestamp(each.type)]
    try:
        instant = instant_of(rows.column_names, times, definitions.join_keys)
        kept = plain(with_instants(rows, instant)).replace_schema_metadata(None)
    except EntityTimestampInferenceException as error:
        found = f"the columns with times are {', '.join(times)}" if times else "no column holds times"
        remedy = "Name the column with each row's instant event_timestamp, and write times as 2013-11-01T12:00:00Z."
        raise EntitySetError(origin, found, remedy) from error
    except EntityFrameError as error:
        raise EntitySetError(origin, "its columns will not do", str(error)) from error
    if kept[instant].null_count:
        what = f"{kept[instant].null_count:,} rows have no {instant}"
        raise EntitySetError(origin, what, "Leave them out, or give each its instant.")
    content = content_of(kept.to_batches(), kept.schema)
    return kept, Entities(content=content, instant=instant, keys=definitions.join_keys, origin=origin)


def refuse(origin: str, what: str, names: list[str], needed: Iterable[str]) -> None:
    """Raise where there are such names."""
    if names:
        remedy = f"It needs {', '.join(needed)} and an instant, event_timestamp; other columns pass through."
        raise EntitySetError(origin, f"{what} {', '.join(names)}", remedy)
