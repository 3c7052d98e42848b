"""Columns by their names, of which a dot or a backtick is a part."""

from __future__ import annotations

from collections.abc import Iterable

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F
from pyspark.sql.types import DoubleType, FloatType


def named(name: str) -> Column:
    """A column by its whole name."""
    return F.col(quoted(name))


def all_named(names: Iterable[str]) -> list[Column]:
    """Columns by their whole names, each once."""
    return [named(name) for name in dict.fromkeys(names)]


def is_key(rows: DataFrame, column: str) -> Column:
    """False for a key that equals nothing: null, or not a number."""
    value = named(column)
    is_float = isinstance(rows.schema[column].dataType, DoubleType | FloatType)
    return value.isNotNull() & ~F.isnan(value) if is_float else value.isNotNull()


def quoted(name: str) -> str:
    """A name as SQL."""
    return "`" + name.replace("`", "``") + "`"
