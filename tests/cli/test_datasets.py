"""A training set in the hands of the people who train: one line, and what scikit-learn, XGBoost and their like take."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import polars
import pyarrow as pa
import pytest
import xgboost
from sklearn.ensemble import HistGradientBoostingClassifier

from pedigree.datasets import training_set
from pedigree.jobs.training_sets.errors import (
    AmbiguousIdError,
    AnotherServiceError,
    ContentBrokenError,
    RowsMissingError,
    UnknownTrainingSetError,
)
from pedigree.jobs.training_sets.manifest import Manifest
from pedigree.jobs.training_sets.store import TrainingSetStore

from ..distributions import ROOT
from .conftest import FEATURES, ROWS, keep, rows


def test_a_set_is_found_by_id_by_its_beginning_and_with_its_service(
    kept: Manifest, set_store: TrainingSetStore
) -> None:
    """The whole id, a few digits of it, and both behind the service's or the set's own name are one set."""
    for reference in (
        kept.id,
        kept.id[:6],
        f"lateness@{kept.id}",
        f"lateness@{kept.id[:6]}",
        f"mornings@{kept.id[:6]}",
    ):
        assert training_set(reference, set_store=set_store).id == kept.id


def test_a_set_of_another_service_is_refused(kept: Manifest, set_store: TrainingSetStore) -> None:
    """`service@id` says whose features are expected; the error names those that the set has."""
    with pytest.raises(AnotherServiceError, match=r"features of 'lateness', not of 'earliness'"):
        training_set(f"earliness@{kept.id}", set_store=set_store)


def test_a_service_without_an_id_is_no_training_set(kept: Manifest, set_store: TrainingSetStore) -> None:
    """The newest set is never guessed; the error names the sets of that service."""
    with pytest.raises(UnknownTrainingSetError, match=f"lateness@{kept.short_id}"):
        training_set("lateness", set_store=set_store)


def test_loading_needs_neither_spark_nor_feast() -> None:
    """A training job imports no engine."""
    probe = "import sys, pedigree.datasets; sys.exit(len({'feast', 'pyspark', 'delta'} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", probe], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_rows_come_as_arrow_pandas_polars_and_batches(kept: Manifest, set_store: TrainingSetStore) -> None:
    """All forms hold the same rows in the same order; batches are never larger than asked for."""
    train, expected = training_set(kept.id, set_store=set_store), rows()
    assert train.to_arrow().equals(expected)
    assert train.to_pandas()["event_timestamp"].dt.tz is not None
    assert polars.DataFrame(train).equals(polars.DataFrame(expected))
    batches = list(train.batches(300, ["carrier"]))
    assert [batch.num_rows for batch in batches] == [300, 300, 300, 100]
    assert pa.Table.from_batches(batches).equals(expected.select(["carrier"]))
    assert len(train) == ROWS


def test_scikit_learn_and_xgboost_take_it_in_one_line(kept: Manifest, set_store: TrainingSetStore) -> None:
    """`xy` gives predictors with NaN for null and text as categories; both libraries learn from them as they are."""
    features, label = training_set(kept.id, set_store=set_store).xy("is_late")
    assert list(features) == list(FEATURES)
    assert features["fleet__maker"].dtype == "category"
    assert features["delays__minutes"].isna().sum() == ROWS / 10
    forest = HistGradientBoostingClassifier(categorical_features="from_dtype", max_iter=20).fit(features, label)
    boosted = xgboost.XGBClassifier(n_estimators=20, enable_categorical=True).fit(features, label)
    assert forest.score(features, label) > 0.95
    assert boosted.score(features, label) > 0.95


def test_arrays_feed_a_training_loop_batch_by_batch(kept: Manifest, set_store: TrainingSetStore) -> None:
    """float32 matrices and labels in order; the shards of several workers are all rows, each once."""
    train, numbers = (
        training_set(kept.id, set_store=set_store),
        ["delays__minutes", "delays__count", "fleet__is_leased"],
    )
    whole = list(train.arrays("is_late", numbers, size=128))
    matrix, label = (np.concatenate(parts) for parts in zip(*whole, strict=True))
    assert str(matrix.dtype) == "float32"
    assert (matrix.shape, label.shape) == ((ROWS, 3), (ROWS,))
    features, expected = train.xy("is_late", numbers)
    assert np.allclose(matrix, features.to_numpy(np.float32), equal_nan=True)
    assert (label == expected.to_numpy(np.float32)).all()
    shards = [batch for worker in range(3) for batch in train.arrays("is_late", numbers, size=128, shard=(worker, 3))]
    assert sorted(len(batch) for batch, _ in shards) == sorted(len(batch) for batch, _ in whole)
    assert sum(float(np.nansum(batch)) for batch, _ in shards) == pytest.approx(float(np.nansum(matrix)), rel=1e-5)


def test_what_was_tampered_with_is_found_when_asked(kept: Manifest, set_store: TrainingSetStore) -> None:
    """`verify` names the changed column; too few rows are found at once; both say how the rows come back."""
    table = rows()
    changed = table.set_column(2, "is_late", pa.array([True] * ROWS))
    set_store.write(kept.id, "rows", changed.schema, changed.to_batches())
    with pytest.raises(ContentBrokenError, match=r"is_late changed.*dataset rebuild"):
        training_set(kept.id, set_store=set_store).verify()
    set_store.write(kept.id, "rows", table.schema, table.slice(1).to_batches())
    with pytest.raises(RowsMissingError, match=r"999 rows where 1,000.*dataset rebuild"):
        training_set(kept.id, set_store=set_store)
    set_store.write(kept.id, "rows", table.schema, table.to_batches())
    assert training_set(kept.id, set_store=set_store).verify().id == kept.id


def test_a_shortened_id_that_two_sets_share_is_refused(set_store: TrainingSetStore) -> None:
    """One digit too few is told, with the ids that it may mean."""
    for id_ in ("abc1" + "0" * 28, "abc2" + "0" * 28):
        keep(set_store, rows(), id=id_)
    with pytest.raises(AmbiguousIdError, match=r"beginning of 2 ids: abc\d0+, abc\d0+\."):
        training_set("lateness@abc", set_store=set_store)
