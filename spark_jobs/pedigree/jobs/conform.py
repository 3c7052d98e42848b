"""Exactly the view's columns and types, or an error that names every difference."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from datetime import datetime
from types import MappingProxyType

from feast import FeatureView
from feast.infra.compute_engines.spark.nodes import from_feast_to_spark_type
from feast.types import (
    Array,
    Decimal,
    FeastType,
    ImageBytes,
    PdfBytes,
    ScalarMap,
    Set,
    TimeUuid,
    Uuid,
    ZonedTimestamp,
)
from pyspark.sql import DataFrame
from pyspark.sql import functions as F
from pyspark.sql.types import (
    ArrayType,
    BinaryType,
    ByteType,
    DataType,
    DecimalType,
    DoubleType,
    FloatType,
    IntegerType,
    LongType,
    MapType,
    ShortType,
    StringType,
    TimestampType,
)

from pedigree.features.columns import created_column, event_column, stored_names
from pedigree.jobs.column_names import all_named, named
from pedigree.jobs.errors import SchemaBrokenError

WIDENS = {
    LongType(): (ByteType(), ShortType(), IntegerType()),
    IntegerType(): (ByteType(), ShortType()),
    DoubleType(): (FloatType(),),
}
"""Types that may stand where a wider one was promised, since no value changes."""

PLAIN = {
    PdfBytes: BinaryType(),
    ImageBytes: BinaryType(),
    Uuid: StringType(),
    TimeUuid: StringType(),
    ZonedTimestamp: TimestampType(),
}
"""Types that Feast knows of no Spark type for. Of a `ZonedTimestamp` a table has the instant, and its zone is UTC."""

DECIMAL = DecimalType(38, 18)
"""The column of a `Decimal` that nobody made yet."""

NOTHING_FOUND: Mapping[str, DataType] = MappingProxyType({})


def promised(view: FeatureView, found: Mapping[str, DataType] = NOTHING_FOUND) -> dict[str, DataType]:
    """The Spark types of the columns that a view promises, as its table calls them: keys first, the event time last.

    Args:
        found: the table's own types. They tell how many digits a `Decimal` has, and what is in a `ScalarMap`.
    Raises:
        SchemaBrokenError: a column has a type that no table can hold.
    """
    stored_as = stored_names(view)
    fields = {stored_as.get(field.name, field.name): field.dtype for field in (*view.entity_columns, *view.features)}
    columns = {name: spark_type(dtype, found.get(name)) for name, dtype in fields.items()}
    unsupported = [f"{name} has a type that Spark has not" for name, dtype in columns.items() if dtype is None]
    if unsupported:
        raise SchemaBrokenError(view.name, unsupported)
    return {name: dtype for name, dtype in columns.items() if dtype is not None} | {event_column(view): TimestampType()}


def spark_type(dtype: FeastType, found: DataType | None = None) -> DataType | None:
    """Spark's type for a type of Feast's; None where it has none.

    Args:
        found: the type of the column that is there. It decides where Feast's type leaves something open.
    """
    if isinstance(dtype, Array | Set):
        element = spark_type(dtype.base_type, found.elementType if isinstance(found, ArrayType) else None)
        return None if element is None else ArrayType(element)
    if dtype == Decimal:
        return found if isinstance(found, DecimalType | StringType) else DECIMAL
    if dtype == ScalarMap:
        return found if isinstance(found, MapType) else MapType(StringType(), StringType())
    return PLAIN[dtype] if dtype in PLAIN else from_feast_to_spark_type(dtype)


def conform(rows: DataFrame, view: FeatureView, *, created_at: datetime, checked: Collection[str] = ()) -> DataFrame:
    """The rows as the view promises them, with `created_at` beside the event time.

    Args:
        rows: the promised columns as the table calls them.
        created_at: aware.
        checked: columns that may stand beside the promised ones, for the contract to look at.
    Raises:
        SchemaBrokenError: a column is missing, was not promised, or has a type that cannot be widened to the promised one.
    """
    there = {field.name: field.dataType for field in rows.schema}
    expected = promised(view, there)
    beside = [name for name in rows.columns if name in checked and name not in expected]
    found = {name: dtype for name, dtype in there.items() if name not in beside}
    problems = differences(expected, found)
    if problems:
        raise SchemaBrokenError(view.name, problems)
    columns = [named(name).cast(dtype).alias(name) for name, dtype in expected.items()]
    return rows.select(*columns, *all_named(beside), F.lit(created_at).cast("timestamp").alias(created_column(view)))


def fits(found: DataType, expected: DataType) -> bool:
    """True where values of a type may stand where another was promised; whether a list may hold nulls does not matter."""
    return found.simpleString() == expected.simpleString() or found in WIDENS.get(expected, ())


def differences(expected: Mapping[str, DataType], found: Mapping[str, DataType]) -> list[str]:
    """What keeps rows of type `found` from standing where `expected` was promised, one sentence each."""
    missing = [f"{name} is missing" for name in expected if name not in found]
    extra = [f"{name} was not promised" for name in found if name not in expected]
    wrong = [
        f"{name} is {found[name].simpleString()}, promised is {dtype.simpleString()}"
        for name, dtype in expected.items()
        if name in found and not fits(found[name], dtype)
    ]
    return [*missing, *extra, *wrong]
