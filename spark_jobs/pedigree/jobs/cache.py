"""Rows that are computed once and read several times."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from pyspark.sql import DataFrame


@contextmanager
def cached(rows: DataFrame) -> Iterator[DataFrame]:
    """The rows, computed once for everything within the block."""
    kept = rows.persist()
    try:
        yield kept
    finally:
        kept.unpersist()
