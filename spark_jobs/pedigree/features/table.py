"""A feature table: how the rows of one feature view are made, and what must hold of them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from typing import TYPE_CHECKING

from feast import FeatureView

from pedigree.features.columns import EVENT_AT
from pedigree.features.events import HAPPENED, KNOWN_AT, EventSet, Inputs, SourceColumn
from pedigree.features.sources import Source
from pedigree.features.windows import Windows

if TYPE_CHECKING:
    from great_expectations import ExpectationSuite
    from pyspark.sql import DataFrame


def as_they_are(rows: DataFrame, _inputs: Inputs) -> DataFrame:
    """The rows of the windows, with nothing added."""
    return rows


@dataclass(frozen=True, slots=True)
class Table:
    """How a view's rows are made.

    Attributes:
        view: the promise; its name, keys, columns and types are the table's.
        contract: what must hold of the rows; see `pedigree.features.contract`.
        events: what is aggregated in windows.
        windows: the features that are aggregations, and the keys.
        used: the outcomes of events that this table uses; the others are set aside and counted by outcome.
        transform: adds the other columns of the view to the rows of the windows. Pure.
        added: the source columns that each column that the transform adds is made of.
        joined: further sources that the transform looks things up in.
    """

    view: FeatureView
    contract: ExpectationSuite
    events: EventSet
    windows: Windows
    used: frozenset[str] = frozenset({HAPPENED})
    transform: Callable[[DataFrame, Inputs], DataFrame] = as_they_are
    added: Mapping[str, tuple[SourceColumn, ...]] = field(default_factory=dict)
    joined: tuple[Source, ...] = ()

    @property
    def name(self) -> str:
        """The table's name, which is its view's."""
        return str(self.view.name)

    @property
    def lookback(self) -> timedelta:
        """How far before a slice its windows see."""
        return self.windows.lookback

    @property
    def columns(self) -> Mapping[str, tuple[SourceColumn, ...]]:
        """The source columns that each column of the view is made of: those of its windows' events, and those added."""
        windows, columns = self.windows, self.events.columns
        features = {feature.name: columns[feature.column] for feature in windows.features}
        return {**{key: columns[key] for key in windows.keys}, EVENT_AT: columns[KNOWN_AT], **features, **self.added}

    @property
    def sources(self) -> tuple[Source, ...]:
        """Everything that is read, the source of the events first."""
        return (*self.events.sources, *self.joined)
