"""The columns that a source declares, out of those that it has."""

from __future__ import annotations

from pyspark.sql import DataFrame
from pyspark.sql.types import StructType

from pedigree.features.sources import DeclaredSource
from pedigree.jobs.column_names import named
from pedigree.jobs.conform import differences
from pedigree.jobs.errors import SourceBrokenError


def declared_columns(rows: DataFrame, source: DeclaredSource, uri: str) -> DataFrame:
    """The columns of the schema, in its types.

    Raises:
        SourceBrokenError: one is missing, or has a type whose values the declared one may not hold.
    """
    declared = {field.name: field.dataType for field in StructType.fromDDL(source.schema)}
    found = {field.name: field.dataType for field in rows.schema if field.name in declared}
    problems = differences(declared, found)
    if problems:
        raise SourceBrokenError(uri, reason=f"{'; '.join(problems)} by the schema of {source.name}.")
    return rows.select(*(named(name).cast(dtype).alias(name) for name, dtype in declared.items()))
