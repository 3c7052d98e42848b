"""Training sets for people who train: one line, by id, without Spark.

from pedigree.datasets import training_set

train = training_set("late_arrival@3f2a9c")
features, label = train.xy("late_arrival")
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from pedigree.features.lake import current_lake
from pedigree.jobs.training_sets.errors import AnotherServiceError, ContentBrokenError, RowsMissingError
from pedigree.jobs.training_sets.manifest import Manifest
from pedigree.jobs.training_sets.store import BATCH, TrainingSetStore

Arrays = tuple[np.ndarray, np.ndarray]


def training_set(reference: str, *, set_store: TrainingSetStore | None = None) -> TrainingSet:
    """A training set that is kept.

    Args:
        reference: its id or the beginning of it, or `service@id`, which also says whose features are expected.
        set_store: where it is kept; `datasets` in the lake (`PEDIGREE_LAKE`), where nothing else is said.
    Raises:
        UnknownTrainingSetError, AmbiguousIdError: no set, or several, have such an id.
        AnotherServiceError: the set is not of this service.
        RowsMissingError: its rows are gone, or are not as many as they were.
    """
    kept = set_store or TrainingSetStore(current_lake().datasets)
    manifest = manifest_of(reference, kept)
    found = TrainingSet(manifest, kept)
    if len(found) != manifest.content.rows:
        raise RowsMissingError(
            manifest.short_id, f"has {len(found):,} rows where {manifest.content.rows:,} are expected"
        )
    return found


def manifest_of(reference: str, set_store: TrainingSetStore) -> Manifest:
    """What is known of a training set; `reference` is as for `training_set`.

    Raises:
        UnknownTrainingSetError, AmbiguousIdError: no set, or several, have such an id.
        AnotherServiceError: the set is not of this service.
    """
    service, _, id_ = reference.rpartition("@")
    manifest = set_store.find(id_)
    own = manifest.ingredients.definitions.service
    if service and service not in (own, manifest.name):
        raise AnotherServiceError(service, id_=manifest.short_id, service=own)
    return manifest


@dataclass(frozen=True)
class TrainingSet:
    """The rows of one training set: entity columns, then features, in the entities' order. Read when they are asked for."""

    manifest: Manifest
    set_store: TrainingSetStore

    @property
    def id(self) -> str:
        """The whole id."""
        return self.manifest.id

    @property
    def features(self) -> tuple[str, ...]:
        """The columns that are the service's features, in its order."""
        return self.manifest.features

    @property
    def location(self) -> str:
        """The URI of the folder that it is kept in."""
        return self.set_store.location(self.id)

    @cached_property
    def schema(self) -> pa.Schema:
        """All columns with their types."""
        return self.set_store.schema(self.id, "rows")

    def __len__(self) -> int:
        with self.set_store.open(self.id, "rows") as file:
            return int(file.metadata.num_rows)

    def verify(self) -> TrainingSet:
        """The same, after all its rows were hashed and found to be what they were.

        Raises:
            ContentBrokenError: they are not.
        """
        content = self.set_store.content(self.id, "rows")
        if content != self.manifest.content:
            raise ContentBrokenError(self.manifest.short_id, content.differing(self.manifest.content))
        return self

    def to_arrow(self, columns: Sequence[str] | None = None) -> pa.Table:
        """All rows as an Arrow table."""
        return self.set_store.table(self.id, "rows", None if columns is None else list(columns))

    def to_pandas(self, columns: Sequence[str] | None = None) -> pd.DataFrame:
        """All rows as pandas has them; instants are aware UTC."""
        frame: pd.DataFrame = self.to_arrow(columns).to_pandas()
        return frame

    def batches(self, size: int = BATCH, columns: Sequence[str] | None = None) -> Iterator[pa.RecordBatch]:
        """At most `size` rows at a time, in order; never more than a few batches are in memory."""
        return self.set_store.batches(self.id, "rows", size=size, columns=None if columns is None else list(columns))

    def xy(self, label: str, columns: Sequence[str] | None = None) -> tuple[pd.DataFrame, pd.Series]:
        """Predictors and label for scikit-learn and XGBoost: numbers as floats with NaN for null, text as categories.

        Args:
            label: an entity column.
            columns: the predictors; the service's features, where none are named.
        """
        names = list(columns or self.features)
        frame = self.to_pandas([*names, label])
        return frame[names].apply(predictor), frame[label]

    def arrays(
        self, label: str, columns: Sequence[str] | None = None, *, size: int = 1024, shard: tuple[int, int] = (0, 1)
    ) -> Iterator[Arrays]:
        """Predictors (rows × columns) and label as float32 arrays, batch by batch, for PyTorch and its like.

        Args:
            label: the column to predict; a number or a truth value.
            columns: the predictors, all features by default; only numbers and truth values.
            size: rows in a batch.
            shard: which share of how many; the shares of all workers together are all rows, each once.
        """
        names = list(columns or self.features)
        for number, batch in enumerate(self.batches(size, [*names, label])):
            if number % shard[1] == shard[0]:
                numbers = [as_floats(batch.column(name)) for name in (*names, label)]
                yield np.column_stack(numbers[:-1]), numbers[-1].copy()  # Arrow lends it read-only

    def __arrow_c_stream__(self, requested_schema: object | None = None) -> object:
        """Hand the rows, as a stream, to anything that takes Arrow: `polars.DataFrame(train)`, DuckDB, pandas."""
        reader = pa.RecordBatchReader.from_batches(self.schema, self.batches())
        return reader.__arrow_c_stream__(requested_schema)


def predictor(column: pd.Series) -> pd.Series:
    """A column as models take it: text as a category, everything else as floats."""
    if column.dtype == object or isinstance(column.dtype, pd.StringDtype):
        return column.astype("category")
    return pd.to_numeric(column).astype(float)


def as_floats(column: pa.Array) -> Any:
    """Numbers and truth values as float32, null as NaN."""
    numbers = column.cast(pa.uint8()) if pa.types.is_boolean(column.type) else column
    return pc.fill_null(numbers.cast(pa.float32(), safe=False), float("nan")).to_numpy(zero_copy_only=False)
