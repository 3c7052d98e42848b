"""What the docs say of files: a path that stands in them is there."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from ..distributions import ROOT

PAGES = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md")])
FOLDERS = "benchmarks|cli|docs|examples|feature_repo|features|lineage|monitoring|online|serving|spark_jobs|tests"


@pytest.mark.parametrize("page", [page for page in PAGES if page.name != "CHANGELOG.md"], ids=lambda page: page.stem)
def test_every_path_of_a_page_is_there(page: Path) -> None:
    """Paths from the root of the checkout; the changelog tells of those that are gone."""
    paths = re.findall(rf"`((?:{FOLDERS})/[\w./-]+)`", page.read_text())
    assert [path for path in paths if not (ROOT / path).exists()] == []
