"""The files and tables that features are made from, as they come."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import Literal

Encoding = Literal["UTF-8", "US-ASCII", "ISO-8859-1", "windows-1252", "UTF-16", "UTF-16LE", "UTF-16BE", "UTF-32"]
"""Encodings that Python and Java read alike."""


@dataclass(frozen=True, slots=True)
class Source:
    """A file or a table that features are made from.

    Attributes:
        file: its place within the repository's landing folder.
        schema: its columns in Spark's DDL. In CSV, `NA` is null.
        encoding: of a CSV file; what cannot be decoded is refused.
        time_column: a timestamp by which a build reads no more than it needs, if there is one. Rows without it are read.
        margin: how far from the time column a row's facts may become known. A fact beyond it is not seen.
    """

    name: str
    file: str
    schema: str
    description: str
    format: Literal["csv", "parquet", "delta"] = "csv"
    encoding: Encoding = "UTF-8"
    time_column: str | None = None
    margin: timedelta = timedelta(0)

    @property
    def columns(self) -> tuple[str, ...]:
        """The names of the columns of a flat schema, in its order."""
        return tuple(part.split()[0].strip("`") for part in columns_of(self.schema))


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
