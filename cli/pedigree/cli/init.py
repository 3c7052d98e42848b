"""`pedigree init`: a small feature repository that works, to start from."""

from __future__ import annotations

import re
from importlib.resources import files
from importlib.resources.abc import Traversable
from pathlib import Path
from string import Template

from pedigree.cli.errors import NotInitialisedError

TEMPLATE = files("pedigree.cli") / "template"
HIDDEN = {"feastignore": ".feastignore"}
"""Files of the template that have another name in a repository."""

NEXT = """\
{name} is a feature repository: {files}.
Go the whole way with it:
  cd {name}
  pedigree up                                                    Redis and the lineage backend, on this machine
  pedigree build --start 2026-01-01 --end 2026-02-01             the Delta table, behind its quality gate
  feast apply                                                    the definitions, with stock Feast
  pedigree materialize                                           the newest rows into Redis
  pedigree serve                                                 the gRPC server, until Ctrl-C; the rest in another terminal
  pedigree ask order_service customer=C2                         a vector
  pedigree explain order_service customer_orders:amount_sum_7d customer=C2
  pedigree down                                                  stops what is up
Then make it yours: data/ has the sources, features.py what is served, tables.py how rows are made.
"""


def initialise(folder: Path) -> str:
    """Write a new repository; returns what to do next.

    Raises:
        NotInitialisedError: the folder is not empty, or its name cannot be a project's.
    """
    project = re.sub(r"\W", "_", folder.resolve().name)
    if not re.match(r"[A-Za-z]\w*$", project):
        raise NotInitialisedError(
            f"{folder.name!r} cannot be the name of a project. Start it with a letter, such as my_features."
        )
    if folder.exists() and any(folder.iterdir()):
        raise NotInitialisedError(
            f"{folder} is not empty, and nothing was written. Name a folder that does not exist yet."
        )
    written = sorted(write(TEMPLATE, folder, project))
    (folder / ".pedigree").mkdir(exist_ok=True)
    (folder / ".pedigree" / ".gitignore").write_text("*\n")
    return NEXT.format(name=folder, files=", ".join(name for name in written if not name.startswith(".")))


def write(part: Traversable, folder: Path, project: str) -> list[str]:
    """Write a folder of the template; returns the names of its files and folders."""
    folder.mkdir(parents=True, exist_ok=True)
    names = []
    for each in part.iterdir():
        name = HIDDEN.get(each.name, each.name)
        if each.is_dir():
            if each.name != "__pycache__":
                write(each, folder / name, project)
                names.append(f"{name}/")
        else:
            (folder / name).write_text(Template(each.read_text()).safe_substitute(project=project))
            names.append(name)
    return names
