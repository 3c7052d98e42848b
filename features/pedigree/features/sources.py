"""What features are made from, as it comes: files, Delta tables, feature tables of others, and tables of a database."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import Literal, get_args

from pedigree.features.errors import SourceDeclarationError

Encoding = Literal["UTF-8", "US-ASCII", "ISO-8859-1", "windows-1252", "UTF-16", "UTF-16LE", "UTF-16BE", "UTF-32"]
"""Encodings that Python and Java read alike."""

Format = Literal["csv", "parquet", "jsonl", "delta", "catalog", "feature_table"]


@dataclass(frozen=True, slots=True)
class DeclaredSource:
    """What every source has.

    Attributes:
        schema: the columns that are read, in Spark's DDL.
        time_column: a timestamp by which a build reads no more than it needs, if there is one. Rows without it are read.
        margin: how far from the time column a row's events may become known. An event beyond it is not seen.
    """

    name: str
    schema: str
    description: str = ""
    time_column: str | None = None
    margin: timedelta = timedelta(0)

    @property
    def columns(self) -> tuple[str, ...]:
        """The names of the columns of a flat schema, in its order."""
        return tuple(part.split()[0].strip("`") for part in columns_of(self.schema))


@dataclass(frozen=True, slots=True, kw_only=True)
class Source(DeclaredSource):
    """A file, a folder of files, or a Delta table.

    Attributes:
        file: its place within the repository's landing folder, or a URI. For `catalog` it is a table's name in Spark's
            catalog, for `feature_table` that of a feature table in the lake, or its URI.
        format: `csv` (`NA` is null), `parquet`, `jsonl` (one JSON object per line; other members are left out), `delta` (the
            newest version), `catalog` (a Delta table by name), `feature_table` (its newest audited version).
        encoding: of a CSV file; what cannot be decoded is refused.
    Raises:
        SourceDeclarationError: there is no such format.
    """

    file: str
    format: Format = "csv"
    encoding: Encoding = "UTF-8"

    def __post_init__(self) -> None:
        if self.format not in get_args(Format):
            raise SourceDeclarationError(
                self.name, f"has the format {self.format!r}", f"Known formats: {', '.join(get_args(Format))}."
            )


@dataclass(frozen=True, slots=True, kw_only=True)
class JdbcSource(DeclaredSource):
    """A table of a database, read by JDBC, once per build.

    Attributes:
        url: JDBC's own, such as `jdbc:postgresql://host:5432/shop`. `${NAME}` stands for an environment variable, here and in
            `user` and `password`.
        table: its name, with its schema where that is not the default one.
        partition_column: a column of numbers or timestamps by whose range the table is read in `partitions` parts at once.
            Each part is a query of its own: rows that change meanwhile may be seen as of either moment. Without it one query
            reads everything as of one moment.
    """

    url: str
    table: str
    user: str = ""
    password: str = ""
    partition_column: str | None = None
    partitions: int = 4


def columns_of(schema: str) -> list[str]:
    """The columns of a schema in DDL, each with its type; commas within a type do not part columns."""
    parts, depth = [""], 0
    for letter in schema:
        depth += (letter in "(<") - (letter in ")>")
        if letter == "," and depth == 0:
            parts.append("")
        else:
            parts[-1] += letter
    return [part.strip() for part in parts if part.strip()]
