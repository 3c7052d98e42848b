"""Which code computes a training set: part of its id, and told where it has changed since."""

from __future__ import annotations

import hashlib
from importlib.metadata import version
from pathlib import Path

from pedigree.jobs.training_sets.manifest import Code

PACKAGES = ("pedigree-feature-store", "feast")
ROOT = Path(__file__).resolve().parents[1]
MODULES = (
    "historical/entity_frame.py",
    "historical/offline_store.py",
    "historical/definitions.py",
    "historical/pointintime_*.py",
    "historical/retrieval_job.py",
    "training_sets/definitions.py",
    "training_sets/fingerprint.py",
)
"""What the values of a row and the hash of all rows depend on."""


def code_version() -> Code:
    """The versions of the packages, and the hash of every module that computes the join or the hash."""
    paths = sorted(path for pattern in MODULES for path in ROOT.glob(pattern))
    return Code(
        packages={name: version(name) for name in PACKAGES},
        modules={path.relative_to(ROOT).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest() for path in paths},
    )
