"""Where the feature tables live. Everything else that names a place is in `feature_store.yaml`."""

from __future__ import annotations

import os
from dataclasses import dataclass
from functools import cache
from pathlib import Path


@dataclass(frozen=True, slots=True)
class RepoSettings:
    """The place of the Delta tables, as a URI that Spark can read (`file:`, `s3a:`, …), without a slash at its end."""

    lake: str

    def table(self, name: str) -> str:
        """The URI of one feature table."""
        return f"{self.lake}/{name}"

    def tiles(self, name: str) -> str:
        """The URI of the table that keeps the tiles of one feature table's windows."""
        return f"{self.lake}/tiles/{name}"

    def quarantine(self, name: str) -> str:
        """The URI of the table that keeps the rows that one feature table refused."""
        return f"{self.lake}/quarantine/{name}"

    @property
    def datasets(self) -> str:
        """The URI of the folder that keeps the training sets."""
        return f"{self.lake}/datasets"


@cache
def repo_settings() -> RepoSettings:
    """Read once from `PEDIGREE_LAKE`; by default a folder of this checkout."""
    default = (Path(__file__).resolve().parent.parent / ".pedigree" / "lake").as_uri()
    return RepoSettings(lake=os.environ.get("PEDIGREE_LAKE", default).rstrip("/"))
