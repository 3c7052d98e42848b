"""What a feature table is made of: the one record that its file in `tables/` fills in."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import timedelta

from feast import FeatureView
from pyspark.sql import DataFrame

from spark_jobs.facts import FactSet, Inputs
from spark_jobs.sources import Source

SourceColumn = tuple[str, str]
"""The name of a source and of one of its columns."""


@dataclass(frozen=True, slots=True)
class FeatureTable:
    """How a view's rows are made.

    Attributes:
        view: the promise; its name, keys, columns and types are the table's.
        facts: what is folded into windows.
        used: the outcomes of facts that this table uses; the others are set aside and counted by outcome.
        transform: turns facts into the view's columns; gets facts from `lookback` before the slice on. Pure.
        lookback: how far before a slice the transform must see.
        columns: the source columns that each column of the view is made of.
        joined: further sources that the transform looks things up in.
    """

    view: FeatureView
    facts: FactSet
    used: frozenset[str]
    transform: Callable[[DataFrame, Inputs], DataFrame]
    lookback: timedelta
    columns: Mapping[str, tuple[SourceColumn, ...]]
    joined: tuple[Source, ...] = ()

    @property
    def name(self) -> str:
        """The table's name, which is its view's."""
        return str(self.view.name)

    @property
    def sources(self) -> tuple[Source, ...]:
        """Everything that is read, the source of the facts first."""
        return (*self.facts.sources, *self.joined)
