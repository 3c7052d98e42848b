"""Tables read without Spark: the files of one Delta version, or of a Parquet folder, as an Arrow dataset."""

from __future__ import annotations

import sys
from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.dataset as ds
from deltalake import DeltaTable
from deltalake.exceptions import DeltaError, TableNotFoundError
from feast.infra.offline_stores.contrib.spark_offline_store.spark_source import SparkSource
from feast.table_format import DeltaFormat

from pedigree.jobs.errors import UnbuiltTableError
from pedigree.lineage.errors import LineageError
from pedigree.lineage.naming import at_path

PLAIN = (
    *(
        pa.types.is_boolean,
        pa.types.is_signed_integer,
        pa.types.is_floating,
        pa.types.is_decimal128,
        pa.types.is_date32,
    ),
    *(
        pa.types.is_string,
        pa.types.is_large_string,
        pa.types.is_string_view,
        pa.types.is_binary,
        pa.types.is_large_binary,
    ),
    lambda kind: pa.types.is_timestamp(kind) and kind.unit in ("us", "ns"),
)
"""Columns that every engine reads alike and has the same order for."""


MAPS_COLUMNS, FEATURES_SINCE = 2, 3
"""The reader version of Delta's protocol that brought column mapping, and the one from which tables list their features."""

READ = frozenset({"timestampNtz"})
"""The features for readers that this one has; a naive time is UTC. A table that needs others goes to Spark."""

IN_MICROSECONDS = ds.ParquetReadOptions(coerce_int96_timestamp_unit="us")
"""Spark writes times in a way that other readers take for nanoseconds; they hold microseconds."""


@dataclass(frozen=True, slots=True)
class Unreadable:
    """Why a source cannot be read without Spark."""

    reason: str


def dataset_of(source: SparkSource, columns: Collection[str], *, at_most_bytes: int) -> ds.Dataset | Unreadable:
    """The source's files, or why they are better read by Spark.

    Args:
        source: a view's source.
        columns: what will be read of it.
        at_most_bytes: the size on disk from which Spark is the better reader.
    """
    path = local_path(source)
    if path is None:
        return Unreadable(f"{source.name} is not a path on this machine")
    if isinstance(source.table_format, DeltaFormat):
        found = delta_files(path, source.table_format.properties or {}, at_most_bytes=at_most_bytes)
    elif is_parquet_path(source):
        found = parquet_files(path, at_most_bytes=at_most_bytes)
    else:
        return Unreadable(f"{source.name} is neither Delta nor Parquet")
    return found if isinstance(found, Unreadable) else unless_odd(found, columns)


def is_readable_without_spark(source: SparkSource) -> bool:
    """True where a source is there and can be read without Spark, whatever its size.

    Raises:
        UnbuiltTableError: it is a Delta table on this machine that was never built.
    """
    path = local_path(source)
    if path is not None and isinstance(source.table_format, DeltaFormat) and not DeltaTable.is_deltatable(path):
        raise UnbuiltTableError(source.name, path)
    return not isinstance(dataset_of(source, (), at_most_bytes=sys.maxsize), Unreadable)


def is_parquet_path(source: SparkSource) -> bool:
    """True for a source of Parquet files by their path."""
    is_path = bool(source.path) and not source.query and not source.table
    return is_path and source.table_format is None and source.file_format == "parquet"


def local_path(source: SparkSource) -> str | None:
    """The folder of a source on this machine, None where it is elsewhere or no folder."""
    if not source.path or source.query or source.table:
        return None
    try:
        place = at_path(source.path)
    except LineageError:
        return None
    return place.name if place.namespace == "file" else None


def delta_files(path: str, properties: dict[str, Any], *, at_most_bytes: int) -> ds.Dataset | Unreadable:
    """The files of a Delta table, in the version that `properties` pins or the newest."""
    odd = set(properties) - {"versionAsOf"}
    if odd:
        return Unreadable(f"{path} is read with {', '.join(sorted(odd))}")
    version = properties.get("versionAsOf")
    try:
        table = DeltaTable(path, version=None if version is None else int(version))
        needed = foreign_features(table)
        if needed:
            return Unreadable(f"{path} is to be read by who knows {', '.join(needed)}")
        size = pc.sum(pa.table(table.get_add_actions(flatten=True))["size_bytes"]).as_py() or 0
        return (
            table.to_pyarrow_dataset(parquet_read_options=IN_MICROSECONDS)
            if size <= at_most_bytes
            else too_large(path, size)
        )
    except TableNotFoundError:
        return Unreadable(f"there is no Delta table at {path}")
    except DeltaError as error:
        return Unreadable(f"{path} needs a reader that this one is not: {error}")


def foreign_features(table: DeltaTable) -> list[str]:
    """The features of Delta's protocol that a reader of the table must know, and this one does not."""
    protocol = table.protocol()
    if protocol.min_reader_version < FEATURES_SINCE:
        return ["columnMapping"] if protocol.min_reader_version == MAPS_COLUMNS else []
    return sorted(set(protocol.reader_features or ()) - READ)


def parquet_files(path: str, *, at_most_bytes: int) -> ds.Dataset | Unreadable:
    """The Parquet files of a folder."""
    try:
        found = ds.dataset(path, format=ds.ParquetFileFormat(read_options=IN_MICROSECONDS))
    except (FileNotFoundError, pa.ArrowInvalid) as error:
        return Unreadable(f"{path} holds no Parquet files: {error}")
    size = sum(found.filesystem.get_file_info(file).size for file in found.files)
    return found if size <= at_most_bytes else too_large(path, size)


def too_large(path: str, size: int) -> Unreadable:
    """What is said of a table that is better read by Spark."""
    return Unreadable(f"{path} holds {size:,} bytes")


def unless_odd(found: ds.Dataset, columns: Collection[str]) -> ds.Dataset | Unreadable:
    """The dataset, unless a column is missing or of a type that engines treat differently."""
    kinds = {field.name: field.type for field in found.schema}
    missing = sorted(set(columns) - set(kinds))
    odd = sorted(name for name in columns if name in kinds and not any(is_kind(kinds[name]) for is_kind in PLAIN))
    if missing or odd:
        return Unreadable(
            f"it has no column {', '.join(missing)}" if missing else f"{', '.join(odd)} is no plain column"
        )
    return found
