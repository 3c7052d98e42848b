"""Where the repository is, and where the local stack keeps its files."""

from __future__ import annotations

import os
from pathlib import Path

from pedigree.cli.errors import NotACheckoutError

MARK = Path("feature_repo") / "feature_store.yaml"
STATE = Path(".pedigree")
"""Everything that a run leaves behind, relative to the repository's root."""


def enter() -> Path:
    """Make the repository's root the working directory, since `feature_store.yaml` names places relative to it.

    The root is the nearest folder, from the working directory up, with a feature_repo; failing that, where this code is.

    Raises:
        NotACheckoutError: there is none.
    """
    here = Path.cwd()
    for folder in (here, *here.parents, Path(__file__).resolve().parent.parent):
        if (folder / MARK).is_file():
            os.chdir(folder)
            return folder
    raise NotACheckoutError(
        f"There is no {MARK} in {here} or above it. Run `pedigree` within a clone of the repository."
    )
