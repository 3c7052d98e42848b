"""Rows handed to Feast (`write_to_offline_store`, a push) on their way into a feature table: checked and recorded, too."""

from __future__ import annotations

import pyarrow as pa
from feast import FeatureView
from feast.infra.offline_stores.contrib.spark_offline_store.spark_source import SparkSource
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F
from pyspark.sql.pandas.types import to_arrow_type
from pyspark.sql.types import StructField

from pedigree.features.contract import presence
from pedigree.features.repository import current_repository
from pedigree.jobs import delta_tables
from pedigree.jobs.build.lineage_datasets import assertions, fields_of
from pedigree.jobs.build.quality_gate import judge, mark
from pedigree.jobs.build.verdict import BROKEN_RULES, Verdict
from pedigree.jobs.cache import cached
from pedigree.jobs.column_names import named
from pedigree.jobs.contention import exclusive
from pedigree.jobs.errors import QualityGateFailedError, SchemaBrokenError
from pedigree.jobs.historical.entity_frame import plain
from pedigree.jobs.materialize.compute_engine import delta_source
from pedigree.jobs.settings import job_settings
from pedigree.jobs.spark.session import open_session
from pedigree.lineage.dataset import Dataset
from pedigree.lineage.naming import at_path
from pedigree.lineage.recorder import Recorder, Run
from pedigree.lineage.settings import lineage_settings
from pedigree.online.errors import UnfitRowError, UnfitValueError
from pedigree.online.records.exact_columns import cast
from pedigree.online.row_encoder import UNWRITTEN

INDEX = "__index_level_"
"""What a column of Arrow is called that was the index of a pandas frame."""


def append_batch(view: FeatureView, batch: pa.Table) -> None:
    """Append a batch to the table of `view` in one commit; rows that break the view's contract go to its quarantine.

    The contract of a view that has none in the repository is that its keys and event time are there.

    Args:
        batch: the table's columns, in any order.
    Raises:
        SchemaBrokenError: the batch has other columns than the table.
        UnfitRowError: a value of the batch cannot be kept as it is in the type of its column.
        QualityGateFailedError: too much of it is broken; all of it is in quarantine.
        UnsupportedSourceError, UnbuiltTableError: the view has no Delta table.
    """
    spark, source = open_session(job_settings()), delta_source(view)
    with (
        Recorder.open(lineage_settings()) as recorder,
        recorder.run("write", view.name) as run,
        exclusive(source.path),
    ):
        rows = like_the_table(batch, source, view.name, spark)
        repository = current_repository()
        contract = repository.contracts.get(view.name) or presence(view)
        with cached(mark(rows, contract)) as marked:
            quarantine = repository.lake.quarantine(view.name)
            gate(view, marked, judge(marked, contract), run, quarantine=quarantine)


def like_the_table(batch: pa.Table, source: SparkSource, table: str, spark: SparkSession) -> DataFrame:
    """The batch with the columns of the Delta table, in its order; Feast may have given them the features' names."""
    delta_tables.built_version(spark, source.path, table)
    batch = batch.select([name for name in batch.column_names if not name.startswith(INDEX)])
    stored_as = {name: column for column, name in source.field_mapping.items()}
    batch = plain(batch.rename_columns([stored_as.get(name, name) for name in batch.column_names]))
    there = spark.read.format("delta").load(source.path).schema
    missing = [f"{name} is missing" for name in there.names if name not in batch.column_names]
    extra = [f"{name} was not promised" for name in batch.column_names if name not in there.names]
    if missing or extra:
        raise SchemaBrokenError(table, [*missing, *extra])
    columns = {field.name: exact_column(batch, field, table) for field in there}
    return spark.createDataFrame(pa.table(columns), there)


def exact_column(batch: pa.Table, field: StructField, table: str) -> pa.Array:
    """A column of a batch in the type that the table has for it.

    Raises:
        UnfitRowError: a value is none of that type.
    """
    column, kind = batch[field.name].combine_chunks(), field.dataType.simpleString()
    try:
        return cast(column, to_arrow_type(field.dataType), kind)
    except UnfitValueError as error:
        error.column = field.name
        problem = f"{error}, in row {error.place + 1} of the batch"
        raise UnfitRowError(table, problem, state=UNWRITTEN) from error


def gate(view: FeatureView, marked: DataFrame, verdict: Verdict, run: Run, *, quarantine: str) -> None:
    """Append the good rows and keep the others, or keep all and raise."""
    source = delta_source(view)
    is_good = F.size(BROKEN_RULES) == 0
    rejected = marked.where(~is_good) if verdict.passed else marked
    at = named(source.timestamp_field)
    kept = delta_tables.append(
        delta_tables.quarantined(rejected, at, run_id=run.id, published=verdict.passed),
        quarantine,
        run_id=run.id,
        adds_columns=True,
    )
    if not verdict.passed:
        raise QualityGateFailedError(
            view.name,
            broken=verdict.reasons,
            rows=verdict.rows,
            version=delta_tables.current_version(marked.sparkSession, source.path),
            quarantine=quarantine,
        )
    good = marked.where(is_good).drop(BROKEN_RULES)
    commit = delta_tables.append(good, source.path, run_id=run.id, passed_rows=verdict.rows - kept.rows)
    declare(run, source, good, commit, verdict=verdict)


def declare(run: Run, source: SparkSource, rows: DataFrame, commit: delta_tables.Commit, *, verdict: Verdict) -> None:
    """Tell the run what it wrote."""
    run.writes(
        Dataset(
            name=at_path(source.path),
            fields=fields_of(rows.schema),
            version=str(commit.version),
            rows=commit.rows,
            assertions=assertions(verdict),
        )
    )
