"""A feature table: how the rows of one feature view are made, and what must hold of them. `docs/tables.md` shows each way."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from typing import TYPE_CHECKING

from feast import FeatureView

from pedigree.features.columns import EVENT_AT
from pedigree.features.errors import EventColumnsError, SourceDeclarationError
from pedigree.features.events import HAPPENED, KNOWN_AT, EventSet, Inputs, SourceColumn
from pedigree.features.sources import DeclaredSource
from pedigree.features.windows import Windows

if TYPE_CHECKING:
    from great_expectations import ExpectationSuite
    from pyspark.sql import DataFrame


def as_they_are(rows: DataFrame, _inputs: Inputs) -> DataFrame:
    """The rows of the windows, with nothing added."""
    return rows


Transform = Callable[[Inputs], "DataFrame"]
"""Makes a table's rows from the rows of its sources, by their names. Pure."""


@dataclass(frozen=True, slots=True)
class FeatureTable:
    """What every table has.

    Attributes:
        view: the promise; its name, keys, columns and types are the table's.
        contract: what must hold of the rows; see `pedigree.features.contract`.
    """

    view: FeatureView
    contract: ExpectationSuite

    @property
    def name(self) -> str:
        """The table's name, which is its view's."""
        return str(self.view.name)


@dataclass(frozen=True, slots=True)
class Table(FeatureTable):
    """A table of windows over events.

    Attributes:
        events: what is aggregated in windows.
        windows: the features that are aggregations, and the keys.
        used: the outcomes of events that this table uses; the others are set aside and counted by outcome.
        transform: adds the other columns of the view to the rows of the windows. Pure.
        added: the source columns that each column that the transform adds is made of.
        joined: further sources that the transform looks things up in.
    """

    events: EventSet
    windows: Windows
    used: frozenset[str] = frozenset({HAPPENED})
    transform: Callable[[DataFrame, Inputs], DataFrame] = as_they_are
    added: Mapping[str, tuple[SourceColumn, ...]] = field(default_factory=dict)
    joined: tuple[DeclaredSource, ...] = ()

    @property
    def lookback(self) -> timedelta:
        """How far before a slice its windows see."""
        return self.windows.lookback

    @property
    def columns(self) -> Mapping[str, tuple[SourceColumn, ...]]:
        """The source columns that each column of the view is made of: those of its windows' events, and those added.

        Raises:
            EventColumnsError: a window or a key is of a column that the events do not have.
        """
        self.refuse_missing_columns()
        windows, columns = self.windows, self.events.columns
        features = {feature.name: columns[feature.column] for feature in windows.features}
        return {**{key: columns[key] for key in windows.keys}, EVENT_AT: columns[KNOWN_AT], **features, **self.added}

    def refuse_missing_columns(self) -> None:
        """Raise where the windows need what the events do not have.

        Raises:
            EventColumnsError: a window or a key is of a column that the events do not have.
        """
        needed = {*self.windows.keys, *(feature.column for feature in self.windows.features), KNOWN_AT}
        missing = needed - self.events.columns.keys()
        if missing:
            raise EventColumnsError(self.name, sorted(missing), known=sorted(self.events.columns))

    @property
    def sources(self) -> tuple[DeclaredSource, ...]:
        """Everything that is read, the source of the events first."""
        return (*self.events.sources, *self.joined)


@dataclass(frozen=True, slots=True)
class TransformTable(FeatureTable):
    """A table whose rows a transform makes of its sources.

    Attributes:
        sources: what the transform reads. A build reads a source with a `time_column` for its slice and the source's margin.
        transform: a function, or the name of a file with a query in Spark SQL, in the folder of `feature_store.yaml`; the
            sources are the query's tables.
        columns: the source columns that a column of the table is made of, if the author says so; lineage shows no others.
        is_whole: each build replaces the whole table, whatever its slice. Otherwise it replaces the rows of its slice, and
            rows of other times that the transform gives stay out.
    """

    sources: tuple[DeclaredSource, ...]
    transform: Transform | str
    columns: Mapping[str, tuple[SourceColumn, ...]] = field(default_factory=dict)
    is_whole: bool = False


@dataclass(frozen=True, slots=True)
class ExternalTable(FeatureTable):
    """A Delta table that somebody else writes, at the `path` of its view's source. It is audited, and never written to.

    A version that keeps the contract may be loaded. If rows break rules, they are kept in our quarantine, and the version
    stays out as a whole, since we cannot take rows out of a table that is not ours.

    Attributes:
        tolerates: let a version pass where no rule is broken by more rows than its `mostly` allows; the broken rows are served.
    Raises:
        SourceDeclarationError: the view's source has no path.
    """

    tolerates: bool = False

    def __post_init__(self) -> None:
        if not getattr(self.view.batch_source, "path", None):
            remedy = "Give the view a SparkSource with path=… and table_format=DeltaFormat()."
            raise SourceDeclarationError(self.name, "is no Delta table by its path", remedy)

    @property
    def uri(self) -> str:
        """Where the table is."""
        return str(self.view.batch_source.path)
