"""Features of Delta's protocol: a table is read by an engine that knows them, and read rightly."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pandas as pd
import pytest
from feast import Entity, FeatureView, Field, ValueType
from feast.infra.offline_stores.contrib.spark_offline_store.spark_source import SparkSource
from feast.table_format import DeltaFormat
from feast.types import Float64, Int64
from pyspark.sql import SparkSession

from benchmarks.stores import OURS, open_store
from pedigree.jobs.historical.retrieval_job import PointInTimeJob, SmallAnswer
from pedigree.jobs.training_sets.entity_set import entities_at

from ..distributions import ROOT

AT = datetime(2026, 1, 1, tzinfo=UTC)
COLUMNS = "k BIGINT, a DOUBLE, t TIMESTAMP"
INSERT = "INSERT INTO {table} (k, a, t) VALUES (1, 1.5, TIMESTAMP '2026-01-01'), (2, 2.5, TIMESTAMP '2026-01-01')"
PAGE = ROOT / "docs" / "point-in-time.md"


@dataclass(frozen=True)
class Case:
    """A table with a feature: how it is made, what is done to it, and who reads it.

    Attributes:
        label: what the docs call it.
        reads: `DuckDB` where the small reader knows the feature, or need not.
        feature: the column of the view's one feature.
        values: what is found for the keys 1 and 2.
    """

    label: str
    reads: str
    columns: str = COLUMNS
    more: str = ""
    then: tuple[str, ...] = ()
    feature: str = "a"
    values: tuple[float | None, float | None] = (1.5, 2.5)


def with_property(name: str, value: str = "true") -> str:
    return f"TBLPROPERTIES ('delta.{name}' = '{value}')"


CASES = {
    "plain": Case("none", "DuckDB"),
    "columnMapping": Case(
        "column mapping (renamed or dropped columns)",
        "Spark",
        more=with_property("columnMapping.mode", "name"),
        then=(
            "ALTER TABLE {table} RENAME COLUMN a TO b",
            "INSERT INTO {table} VALUES (3, 3.5, TIMESTAMP '2026-01-01')",
        ),
        feature="b",
    ),
    "deletionVectors": Case(
        "deletion vectors",
        "Spark",
        more=with_property("enableDeletionVectors"),
        then=("DELETE FROM {table} WHERE k = 2",),
        values=(1.5, None),
    ),
    "typeWidening": Case(
        "type widening",
        "Spark",
        columns="k INT, a FLOAT, t TIMESTAMP",
        more=with_property("enableTypeWidening"),
        then=("ALTER TABLE {table} ALTER COLUMN a TYPE DOUBLE", "ALTER TABLE {table} ALTER COLUMN k TYPE BIGINT"),
    ),
    "v2Checkpoint": Case(
        "v2 checkpoints",
        "Spark",
        more="TBLPROPERTIES ('delta.checkpointPolicy' = 'v2', 'delta.checkpointInterval' = '2')",
        then=tuple(f"INSERT INTO {{table}} VALUES ({k}, 0.5, TIMESTAMP '2026-01-01')" for k in (3, 4, 5)),
    ),
    "rowTracking": Case("row tracking", "DuckDB", more=with_property("enableRowTracking")),
    "timestampNtz": Case(
        "times without a zone, which are UTC", "DuckDB", columns="k BIGINT, a DOUBLE, t TIMESTAMP_NTZ"
    ),
    "generated": Case(
        "generated partition columns",
        "DuckDB",
        columns=f"{COLUMNS}, d DATE GENERATED ALWAYS AS (CAST(t AS DATE))",
        more="PARTITIONED BY (d)",
    ),
    "inCommitTimestamp": Case("in-commit timestamps", "DuckDB", more=with_property("enableInCommitTimestamps")),
    "clustering": Case("liquid clustering", "DuckDB", more="CLUSTER BY (k)"),
    "variant": Case("variant columns", "Spark", columns=f"{COLUMNS}, v VARIANT"),
}


def table_of_docs() -> str:
    """The cases as the table of the page."""
    rows = [f"| {case.label} | {case.reads} |" for case in CASES.values()]
    return "\n".join(["| feature of the table | read by |", "|---|---|", *rows])


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_a_table_is_read_rightly_by_who_knows_its_protocol(spark: SparkSession, tmp_path: Path, case: Case) -> None:
    """`auto` gives the values that were written, by the small engine only where that knows the table's features."""
    table = f"delta.`{tmp_path}/table`"
    spark.sql(f"CREATE TABLE {table} ({case.columns}) USING delta {case.more}")
    for statement in (INSERT, *case.then):
        spark.sql(statement.format(table=table))
    key = Entity(name="k", join_keys=["k"], value_type=ValueType.INT64)
    source = SparkSource(name="s", path=(tmp_path / "table").as_uri(), table_format=DeltaFormat(), timestamp_field="t")
    schema = [Field(name="k", dtype=Int64), Field(name=case.feature, dtype=Float64)]
    view = FeatureView(name="v", entities=[key], ttl=timedelta(0), schema=schema, source=source)
    store = open_store(tmp_path, "auto", OURS, [key, view])
    labels = pd.DataFrame({"k": [1, 2], "event_timestamp": [AT, AT]})
    job = store.get_historical_features(labels, [f"v:{case.feature}"])
    assert isinstance(job, PointInTimeJob)
    assert job.to_arrow()[case.feature].to_pylist() == list(case.values)
    assert isinstance(job.answer, SmallAnswer) is (case.reads == "DuckDB")


def test_the_page_says_who_reads_what() -> None:
    """The table of the docs is that of the cases."""
    assert table_of_docs() in PAGE.read_text()


def test_an_entity_set_of_a_renamed_column_has_its_values(spark: SparkSession, tmp_path: Path) -> None:
    """Where a table of labels was changed by column mapping, its values are those that were written."""
    table = f"delta.`{tmp_path}/labels`"
    spark.sql(f"CREATE TABLE {table} ({COLUMNS}) USING delta {with_property('columnMapping.mode', 'name')}")
    spark.sql(INSERT.format(table=table))
    spark.sql(f"ALTER TABLE {table} RENAME COLUMN k TO customer")
    assert sorted(entities_at(str(tmp_path / "labels"))["customer"].to_pylist()) == [1, 2]
