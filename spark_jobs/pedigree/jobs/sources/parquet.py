"""Parquet files, also those with times in nanoseconds, as pandas writes them and Spark alone refuses them."""

from __future__ import annotations

from pyspark.sql import Column, DataFrame, SparkSession
from pyspark.sql import functions as F

from pedigree.jobs.column_names import named
from pedigree.jobs.sources.source_files import files_at

NANOS_AS_LONG = "spark.sql.legacy.parquet.nanosAsLong"


def read_parquet(spark: SparkSession, uri: str) -> DataFrame:
    """The rows of a Parquet file or folder. Times in nanoseconds become timestamps in microseconds, rounded down, in UTC."""
    nanos = nanosecond_columns(spark, uri)
    if not nanos:
        return spark.read.parquet(uri)
    spark.conf.set(NANOS_AS_LONG, "true")
    return spark.read.parquet(uri).withColumns({name: as_timestamp(name) for name in nanos})


def as_timestamp(column: str) -> Column:
    """A count of nanoseconds since 1970 as a timestamp."""
    nanos = named(column)
    return F.timestamp_micros(((nanos - F.pmod(nanos, F.lit(1000))) / 1000).cast("bigint"))


def nanosecond_columns(spark: SparkSession, uri: str) -> list[str]:
    """The columns of the first file whose footer says that they are times in nanoseconds."""
    files = [file for file in files_at(spark, uri) if file.size]
    if not files:
        return []
    hadoop = spark._jvm.org.apache.hadoop.fs.Path(files[0].uri)
    reader = spark._jvm.org.apache.parquet.hadoop.ParquetFileReader
    footer = reader.readFooter(spark._jsc.hadoopConfiguration(), hadoop)
    fields = footer.getFileMetaData().getSchema().getFields()
    return [
        str(field.getName()) for field in fields if str(field.getLogicalTypeAnnotation()).startswith("TIMESTAMP(NANOS")
    ]
