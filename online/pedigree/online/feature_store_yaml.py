"""Where `feature_store.yaml` is, for everybody who reads it."""

from __future__ import annotations

import os
from pathlib import Path

NAME = "feature_store.yaml"
USUAL = (Path("feature_repo") / NAME, Path(NAME))
"""Where it is looked for in a folder, in this order."""


def located(folder: Path | None = None) -> Path:
    """The file that `PEDIGREE_FEATURE_STORE_YAML` names, else the first of the usual places in `folder` (here) that is there.

    The file may be missing; whoever reads it says so.
    """
    named = os.environ.get("PEDIGREE_FEATURE_STORE_YAML")
    if named:
        return Path(named)
    places = [(folder or Path()) / place for place in USUAL]
    return next((place for place in places if place.is_file()), places[-1])
