"""The answer of a retrieval, in every form that Feast's users ask for: pandas, Arrow, Spark, batches, saved, exported."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, Protocol
from uuid import uuid4

import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.fs as pafs
import pyarrow.parquet as pq
from feast.infra.offline_stores.contrib.spark_offline_store.spark import SparkRetrievalJob
from pyspark.sql import DataFrame, SparkSession

from pedigree.jobs.historical.entity_frame import plain
from pedigree.jobs.settings import job_settings
from pedigree.jobs.spark.session import open_session

BATCH_ROWS = 65_536
LARGEST_EXACT = 2**53
"""Up to here a float has every whole number."""


class Answer(Protocol):
    """One row per label, in the labels' order, not computed before it is asked for."""

    def table(self) -> pa.Table:
        """All rows, in this process."""

    def frame(self) -> DataFrame:
        """All rows, where Spark has them."""

    def batches(self, rows: int, staging: str | None) -> Iterator[pa.RecordBatch]:
        """At most `rows` at a time; what does not fit in memory is staged as files in the folder `staging`."""


@dataclass(frozen=True, slots=True)
class SparkAnswer:
    """An answer that Spark computes."""

    rows: DataFrame

    def table(self) -> pa.Table:
        """All rows, collected on the driver."""
        return plain(self.rows.toArrow())

    def frame(self) -> DataFrame:
        """The rows; nothing is collected."""
        return self.rows

    def batches(self, rows: int, staging: str | None) -> Iterator[pa.RecordBatch]:
        """The rows from Parquet files that Spark writes in order and that are gone at the end; nothing is collected."""
        with tempfile.TemporaryDirectory(prefix="pedigree-batches-") as local:
            uri = f"{(staging or Path(local).as_uri()).rstrip('/')}/{uuid4().hex}"
            self.rows.write.parquet(uri)
            files, folder = pafs.FileSystem.from_uri(uri.replace("s3a://", "s3://", 1))
            try:
                for part in sorted(found.path for found in files.get_file_info(pafs.FileSelector(folder))):
                    if part.endswith(".parquet"):
                        yield from batches_of(pq.ParquetFile(part, filesystem=files), rows)
            finally:
                files.delete_dir(folder)


def batches_of(file: pq.ParquetFile, rows: int) -> Iterator[pa.RecordBatch]:
    """The rows of one file, in the types that `SparkAnswer.table` has."""
    for batch in file.iter_batches(rows):
        yield from plain(pa.Table.from_batches([batch])).to_batches()


@dataclass(slots=True)
class SmallAnswer:
    """An answer that is computed in this process, once."""

    compute: Callable[[], pa.Table]
    computed: pa.Table | None = field(default=None, init=False)

    def table(self) -> pa.Table:
        """All rows."""
        if self.computed is None:
            self.computed = self.compute()
        return self.computed

    def frame(self) -> DataFrame:
        """The rows, handed to Spark."""
        return open_session(job_settings()).createDataFrame(self.table())

    def batches(self, rows: int, staging: str | None) -> Iterator[pa.RecordBatch]:  # noqa: ARG002 - nothing to stage
        """Slices of the table."""
        yield from self.table().to_batches(rows)


class PointInTimeJob(SparkRetrievalJob):  # type: ignore[misc]  # Feast has no types
    """Feast's retrieval job over an answer: one row per label, in the labels' order."""

    def __init__(self, answer: Answer, **arguments: Any) -> None:
        super().__init__(spark_session=SparkSession.getActiveSession(), query="", **arguments)
        self.answer = answer

    def to_spark_df(self) -> DataFrame:
        """The rows as a Spark frame. With on-demand features, which Feast computes in Python, they pass through the driver."""
        if not self.on_demand_feature_views:
            frame = self.answer.frame()
        else:
            frame = open_session(job_settings()).createDataFrame(self.to_arrow())
        self.spark_session = frame.sparkSession
        return frame

    def to_arrow_batches(self, rows: int = BATCH_ROWS) -> Iterator[pa.RecordBatch]:
        """The rows in batches of at most `rows`, in order and with on-demand features, without collecting them.

        Spark stages them in `offline_store.staging_location`, or in a temporary folder where that is not set.
        """
        staging = self._config.offline_store.staging_location
        for batch in self.answer.batches(rows, staging):
            part = SmallAnswer(partial(pa.Table.from_batches, [batch]))
            yield from type(self)(part, **self.arguments).to_arrow().to_batches()

    @property
    def arguments(self) -> dict[str, Any]:
        """What Feast's job was made with."""
        return {
            "full_feature_names": self.full_feature_names,
            "config": self._config,
            "on_demand_feature_views": self.on_demand_feature_views,
            "metadata": self.metadata,
        }

    def to_df(self, validation_reference: Any = None, timeout: int | None = None) -> pd.DataFrame:
        """The rows as a frame of pandas: Feast's own, but for what pandas would not keep as it is; see `frame_of`."""
        return frame_of(self.to_arrow(validation_reference=validation_reference, timeout=timeout))

    def persist(self, storage: Any, allow_overwrite: bool | None = False, timeout: int | None = None) -> None:
        """Save the rows at `storage`, in Feast's own way."""
        self.to_spark_df()  # Feast asks the session for its warehouse before it asks for the rows
        super().persist(storage, allow_overwrite, timeout)

    def _to_df_internal(self, timeout: int | None = None) -> Any:
        return frame_of(self._to_arrow_internal(timeout))

    def _to_arrow_internal(self, timeout: int | None = None) -> pa.Table:  # noqa: ARG002 - Feast's signature
        return self.answer.table()


def frame_of(table: pa.Table) -> pd.DataFrame:
    """A table as a frame of pandas. Maps are dicts, and whole numbers that a float would round are `Int64` beside a null."""
    frame: pd.DataFrame = table.to_pandas(maps_as_pydicts="strict")
    for name in table.column_names:
        column = table[name]
        if pa.types.is_integer(column.type) and column.null_count and is_beyond_floats(column):
            frame[name] = column.to_pandas(types_mapper={column.type: pd.Int64Dtype()}.get)
    return frame


def is_beyond_floats(column: pa.ChunkedArray) -> bool:
    """True where a whole number is larger than all that a float has exactly."""
    ends = pc.min_max(column).as_py()
    return any(one is not None and abs(one) > LARGEST_EXACT for one in ends.values())
