"""Feast stores for comparisons: the same definitions in one folder, once per offline store."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from feast import FeatureStore, RepoConfig

OURS: Mapping[str, Any] = {"type": "pedigree.jobs.historical.offline_store.PedigreeOfflineStore"}
FEAST_SPARK: Mapping[str, Any] = {"type": "spark"}
FEAST_FILE: Mapping[str, Any] = {"type": "dask"}


def open_store(folder: Path, name: str, offline_store: Mapping[str, Any], objects: Sequence[Any]) -> FeatureStore:
    """A store with `objects` applied, whose registry and online store are files `name` in `folder`."""
    config = RepoConfig(
        project="p",
        provider="local",
        registry={"registry_type": "sql", "path": f"sqlite:///{folder}/{name}.db"},
        offline_store=dict(offline_store),
        online_store={"type": "sqlite", "path": f"{folder}/{name}_online.db"},
        entity_key_serialization_version=3,
    )
    store = FeatureStore(config=config)
    store.apply(list(objects))
    return store
