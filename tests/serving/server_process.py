"""The command `python -m pedigree.serving.server` as a process."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ..distributions import ROOT
from .birds import CLOCK_AT


def command(yaml: Path, address: str, **more: str) -> subprocess.Popen[str]:
    """`python -m pedigree.serving.server` with its settings in the environment."""
    settings = {"PEDIGREE_FEATURE_STORE_YAML": str(yaml), "PEDIGREE_SERVING_ADDRESS": address, **more}
    return subprocess.Popen(
        [sys.executable, "-m", "pedigree.serving.server"],
        cwd=ROOT,
        env={**os.environ, "PEDIGREE_CLOCK": CLOCK_AT.isoformat(), **settings},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


@contextmanager
def started(yaml: Path, **more: str) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """A server process that has said that it is ready, and its address."""
    process = command(yaml, "127.0.0.1:0", **more)
    try:
        assert process.stdout is not None
        line = process.stdout.readline()
        project, address = line.removeprefix("serving ").removesuffix("\n").split(" on ")
        assert project == "flightless"
        yield process, address
    finally:
        if process.poll() is None:
            process.terminate()  # a killed one could not end its workers
            process.communicate(timeout=60)


def ended(process: subprocess.Popen[str]) -> str:
    """Tell a server to stop; returns what it wrote to stderr."""
    process.terminate()
    return process.communicate(timeout=30)[1]
