"""The tutorial, block by block as it stands on its page, in an empty folder."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from ..commands import run_command
from ..distributions import ROOT
from ..redis_server import free_port
from .conftest import BIN

PAGE = ROOT / "docs" / "tutorial.md"
BLOCK = re.compile(r"^```(sh|py|text)\n(.*?)^```$", re.DOTALL | re.MULTILINE)


class Reader:
    """Somebody who does what the page says, with the ports of a machine on which others work too."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.printed = folder, ""
        self.redis_port = free_port()
        kept = {name: value for name, value in os.environ.items() if not name.startswith("PEDIGREE_")}
        self.environment = {
            **kept,
            "PEDIGREE_JARS": str(ROOT / ".pedigree" / "jars"),
            "PEDIGREE_SERVING_ADDRESS": f"127.0.0.1:{free_port()}",
            "PEDIGREE_LINEAGE_URL": f"http://127.0.0.1:{free_port()}",
            "COLUMNS": "200",
        }
        self.server: subprocess.Popen[bytes] | None = None

    def follow(self, kind: str, text: str) -> None:
        """Do what a block says."""
        if kind == "py":
            with (self.folder / text.splitlines()[0].removeprefix("# ")).open("a") as file:
                file.write(f"\n\n{text}")
        elif kind == "text":
            missing = [line for line in text.strip().splitlines() if line.strip() not in self.printed]
            assert not missing, f"{missing} in:\n{self.printed}"
        else:
            self.printed = "".join(self.run(line.split()) for line in text.strip().splitlines())

    def run(self, command: list[str]) -> str:
        """Run a line of a shell; what it printed."""
        if command[0] == "cd":
            self.folder /= command[1]
            if (self.folder / "feature_store.yaml").is_file():
                self.move_redis()
            return ""
        if command == ["pedigree", "serve"]:
            self.serve("pedigree", "ask", "payment_service", "account=2")
            return ""
        if command[0] == "python":
            done = subprocess.run(
                [sys.executable, *command[1:]], cwd=self.folder, check=True, capture_output=True, text=True
            )
            return done.stdout
        done = run_command(*command, cwd=self.folder, environment=self.environment)
        assert done.returncode == 0, f"{command}: {done.stdout}"
        return done.stdout

    def move_redis(self) -> None:
        """Have Redis on a port that is free."""
        yaml = self.folder / "feature_store.yaml"
        yaml.write_text(yaml.read_text().replace("127.0.0.1:16379", f"127.0.0.1:{self.redis_port}"))

    def serve(self, *ask: str) -> None:
        """Start the server, and wait until it answers what the command `ask` asks."""
        self.server = subprocess.Popen([BIN / "pedigree", "serve"], cwd=self.folder, env=self.environment)
        deadline = time.monotonic() + 60
        while run_command(*ask, cwd=self.folder, environment=self.environment).returncode:
            assert time.monotonic() < deadline and self.server.poll() is None

    def leave(self) -> None:
        """Stop what is up."""
        if self.server is not None:
            self.server.terminate()
            self.server.wait(30)
        run_command("pedigree", "down", cwd=self.folder, environment=self.environment)


@pytest.fixture
def reader(tmp_path: Path) -> Iterator[Reader]:
    made = Reader(tmp_path)
    yield made
    made.leave()


@pytest.mark.slow
def test_the_tutorial_goes_the_whole_way(reader: Reader) -> None:
    """Every file and command of the page, in its order; what the page shows is in what was printed."""
    blocks = BLOCK.findall(PAGE.read_text())
    assert len(blocks) > 10
    for kind, text in blocks:
        reader.follow(kind, text)
    table = reader.folder / ".pedigree" / "lake" / "account_payments" / "_delta_log"
    assert table.is_dir()
