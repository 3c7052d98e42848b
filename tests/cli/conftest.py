"""A store with one training set, written without Spark."""

from __future__ import annotations

import random
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pyarrow as pa
import pytest

from pedigree.jobs.training_sets.fingerprint import Content, content_of
from pedigree.jobs.training_sets.manifest import Code, Definitions, Entities, Ingredients, Manifest
from pedigree.jobs.training_sets.store import TrainingSetStore

NOON = datetime(2013, 3, 1, 12, tzinfo=UTC)
ROWS = 1_000
FEATURES = ("delays__minutes", "delays__count", "fleet__maker", "fleet__is_leased")


def rows() -> pa.Table:
    """Flights that are late where the carrier has been late; every tenth knows nothing of its carrier."""
    chance = random.Random(7)
    minutes = [None if number % 10 == 0 else chance.uniform(-10, 60) for number in range(ROWS)]
    return pa.table(
        {
            "carrier": [chance.choice(["UA", "AA"]) for _ in range(ROWS)],
            "event_timestamp": pa.array([NOON + number * timedelta(minutes=1) for number in range(ROWS)]),
            "is_late": [minute is not None and minute > 20 for minute in minutes],
            "delays__minutes": minutes,
            "delays__count": pa.array([number % 7 for number in range(ROWS)], pa.int64()),
            "fleet__maker": [chance.choice(["Airbus", "Boeing", None]) for _ in range(ROWS)],
            "fleet__is_leased": [chance.random() < 0.5 for _ in range(ROWS)],
        }
    )


def manifest_over(table: pa.Table) -> Manifest:
    """A manifest for these rows, of tables that never were."""
    entities = Entities(Content("e" * 64, len(table)), "event_timestamp", ("carrier",), "flights.csv")
    features = tuple(name.replace("__", ":", 1) for name in FEATURES)
    definitions = Definitions("p", "lateness", features, (), (), knowledge_time=True)
    made_of = Ingredients(entities, definitions, (), NOON, Code({"feast": "0.67.0"}, {}))
    content = content_of(table.to_batches(), table.schema)
    return Manifest(made_of.identity(), "mornings", NOON, "a-run", made_of, content, FEATURES)


def keep(set_store: TrainingSetStore, table: pa.Table, **changes: str) -> Manifest:
    """Keep a set with these rows."""
    manifest = replace(manifest_over(table), **changes)  # type: ignore[arg-type]
    set_store.write(manifest.id, "rows", table.schema, table.to_batches(100))
    set_store.keep(manifest)
    return manifest


@pytest.fixture
def set_store(tmp_path: Path) -> TrainingSetStore:
    return TrainingSetStore((tmp_path / "datasets").as_uri())


@pytest.fixture
def kept(set_store: TrainingSetStore) -> Manifest:
    return keep(set_store, rows())
