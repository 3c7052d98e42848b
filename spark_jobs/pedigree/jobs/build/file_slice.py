"""The copy of a Parquet file behind a view: its columns as the view promises them, whenever the file or the view has changed."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime

from feast import FeatureView
from pyspark.sql import Column, DataFrame, SparkSession
from pyspark.sql import functions as F
from pyspark.sql.types import DataType, MapType, StructType, TimestampNTZType, TimestampType

from pedigree.features.columns import created_column
from pedigree.features.file_table import FileTable
from pedigree.features.sources import Source
from pedigree.jobs import delta_tables
from pedigree.jobs.build.build_report import BuildReport
from pedigree.jobs.build.computed_slice import ComputedSlice, count_sources
from pedigree.jobs.build.jobs import Jobs
from pedigree.jobs.column_names import named
from pedigree.jobs.conform import differences, promised
from pedigree.jobs.errors import SchemaBrokenError
from pedigree.jobs.gate_mark import CommitMark
from pedigree.jobs.sources.parquet import read_parquet
from pedigree.jobs.sources.reader import SourceRead, refuse_changed, version_at
from pedigree.jobs.time_slice import TimeSlice
from pedigree.lineage.naming import at_path


@contextmanager
def file_slice(
    table: FileTable, time_slice: TimeSlice, jobs: Jobs, report: BuildReport, *, created_at: datetime
) -> Iterator[ComputedSlice]:
    """All rows of the file."""
    jobs.progress("reading")
    source = source_of(table.view, table.file)
    rows = read_parquet(jobs.spark, table.file)
    version = version_at(jobs.spark, source, table.file)
    read = SourceRead(source, table.file, at_path(table.file), version, rows)
    count_sources([read], report)
    refuse_changed([read], jobs.spark)
    made_from = state_of(table.view, table.file, version)
    yield ComputedSlice(
        table, time_slice, fitted(rows, table.view, created_at=created_at), is_whole=True, made_from=made_from
    )


def is_copied(view: FeatureView, file: str, spark: SparkSession) -> bool:
    """True where the newest commit to the copy was made from the file and the view as they are now.

    Args:
        view: over the copy.
    Raises:
        SourceMissingError: there is no such file.
    """
    uri = view.batch_source.path
    state = state_of(view, file, version_at(spark, source_of(view, file), file))
    if delta_tables.current_version(spark, uri) is None:
        return False
    newest = next((commit for commit in delta_tables.commits(spark, uri) if commit.changes_rows), None)
    mark = CommitMark.read(newest.metadata) if newest is not None else None
    return mark is not None and mark.made_from == state


def source_of(view: FeatureView, file: str) -> Source:
    """The file as a source."""
    return Source(name=view.batch_source.name, schema="", file=file, format="parquet")


def state_of(view: FeatureView, file: str, version: str) -> str:
    """What tells a copy from one of another file, of the file in another state, or for another schema of the view."""
    columns = {name: dtype.simpleString() for name, dtype in promised(view).items()}
    return hashlib.sha256(repr((file, version, columns, created_column(view))).encode()).hexdigest()


def fitted(rows: DataFrame, view: FeatureView, *, created_at: datetime) -> DataFrame:
    """The columns that the view promises, in its types; others are left out.

    Args:
        created_at: the created time of rows whose file has none.
    Raises:
        SchemaBrokenError: a column is missing, or its values may not fit.
    """
    expected = promised(view, {field.name: field.dataType for field in rows.schema})
    created = created_column(view)
    has_created = bool(view.batch_source.created_timestamp_column)
    wanted = expected | ({created: TimestampType()} if has_created else {})
    there = {field.name: field.dataType for field in rows.schema if field.name in wanted}
    columns = {name: fit(name, dtype, wanted[name]) for name, dtype in there.items()}
    read = rows.select(*(column.alias(name) for name, column in columns.items()))
    problems = differences(wanted, {field.name: field.dataType for field in read.schema})
    if problems:
        raise SchemaBrokenError(view.name, problems)
    typed = [named(name).cast(dtype).alias(name) for name, dtype in wanted.items()]
    return read.select(*typed, *([] if has_created else [F.lit(created_at).cast("timestamp").alias(created)]))


def fit(name: str, found: DataType, wanted: DataType) -> Column:
    """A column of the file on its way to a promised type: a naive time is UTC, and a struct may stand for a map."""
    column = named(name)
    if isinstance(found, TimestampNTZType) and isinstance(wanted, TimestampType):
        return column.cast("timestamp")
    if isinstance(found, StructType) and isinstance(wanted, MapType):
        return F.from_json(F.to_json(column), wanted)
    return column
