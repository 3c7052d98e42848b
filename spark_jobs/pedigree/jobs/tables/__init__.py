"""One file per feature table: what it reads, and its transform. Each file's `TABLE` is found by itself."""

from __future__ import annotations

import importlib
import pkgutil

from pedigree.jobs.feature_table import FeatureTable


def found() -> dict[str, FeatureTable]:
    """The tables of this folder by name."""
    modules = (importlib.import_module(f"{__name__}.{module.name}") for module in pkgutil.iter_modules(__path__))
    return {module.TABLE.name: module.TABLE for module in modules}


TABLES = found()
"""What `pedigree build` knows."""
