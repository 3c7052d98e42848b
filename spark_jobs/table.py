"""What a file in `spark_jobs/tables` says about its feature table."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import timedelta

from feast import FeatureView
from pyspark.sql import DataFrame

from spark_jobs.sources import Source

Inputs = Mapping[str, DataFrame]
"""Rows by the name of their source."""

SourceColumn = tuple[str, str]
"""The name of a source and of one of its columns."""


@dataclass(frozen=True, slots=True)
class FeatureTable:
    """How a view's rows are made.

    Attributes:
        view: the promise; its name, keys, columns and types are the table's.
        sources: what is read.
        facts: turns the sources into one row per fact, with `event_at` and `outcome`. Pure.
        used: the outcomes of facts that this table uses; the others are set aside and counted by outcome.
        transform: turns facts into the view's columns; gets facts from `lookback` before the slice on. Pure.
        lookback: how far before a slice the transform must see.
        columns: the source columns that each column of the view is made of.
    """

    view: FeatureView
    sources: tuple[Source, ...]
    facts: Callable[[Inputs], DataFrame]
    used: frozenset[str]
    transform: Callable[[DataFrame, Inputs], DataFrame]
    lookback: timedelta
    columns: Mapping[str, tuple[SourceColumn, ...]]

    @property
    def name(self) -> str:
        """The table's name, which is its view's."""
        return str(self.view.name)
