"""Every test writes to a lake of its own; set before anything reads the settings."""

from __future__ import annotations

import os
import shutil
import tempfile
from pathlib import Path

import pytest

SCRATCH = Path(tempfile.mkdtemp(prefix="pedigree-tests-"))
os.environ["PEDIGREE_LAKE"] = (SCRATCH / "lake").as_uri()
os.environ["PEDIGREE_LINEAGE_OUTBOX"] = str(SCRATCH / "outbox")


def pytest_unconfigure(config: pytest.Config) -> None:
    shutil.rmtree(SCRATCH, ignore_errors=True)
