"""Exactly what the view promises, or an error that names every difference."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from pyspark.sql import SparkSession

from feature_repo import views
from pedigree.features.repository import current_repository
from pedigree.features.table import Table
from pedigree.jobs.conform import conform
from pedigree.jobs.errors import SchemaBrokenError

CREATED_AT = datetime(2013, 3, 1, 12, tzinfo=UTC)
WEATHER = "origin STRING, temperature_avg_6h {kind}, wind_speed_max_6h DOUBLE, precipitation_sum_6h DOUBLE,"
WEATHER += " visibility_min_6h DOUBLE, pressure_avg_1d DOUBLE, event_at TIMESTAMP"


def test_rows_come_out_as_promised_with_their_created_time(spark: SparkSession) -> None:
    """A float widens to the promised double, columns come in the view's order, and `created_at` stands beside them."""
    rows = spark.createDataFrame([("EWR", 1.5, 2.0, 0.0, 10.0, 1000.0, CREATED_AT)], WEATHER.format(kind="FLOAT"))
    conformed = conform(rows, views.origin_weather, created_at=CREATED_AT)
    assert [field.simpleString() for field in conformed.schema] == [
        "origin:string",
        "temperature_avg_6h:double",
        "wind_speed_max_6h:double",
        "precipitation_sum_6h:double",
        "visibility_min_6h:double",
        "pressure_avg_1d:double",
        "event_at:timestamp",
        "created_at:timestamp",
    ]
    assert conformed.collect()[0]["created_at"] == CREATED_AT.replace(tzinfo=None)


def test_every_difference_is_named_at_once(spark: SparkSession) -> None:
    """A missing column, one too many and a type that would lose values are all in one message that says where to look."""
    rows = spark.createDataFrame([("EWR", "warm", 1)], "origin STRING, temperature_avg_6h STRING, extra INT")
    with pytest.raises(SchemaBrokenError) as broken:
        conform(rows, views.origin_weather, created_at=CREATED_AT)
    problems = broken.value.problems
    assert "event_at is missing" in problems
    assert "extra was not promised" in problems
    assert "temperature_avg_6h is string, promised is double" in problems
    assert "Change the view's schema or the table's transform" in str(broken.value)


def test_every_view_has_a_table_and_every_column_an_origin() -> None:
    """What the views promise, the tables keep: one table per view, and a source column for each of its columns."""
    tables = current_repository().tables
    assert set(tables) == {view.name for view in views.VIEWS}
    for table in tables.values():
        assert isinstance(table, Table)
        columns = {field.name for field in (*table.view.entity_columns, *table.view.features)}
        assert set(table.columns) == columns | {"event_at"}
