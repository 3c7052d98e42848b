"""Commands of the virtual environment, each in a process of its own that has Feast and its like imported already.

A command that starts from nothing spends seconds on imports. These fork from one that has done them, and have their own working
directory, environment, arguments and output, as a shell gives them.
"""

from __future__ import annotations

import os
import runpy
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from importlib.metadata import entry_points
from multiprocessing import get_context
from pathlib import Path
from typing import Any

IMPORTED = [
    "delta",
    "duckdb",
    "feast.repo_operations",
    "great_expectations",
    "pedigree.cli.main",
    "pedigree.datasets",
    "pedigree.jobs.historical.offline_store",
    "pedigree.jobs.materialize.compute_engine",
    "pedigree.online.feast_plugin",
    "pyspark.sql",
]

FORKS = get_context("forkserver")
FORKS.set_forkserver_preload(IMPORTED)


def run_command(
    name: str, *arguments: str, cwd: Path, environment: Mapping[str, str], timeout: float = 600
) -> subprocess.CompletedProcess[str]:
    """Run a command that a distribution installs; both streams in one text.

    Raises:
        TimeoutError: it has not ended after so many seconds, and was killed.
    """
    with tempfile.NamedTemporaryFile() as output:
        order = {"name": name, "arguments": arguments, "cwd": str(cwd), "environment": dict(environment)}
        target = (__file__, {"ORDER": {**order, "output": output.name}}, "__main__")
        process = FORKS.Process(target=runpy.run_path, args=target)
        process.start()
        process.join(timeout)
        if process.exitcode is None:
            process.kill()
            raise TimeoutError(f"{name} {arguments} still ran after {timeout} s")
        return subprocess.CompletedProcess([name, *arguments], process.exitcode, Path(output.name).read_text())


def obey(order: Mapping[str, Any]) -> None:
    """Within the process: become the command."""
    with open(order["output"], "w") as output, open(os.devnull) as nothing:  # noqa: PTH123 these are for descriptors
        os.dup2(nothing.fileno(), 0)
        os.dup2(output.fileno(), 1)
        os.dup2(output.fileno(), 2)
    sys.stdin = open(0)  # noqa: SIM115 the process' own, until it ends
    os.environ.clear()
    os.environ.update(order["environment"])
    os.chdir(order["cwd"])
    sys.path[:0] = [order["cwd"]]
    sys.argv = [order["name"], *order["arguments"]]
    [command] = entry_points(group="console_scripts", name=order["name"])
    sys.exit(command.load()())


if __name__ == "__main__":
    obey(globals()["ORDER"])
