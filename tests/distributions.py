"""The checkout, and the folders of it that are installed apart."""

from __future__ import annotations

from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
DISTRIBUTIONS = tuple(sorted(project.parent.name for project in ROOT.glob("*/pyproject.toml")))
