"""A workspace of its own, in which the demo has been run as a user runs it, and has left its servers up."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from marquez_client import MarquezClient

from ..commands import run_command
from ..distributions import ROOT
from ..redis_server import free_port

BIN = Path(sys.executable).parent


@dataclass(frozen=True)
class Workspace:
    """A folder with the definitions, and settings that keep everything else within it."""

    root: Path
    environment: dict[str, str]
    address: str
    lineage_url: str

    def run(self, *command: str) -> subprocess.CompletedProcess[str]:
        """Run a command of the virtual environment here; both streams in one text."""
        if command[0] in ("feast", "pedigree"):
            return run_command(*command, cwd=self.root, environment=self.environment)
        program = str(BIN / command[0])
        return subprocess.run(
            [program, *command[1:]],
            cwd=self.root,
            env=self.environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
            timeout=600,
        )

    def marquez(self) -> MarquezClient:
        """Marquez's own client, on this workspace's backend."""
        return MarquezClient(url=self.lineage_url)


def make_workspace(root: Path) -> Workspace:
    """The definitions in a folder of their own, on ports of their own."""
    root.mkdir()
    shutil.copytree(ROOT / "feature_repo", root / "feature_repo", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / ".feastignore", root)
    (root / ".pedigree").mkdir()
    (root / ".pedigree" / "jars").symlink_to(ROOT / ".pedigree" / "jars")
    yaml = root / "feature_repo" / "feature_store.yaml"
    yaml.write_text(yaml.read_text().replace("127.0.0.1:16379", f"127.0.0.1:{free_port()}"))
    address, lineage_url = f"127.0.0.1:{free_port()}", f"http://127.0.0.1:{free_port()}"
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PEDIGREE_")}
    environment |= {
        "PEDIGREE_LAKE": (root / ".pedigree" / "lake").as_uri(),
        "PEDIGREE_SERVING_ADDRESS": address,
        "PEDIGREE_LINEAGE_URL": lineage_url,
        "COLUMNS": "200",
    }
    return Workspace(root, environment, address, lineage_url)


@pytest.fixture(scope="session")
def toured(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Workspace, str]]:
    """The workspace after the demo with `--keep`, and what it printed."""
    workspace = make_workspace(tmp_path_factory.mktemp("journey") / "workspace")
    done = workspace.run("python", "-m", "feature_repo.demo", "--keep")
    try:
        assert done.returncode == 0, done.stdout
        yield workspace, done.stdout
    finally:
        stopped = workspace.run("pedigree", "down")
        assert stopped.returncode == 0, stopped.stdout


@pytest.fixture(scope="session")
def workspace(toured: tuple[Workspace, str]) -> Workspace:
    return toured[0]


@pytest.fixture(scope="session")
def printed(toured: tuple[Workspace, str]) -> str:
    return toured[1]
