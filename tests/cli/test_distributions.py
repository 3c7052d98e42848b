"""What each distribution imports it declares, and what it declares it imports; a role that is missing is named."""

from __future__ import annotations

import ast
import re
import sys
import tomllib
from collections.abc import Iterator
from importlib.metadata import packages_distributions
from itertools import chain
from pathlib import Path
from typing import Any

import pytest

from pedigree.cli.roles import EXTRAS, missing_role

from ..distributions import ROOT

FOLDERS = ("cli", "features", "lineage", "online", "serving", "spark_jobs")
OURS = {
    "pedigree.cli": "pedigree-cli",
    "pedigree.datasets": "pedigree-jobs",
    "pedigree.features": "pedigree-features",
    "pedigree.jobs": "pedigree-jobs",
    "pedigree.lineage": "pedigree-lineage",
    "pedigree.online": "pedigree-online",
    "pedigree.serving": "pedigree-serving",
}
USED_WITHOUT_IMPORT = {"hiredis", "psycopg"}
"""What another package takes where it is installed: redis its parser, SQLAlchemy its driver."""
GENERATED_FOR_USERS = ROOT / "cli" / "pedigree" / "cli" / "template"


def project(folder: str) -> dict[str, Any]:
    """The `[project]` table of a folder's pyproject.toml."""
    table = tomllib.loads((ROOT / folder / "pyproject.toml").read_text())["project"]
    return dict(table)


def needs_of(folder: str) -> list[str]:
    """What a folder's distribution needs, with its extras, as it is written."""
    table = project(folder)
    return [*table["dependencies"], *chain.from_iterable(table.get("optional-dependencies", {}).values())]


def declared(folder: str) -> set[str]:
    """The names of what a folder's distribution needs."""
    return {normal(re.split(r"[\[<>=!~; ]", need)[0]) for need in needs_of(folder)}


def normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def modules_of(path: Path) -> Iterator[str]:
    """Every module that a file imports, at whatever place."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def imported(folder: str) -> set[str]:
    """The distributions that a folder's modules import from, its own left out."""
    places = packages_distributions()
    found: set[str] = set()
    for path in (ROOT / folder).rglob("*.py"):
        if GENERATED_FOR_USERS in path.parents:
            continue
        for module in modules_of(path):
            top = module.partition(".")[0]
            if top == "pedigree":
                found.add(OURS[".".join(module.split(".")[:2])])
            elif module.startswith("google.protobuf"):
                found.add("protobuf")
            elif module.startswith("opentelemetry"):
                found.add("opentelemetry-sdk")
            elif top not in sys.stdlib_module_names:
                found.add(normal(places[top][0]))
    return found - {normal(str(project(folder)["name"]))}


@pytest.mark.parametrize("folder", FOLDERS)
def test_what_is_imported_is_declared_and_nothing_else(folder: str) -> None:
    """Otherwise an installation works by luck, or brings what nobody uses."""
    assert imported(folder) - USED_WITHOUT_IMPORT == declared(folder) - USED_WITHOUT_IMPORT


@pytest.mark.parametrize("folder", FOLDERS)
def test_dependencies_are_ranges(folder: str) -> None:
    """An exact version would keep a team from installing us beside what they have; the lock file is for us."""
    assert [need for need in needs_of(folder) if "==" in need] == []


def test_a_missing_role_is_named_with_what_installs_it() -> None:
    """Every extra that is named is one; a module that no extra brings is a bug, and is not told as anything else."""
    assert set(EXTRAS.values()) <= set(project(".")["optional-dependencies"])
    error = missing_role(ModuleNotFoundError("No module named 'pyspark.sql'", name="pyspark.sql"))
    assert "pip install 'pedigree-feature-store[jobs]'" in str(error)
    assert "needs pedigree.jobs" in str(missing_role(ModuleNotFoundError(name="pedigree.jobs")))
    assert missing_role(ModuleNotFoundError(name="pedigree.clii")) is None
