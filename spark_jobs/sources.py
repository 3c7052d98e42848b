"""The files that features come from, as they came, and how to read one with the version that was read."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Literal

from py4j.protocol import Py4JJavaError
from pyspark.errors import AnalysisException
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from spark_jobs import lake
from spark_jobs.errors import SourceBrokenError, SourceMissingError
from spark_jobs.settings import JobSettings
from spark_jobs.timeslice import TimeSlice


@dataclass(frozen=True, slots=True)
class Source:
    """A file or table of the landing folder.

    Attributes:
        schema: its columns in Spark's DDL. In CSV, `NA` is null.
        time_column: a timestamp by which a build reads no more than it needs, if there is one. Rows without it are read.
        margin: how far from the time column a row's facts may become known. A fact beyond it is not seen.
    """

    name: str
    file: str
    schema: str
    description: str
    format: Literal["csv", "parquet", "delta"] = "csv"
    time_column: str | None = None
    margin: timedelta = timedelta(0)


@dataclass(frozen=True, slots=True)
class SourceRead:
    """A source as it was read: its rows, where it is, which version of it, and the time that it was read for (None: all)."""

    source: Source
    uri: str
    version: str
    rows: DataFrame
    extent: TimeSlice | None = None


FLIGHTS = Source(
    name="flights",
    file="flights.csv",
    schema="year INT, month INT, day INT, dep_time INT, sched_dep_time INT, dep_delay DOUBLE, arr_time INT,"
    " sched_arr_time INT, arr_delay DOUBLE, carrier STRING, flight INT, tailnum STRING, origin STRING, dest STRING,"
    " air_time DOUBLE, distance DOUBLE, hour INT, minute INT, time_hour TIMESTAMP",
    description="Every flight that left New York City in 2013; times are local to the airport",
)
WEATHER = Source(
    name="weather",
    file="weather.csv",
    schema="origin STRING, year INT, month INT, day INT, hour INT, temp DOUBLE, dewp DOUBLE, humid DOUBLE,"
    " wind_dir DOUBLE, wind_speed DOUBLE, wind_gust DOUBLE, precip DOUBLE, pressure DOUBLE, visib DOUBLE,"
    " time_hour TIMESTAMP",
    description="Hourly weather at the three airports of New York City; times are local",
)
PLANES = Source(
    name="planes",
    file="planes.csv",
    schema="tailnum STRING, year INT, type STRING, manufacturer STRING, model STRING, engines INT, seats INT,"
    " speed DOUBLE, engine STRING",
    description="Planes of the FAA's registry",
)
AIRPORTS = Source(
    name="airports",
    file="airports.csv",
    schema="faa STRING, name STRING, lat DOUBLE, lon DOUBLE, alt DOUBLE, tz DOUBLE, dst STRING, tzone STRING",
    description="Airports with their time zones",
)
SOURCES = (FLIGHTS, WEATHER, PLANES, AIRPORTS)


def read(spark: SparkSession, source: Source, settings: JobSettings, extent: TimeSlice | None = None) -> SourceRead:
    """The source's rows and the version of its file; nothing is computed yet but the look at the file.

    Args:
        extent: when the facts that are needed became known. A source with a time column is read for it and its margin only.
    Raises:
        SourceMissingError: there is no such file or table.
    """
    uri = settings.source(source.file)
    version = table_version(spark, source, uri) if source.format == "delta" else file_version(spark, source, uri)
    if source.format == "csv":
        rows = spark.read.csv(
            uri, schema=source.schema, header=True, nullValue="NA", mode="FAILFAST", enforceSchema=False
        )
    elif source.format == "delta":
        rows = lake.at_version(spark, uri, int(version))
    else:
        rows = spark.read.schema(source.schema).parquet(uri)
    if source.time_column is None or extent is None:
        return SourceRead(source, uri, version, rows)
    wide = TimeSlice(extent.start_at - source.margin, extent.end_at + source.margin)
    at = F.col(source.time_column)
    return SourceRead(source, uri, version, rows.where(wide.holds(at) | at.isNull()), wide)


def table_version(spark: SparkSession, source: Source, uri: str) -> str:
    """The newest version of a Delta table that is a source."""
    version = lake.current_version(spark, uri)
    if version is None:
        raise SourceMissingError(source.name, uri)
    return str(version)


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


def file_version(spark: SparkSession, source: Source, uri: str) -> str:
    """What tells one state of a file from another on every file system: when it was written, and its size in bytes."""
    try:
        files = (
            spark.read.format("binaryFile")
            .option("recursiveFileLookup", "true")
            .load(uri)
            .select("modificationTime", "length")
        )
        newest, size = files.agg(F.max(F.unix_millis("modificationTime")), F.sum("length")).first() or (None, None)
    except AnalysisException as error:
        raise SourceMissingError(source.name, uri) from error
    if newest is None:
        raise SourceMissingError(source.name, uri)
    return f"{newest}-{size}"
