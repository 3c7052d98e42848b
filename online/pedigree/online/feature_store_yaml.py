"""Where `feature_store.yaml` is, for everybody who reads it."""

from __future__ import annotations

import os
from pathlib import Path

import yaml

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


def reason_unread(error: Exception) -> str:
    """Why a file cannot be read; of its lines nothing is repeated, as there may be a password in them."""
    if isinstance(error, yaml.MarkedYAMLError):
        where = f" in line {error.problem_mark.line + 1}" if error.problem_mark else ""
        return f"{error.problem or 'it is no YAML'}{where}"
    if isinstance(error, OSError):
        return error.strerror or type(error).__name__
    return f"there is no {error}" if isinstance(error, KeyError) else "it is no YAML with names and values"
