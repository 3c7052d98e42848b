"""The jars that sessions need beside Spark's own, fetched once so that a session starts offline and in seconds.

`python -m pedigree.jobs.spark.jars FOLDER` lets Spark's own resolver fetch and checksum them, and leaves out what Spark ships.
"""

from __future__ import annotations

import logging
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import pyspark

from pedigree.jobs.errors import JarsMissingError, JobError
from pedigree.jobs.spark.java import require_java

log = logging.getLogger(__name__)

PACKAGES = ("io.delta:delta-spark_4.1_2.13:4.4.0", "org.postgresql:postgresql:42.7.8")


def artifact(jar: str) -> str:
    """The artifact's name without group and version: `org.x_foo-bar-1.2.jar` and `foo-bar-1.3.jar` are both `foo-bar`."""
    return re.sub(r"-\d[\w.\-]*\.jar$", "", jar)


def fetch(folder: Path) -> list[str]:
    """Resolve `PACKAGES` into `folder`; returns the names of the jars that are new to Spark.

    Raises:
        JavaMissingError: there is no Java to run the resolver on.
        JarsMissingError: the resolver failed; its own words are in the message.
    """
    shipped = {artifact(jar.name) for jar in (Path(pyspark.__file__).parent / "jars").glob("*.jar")}
    with tempfile.TemporaryDirectory() as ivy:
        resolve(Path(ivy))
        folder.mkdir(parents=True, exist_ok=True)
        fetched = []
        for jar in sorted((Path(ivy) / "jars").glob("*.jar")):
            group_less = jar.name.split("_", 1)[1]
            if artifact(group_less) not in shipped:
                shutil.copyfile(jar, folder / group_less)
                fetched.append(group_less)
    return fetched


def lacking(folder: Path) -> list[str]:
    """Those of `PACKAGES` that a folder has no jar of."""
    return [package for package in PACKAGES if not any(folder.glob(f"{package.split(':')[1]}-*.jar"))]


def fetch_missing(folder: Path) -> None:
    """Fetch the jars, once, if a folder lacks one.

    Raises:
        JavaMissingError, JarsMissingError: as for `fetch`.
    """
    if not lacking(folder):
        return
    log.warning("Fetching the jars that Spark needs into %s, once", folder)
    fetch(folder)


def resolve(ivy: Path) -> None:
    """Have spark-submit download the packages into `ivy` by submitting a script that does nothing."""
    require_java()
    script = ivy / "nothing.py"
    script.write_text("")
    submit = Path(pyspark.__file__).parent / "bin" / "spark-submit"
    command = [str(submit), "--master", "local[1]", "--packages", ",".join(PACKAGES)]
    done = subprocess.run(
        [*command, "--conf", f"spark.jars.ivy={ivy}", str(script)], capture_output=True, text=True, check=False
    )
    if done.returncode != 0:
        raise JarsMissingError(PACKAGES, said=done.stderr[-2000:])


if __name__ == "__main__":
    try:
        jars = fetch(Path(sys.argv[1]))
    except JobError as error:
        sys.exit(str(error))
    sys.stdout.write(f"{len(jars)} jars in {sys.argv[1]}\n")
