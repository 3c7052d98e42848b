"""A table of a database, read once by JDBC, so that everything within a build sees the same rows."""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime

from py4j.protocol import Py4JJavaError
from pyspark.errors import PySparkException
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from pedigree.features.sources import JdbcSource
from pedigree.jobs.errors import SourceBrokenError, VariableMissingError
from pedigree.jobs.sources.declared_columns import declared_columns
from pedigree.lineage.naming import DatasetName, jdbc_table
from pedigree.lineage.redaction import redacted

VARIABLE = re.compile(r"\$\{(\w+)\}")

ROWS_AT_ONCE = 10_000
"""How many rows a database sends at a time. By default PostgreSQL's driver keeps the whole answer in memory."""


@dataclass(frozen=True, slots=True)
class TableRead:
    """A table as it was read: its rows, where it is, and when it was read."""

    uri: str
    dataset: DatasetName
    version: str
    rows: DataFrame


def read_table(spark: SparkSession, source: JdbcSource, select: Callable[[DataFrame], DataFrame]) -> TableRead:
    """The selected rows of a table, read now. They are kept by Spark for as long as somebody holds them.

    Args:
        select: leaves out rows; the database does so where it can.
    Raises:
        VariableMissingError: the environment lacks what the declaration names.
        SourceBrokenError: the database does not answer, or has no such table, column or type.
    """
    url = expanded(source, source.url)
    dataset = jdbc_table(url, source.table)
    uri, read_at = f"{dataset.namespace}/{dataset.name}", datetime.now(UTC)
    try:
        rows = select(declared_columns(opened(spark, source, url), source, uri)).localCheckpoint()
    except (PySparkException, Py4JJavaError) as error:
        raise SourceBrokenError(uri, reason=f"{reason_of(error)}.") from error
    return TableRead(uri, dataset, read_at.isoformat(timespec="microseconds"), rows)


def opened(spark: SparkSession, source: JdbcSource, url: str) -> DataFrame:
    """All rows of a table, in as many parts as are declared; nothing is read yet but their range."""
    reader = spark.read.format("jdbc").options(
        url=url,
        dbtable=source.table,
        user=expanded(source, source.user),
        password=expanded(source, source.password),
        fetchsize=ROWS_AT_ONCE,
    )
    column = source.partition_column
    if column is None:
        return reader.load()
    low, high = reader.load().agg(F.min(column), F.max(column)).collect()[0]
    if low is None:
        return reader.load()
    return reader.options(
        partitionColumn=column, lowerBound=str(low), upperBound=str(high), numPartitions=source.partitions
    ).load()


def expanded(source: JdbcSource, text: str) -> str:
    """A text with the environment's values in place of `${NAME}`.

    Raises:
        VariableMissingError: one is not set.
    """
    missing = [name for name in VARIABLE.findall(text) if name not in os.environ]
    if missing:
        raise VariableMissingError(source.name, missing)
    return VARIABLE.sub(lambda found: os.environ[found[1]], text)


def reason_of(error: PySparkException | Py4JJavaError) -> str:
    """What the database said, in one line and without passwords."""
    if isinstance(error, Py4JJavaError):
        cause = error.java_exception
        while cause.getCause() is not None:
            cause = cause.getCause()
        said = str(cause.getMessage())
    else:
        said = str(error)
    return redacted(" ".join(said.split("JVM stacktrace")[0].split())).rstrip(".")
