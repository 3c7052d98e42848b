"""The stock Feast commands, run as a user would."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from pedigree.errors import FeastFailedError
from spark_jobs.settings import job_settings


def feast(*arguments: str) -> str:
    """Run `feast -f <feature_store.yaml> <arguments>` from the repository's root; returns what it printed.

    Raises:
        FeastFailedError: it did not succeed.
    """
    program = Path(sys.executable).parent / "feast"
    yaml = job_settings().feature_store_yaml
    done = subprocess.run([program, "-f", yaml, *arguments], capture_output=True, text=True, check=False)
    if done.returncode != 0:
        output = "\n".join((done.stdout + done.stderr).splitlines()[-15:])
        raise FeastFailedError(f"feast -f {yaml} {' '.join(arguments)}", output=output)
    return done.stdout
