"""The files that features come from, as they came, and how to read one with the version that was read."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from delta.tables import DeltaTable
from py4j.protocol import Py4JJavaError
from pyspark.errors import PySparkException
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F
from pyspark.sql.types import StructType

from pedigree.features.repository import Repository
from pedigree.features.sources import DeclaredSource, JdbcSource, Source
from pedigree.jobs import delta_tables
from pedigree.jobs.audited_versions import audited_version
from pedigree.jobs.errors import SourceBrokenError, SourceChangedError, SourceMissingError
from pedigree.jobs.gate_mark import table_name
from pedigree.jobs.sources.declared_columns import declared_columns
from pedigree.jobs.sources.jdbc import read_table
from pedigree.jobs.sources.parquet import read_parquet
from pedigree.jobs.sources.rfc4180 import WIDE, Layout
from pedigree.jobs.sources.source_files import SourceFile, files_at, layout_at, version_of
from pedigree.jobs.time_slice import TimeSlice
from pedigree.lineage.naming import DatasetName, at_path

DELTA = frozenset({"delta", "catalog", "feature_table"})
"""Formats whose versions are Delta's."""

JAVA_ALWAYS_HAS = frozenset({"UTF-8", "US-ASCII", "ISO-8859-1", "UTF-16", "UTF-16LE", "UTF-16BE", "UTF-32"})
"""Encodings that Spark takes without a setting."""


@dataclass(frozen=True, slots=True)
class SourceRead:
    """A source as it is read.

    Attributes:
        uri: where it is, without a password, and `dataset` the same as lineage names it.
        version: what tells the state that was read from every other.
        extent: the time that it is read for; None: all.
    """

    source: DeclaredSource
    uri: str
    dataset: DatasetName
    version: str
    rows: DataFrame
    extent: TimeSlice | None = None


def read(
    spark: SparkSession, source: DeclaredSource, repository: Repository, extent: TimeSlice | None = None
) -> SourceRead:
    """The source's rows and its version. Of files and Delta tables nothing is computed yet but the look at the file.

    A CSV file is looked through: Spark puts a substitute for what it cannot decode, and takes for CSV what is none.

    Args:
        extent: when the events that are needed became known. A source with a time column is read for it and its margin only.
    Raises:
        SourceMissingError: there is no such file or table.
        SourceBrokenError: a file is not what is declared, or a database cannot be read.
        UnauditedTableError: a feature table has no audited version.
    """
    wide = widened(source, extent)
    if isinstance(source, JdbcSource):
        table = read_table(spark, source, lambda rows: within(rows, source, wide))
        return SourceRead(source, table.uri, table.dataset, table.version, table.rows, wide)
    if not isinstance(source, Source):
        raise TypeError(f"{source.name} is a {type(source).__name__}, which is no Source or JdbcSource")
    uri = place_of(spark, source, repository)
    version = version_at(spark, source, uri)
    rows = within(rows_of(spark, source, uri, version), source, wide)
    return SourceRead(source, uri, at_path(uri), version, rows, wide)


def widened(source: DeclaredSource, extent: TimeSlice | None) -> TimeSlice | None:
    """The time that a source is read for; None: all of it."""
    if source.time_column is None or extent is None:
        return None
    return TimeSlice(extent.start_at - source.margin, extent.end_at + source.margin)


def within(rows: DataFrame, source: DeclaredSource, wide: TimeSlice | None) -> DataFrame:
    """The rows of a time, and those without one."""
    if wide is None or source.time_column is None:
        return rows
    at = F.col(source.time_column)
    return rows.where(wide.holds(at) | at.isNull())


def place_of(spark: SparkSession, source: Source, repository: Repository) -> str:
    """The URI of a file or table.

    Raises:
        SourceMissingError: the catalog has no such table.
    """
    if source.format == "feature_table":
        return source.file if ":/" in source.file else repository.lake.table(source.file)
    if source.format != "catalog":
        return repository.source(source.file)
    try:
        found = DeltaTable.forName(spark, source.file).detail().select("location").collect()
    except PySparkException as error:
        raise SourceMissingError(source.name, f"{source.file} in Spark's catalog") from error
    return str(found[0][0]).replace("file:/", "file:///", 1) if "file:///" not in found[0][0] else str(found[0][0])


def rows_of(spark: SparkSession, source: Source, uri: str, version: str) -> DataFrame:
    """The rows of a file or table in a version.

    Raises:
        SourceBrokenError: a file is not CSV, or in another encoding than is declared; or a declared column is missing, or is of
            another type.
    """
    if source.format == "csv":
        return read_csv(spark, source, uri, files_of(spark, source, uri))
    if source.format == "jsonl":
        return spark.read.schema(source.schema).json(uri, mode="FAILFAST")
    is_delta = source.format in DELTA
    rows = delta_tables.at_version(spark, uri, int(version)) if is_delta else read_parquet(spark, uri)
    return declared_columns(rows, source, uri)


def version_at(spark: SparkSession, source: Source, uri: str) -> str:
    """What tells the state that a source is in from every other.

    Raises:
        SourceMissingError: it is not there.
        UnauditedTableError: it is a feature table without an audited version.
    """
    if source.format not in DELTA:
        return version_of(files_of(spark, source, uri))
    version = delta_tables.current_version(spark, uri)
    if version is None:
        raise SourceMissingError(source.name, uri)
    if source.format == "feature_table":
        version = audited_version(spark, uri, table_name(uri)).version
    return str(version)


def files_of(spark: SparkSession, source: Source, uri: str) -> tuple[SourceFile, ...]:
    """The files of a source, as they are now.

    Raises:
        SourceMissingError: there is none.
    """
    files = files_at(spark, uri)
    if not files:
        raise SourceMissingError(source.name, uri)
    return files


def read_csv(spark: SparkSession, source: Source, uri: str, files: Iterable[SourceFile]) -> DataFrame:
    """The rows of a CSV file, or of those in a folder.

    Raises:
        SourceBrokenError: a file is not CSV, or in another encoding than is declared.
    """
    columns = len(StructType.fromDDL(source.schema))
    layouts = [layout_at(spark, file, source.encoding, columns) for file in files]
    if source.encoding not in JAVA_ALWAYS_HAS:
        spark.conf.set("spark.sql.legacy.javaCharsets", "true")
    reader = spark.read.options(encoding=source.encoding, escape='"', unescapedQuoteHandling="RAISE_ERROR")
    if source.encoding in WIDE or any(layout.has_breaks for layout in layouts):
        reader = reader.options(multiLine=True, lineSep=line_end(layouts, uri))
    return reader.csv(uri, schema=source.schema, header=True, nullValue="NA", mode="FAILFAST", enforceSchema=False)


def line_end(layouts: Iterable[Layout], uri: str) -> str:
    """What ends the records of files with line breaks in values, which Spark has to be told.

    Raises:
        SourceBrokenError: it is not the same in all of them.
    """
    ends = {layout.line_end for layout in layouts}
    if len(ends) > 1:
        raise SourceBrokenError(
            uri, reason="some files end records with LF and others with CRLF, and values have line breaks."
        )
    return ends.pop()


def refuse_changed(reads: Iterable[SourceRead], spark: SparkSession) -> None:
    """Raise where a source is not in the state any more in which it was read.

    Raises:
        SourceChangedError: it was written to since.
    """
    for read in reads:
        source = read.source
        if not isinstance(source, Source) or source.format in DELTA:
            continue  # a Delta version stays as it is, and a database was read once
        if version_at(spark, source, read.uri) != read.version:
            raise SourceChangedError(read.source.name, read.uri)


@contextmanager
def told_when_broken(uris: Iterable[str]) -> Iterator[None]:
    """Within the block a file that does not hold what its schema says is told by its place and the reader's reason.

    Raises:
        SourceBrokenError: a header or a value is not what the schema says.
    """
    try:
        yield
    except Py4JJavaError as error:
        causes = [error.java_exception]
        while causes[-1].getCause() is not None:
            causes.append(causes[-1].getCause())
        messages = [str(cause.getMessage()) for cause in causes]
        broken = [uri for uri in uris if any("FAILED_READ_FILE" in said and uri in said for said in messages)]
        if not broken:
            raise
        raise SourceBrokenError(broken[0], reason=" ".join(messages[-1].split())) from error
