"""The README's own example of a table, built as it stands there."""

from __future__ import annotations

import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from ..distributions import ROOT
from .conftest import Workspace, make_workspace

pytestmark = pytest.mark.slow  # they look at what one run of the demo left


@pytest.fixture
def copy(tmp_path: Path, workspace: Workspace) -> Workspace:
    """A copy of the sample with the README's blocks in the files that they name, over the demo's landed sources."""
    copied = make_workspace(tmp_path / "copy")
    for path, block in re.findall(r"```python\n# (\S+\.py)\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL):
        with (copied.root / path).open("a") as file:
            file.write(f"\n\n{block}")
    landing = (workspace.root / ".pedigree" / "landing").as_uri()
    environment = {**copied.environment, "PEDIGREE_LANDING": landing}
    return replace(copied, environment=environment)


def test_the_example_table_is_built(copy: Workspace) -> None:
    """View, contract and transform of the README, as they stand there, build a table with one version and no refused row."""
    command = "from pedigree.cli.main import main; main()"
    arguments = ["build", "origin_traffic", "--start", "2013-03-01", "--end", "2013-04-01"]
    done = subprocess.run(
        [sys.executable, "-c", command, *arguments],
        cwd=copy.root,
        env=copy.environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert re.search(r"origin_traffic .* published \+ 0 quarantined → version 0", done.stdout), done.stdout
    assert (copy.root / ".pedigree" / "lake" / "origin_traffic" / "_delta_log").is_dir()


def test_the_readme_shows_what_the_demo_prints(printed: str) -> None:
    """The README's transcript has the demo's own lines; only times, versions and ids of runs are another run's."""
    shown = re.search(r"<!-- demo -->\n```\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL).group(1)  # type: ignore[union-attr]
    assert tour(shown) == tour(printed)


def tour(printed: str) -> list[str]:
    """The six steps of a transcript; how it ends depends on whether the servers were kept."""
    steps = printed[printed.index("Pedigree:") : printed.index("Done in")]
    return [settled(line) for line in steps.splitlines()]


def settled(line: str) -> str:
    """A line without what differs from run to run and from place to place."""
    for pattern in (
        r"[\d.]+ s\b",
        r"(file://)?/\S+(?=/\.(pedigree|venv))",
        r"127\.0\.0\.1:\d+",
        r"[0-9a-f-]{36}",
        r"@[0-9a-f]{12}",
    ):
        line = re.sub(pattern, "…", line)
    return re.sub(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d UTC\)|@ \d{10,}-\d+|\b0\.\d{3}\b|\d+\.\d{6,}", "…", line).rstrip()
