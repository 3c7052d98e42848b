"""Small feature repositories of the tests' own, to work in for the length of a block."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from pedigree.features.lake import Lake, current_lake
from pedigree.features.settings import repository_settings

YAML = "PEDIGREE_FEATURE_STORE_YAML"


@contextmanager
def working_in(folder: Path, tables: str | None = None) -> Iterator[Lake]:
    """Within the block the repository that is worked in is one whose `tables.py` has some text; yields its lake."""
    folder.mkdir()
    (folder / "feature_store.yaml").write_text("project: p\n")
    if tables is not None:
        (folder / "tables.py").write_text(tables)
    before = os.environ.get(YAML)
    os.environ[YAML] = str(folder / "feature_store.yaml")
    repository_settings.cache_clear()
    try:
        yield current_lake()
    finally:
        os.environ.pop(YAML)
        os.environ.update({YAML: before} if before else {})
        repository_settings.cache_clear()
