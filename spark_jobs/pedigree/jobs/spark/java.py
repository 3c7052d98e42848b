"""Java is the one prerequisite beside Python: find it and say what to do where it is missing or too old."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path

from pedigree.jobs.errors import JavaMissingError

OLDEST = 17


def require_java() -> int:
    """The major version of the Java that Spark will start on: `JAVA_HOME`'s, else the one on the PATH.

    Raises:
        JavaMissingError: there is none, or it is older than `OLDEST`.
    """
    home = os.environ.get("JAVA_HOME")
    program = str(Path(home) / "bin" / "java") if home else shutil.which("java")
    if program is None or not Path(program).exists():
        raise JavaMissingError(
            f"no Java was found ({'JAVA_HOME is ' + home if home else 'JAVA_HOME is not set'})", OLDEST
        )
    said = subprocess.run([program, "-version"], capture_output=True, text=True, check=False).stderr
    version = re.search(r'version "(?:1\.)?(\d+)', said)
    if version is None or int(version[1]) < OLDEST:
        raise JavaMissingError(f"{program} is {said.splitlines()[0] if said else 'no Java'}", OLDEST)
    return int(version[1])
