"""Names of columns as Spark reads them: a dot or a backtick in a name is part of it."""

from __future__ import annotations

from collections.abc import Iterable

from pyspark.sql import Column
from pyspark.sql import functions as F


def named(name: str) -> Column:
    """A column by its whole name."""
    return F.col(quoted(name))


def all_named(names: Iterable[str]) -> list[Column]:
    """Columns by their whole names, each once."""
    return [named(name) for name in dict.fromkeys(names)]


def quoted(name: str) -> str:
    """A name as SQL."""
    return "`" + name.replace("`", "``") + "`"
