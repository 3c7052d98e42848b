"""Where the feature repository is, and where the local stack keeps its files."""

from __future__ import annotations

import os
from pathlib import Path

from pedigree.cli.errors import NoRepositoryError
from pedigree.online.feature_store_yaml import NAME, located

STATE = Path(".pedigree")
"""Everything that a run leaves behind, relative to the working directory."""


def enter() -> Path:
    """Make the place that holds the feature repository the working directory, since paths are relative to it.

    It is the nearest folder, from the working directory up, with a `feature_store.yaml` or a `feature_repo` that has one. Where
    `feast` works, `pedigree` works. If `PEDIGREE_FEATURE_STORE_YAML` names a file, the working directory stays.

    Raises:
        NoRepositoryError: there is none.
    """
    here = Path.cwd()
    if "PEDIGREE_FEATURE_STORE_YAML" in os.environ:
        return here
    for folder in (here, *here.parents):
        if located(folder).is_file():
            os.chdir(folder)
            return folder
    raise NoRepositoryError(
        f"There is no {NAME} in {here} or above it. Run `pedigree` within a feature repository, "
        "or set PEDIGREE_FEATURE_STORE_YAML to the file."
    )
