"""A slice that a transform makes of its sources: a function, or a query in Spark SQL."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path

from pyspark.errors import PySparkException
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from pedigree.features.columns import event_column
from pedigree.features.table import TransformTable
from pedigree.jobs.build.build_report import BuildReport
from pedigree.jobs.build.computed_slice import ComputedSlice, count_sources
from pedigree.jobs.build.jobs import Jobs
from pedigree.jobs.build.quality_gate import columns_checked
from pedigree.jobs.conform import conform
from pedigree.jobs.errors import TransformError
from pedigree.jobs.sources.reader import SourceRead, read, refuse_changed, told_when_broken
from pedigree.jobs.time_slice import TimeSlice


@contextmanager
def transform_slice(
    table: TransformTable, time_slice: TimeSlice, jobs: Jobs, report: BuildReport, *, created_at: datetime
) -> Iterator[ComputedSlice]:
    """A slice of what a transform gives. Its columns and types are checked before any row is computed."""
    jobs.progress("reading")
    extent = None if table.is_whole else time_slice
    sources = {source.name: read(jobs.spark, source, jobs.repository, extent) for source in table.sources}
    event = event_column(table.view)
    checked = columns_checked(table.contract)
    rows = conform(transformed(table, sources, jobs), table.view, created_at=created_at, checked=checked)
    if not table.is_whole:
        rows = rows.where(time_slice.holds(F.col(event)) | F.col(event).isNull())
    with told_when_broken(source.uri for source in sources.values()):
        count_sources(sources.values(), report)
        refuse_changed(sources.values(), jobs.spark)
        jobs.progress(f"transforming {sum(report.source_rows.values()):,} rows")
        yield ComputedSlice(table, time_slice, rows, is_whole=table.is_whole, checked=checked)


def transformed(table: TransformTable, sources: Mapping[str, SourceRead], jobs: Jobs) -> DataFrame:
    """What the transform makes of the sources.

    Raises:
        TransformError: its query is not there, or Spark does not understand it.
    """
    rows = {name: source.rows for name, source in sources.items()}
    if not isinstance(table.transform, str):
        return table.transform(rows)
    path = jobs.repository.settings.folder / table.transform
    return queried(path, rows, jobs.spark)


def queried(path: Path, tables: Mapping[str, DataFrame], spark: SparkSession) -> DataFrame:
    """What a query gives over tables, which have their names for as long as Spark analyzes it.

    Raises:
        TransformError: there is no such file, or Spark does not understand what is in it.
    """
    if not path.is_file():
        raise TransformError(path, "there is no such file")
    try:
        for name, rows in tables.items():
            rows.createOrReplaceTempView(name)
        return spark.sql(path.read_text())
    except PySparkException as error:
        raise TransformError(path, " ".join(str(error).split())) from error
    finally:
        for name in tables:
            spark.catalog.dropTempView(name)
