"""The page about security: each promise names a test, and each test is there."""

from __future__ import annotations

import ast
import re

import pytest

from ..distributions import ROOT

NAMED = sorted(set(re.findall(r"`(tests/[\w/]+\.py)::(\w+)`", (ROOT / "docs" / "security.md").read_text())))


@pytest.mark.parametrize(("file", "name"), NAMED, ids=[name for _, name in NAMED])
def test_every_test_that_is_named_exists(file: str, name: str) -> None:
    """A test that docs/security.md names is a test of that file."""
    tree = ast.parse((ROOT / file).read_text())
    assert name in {node.name for node in tree.body if isinstance(node, ast.FunctionDef)}


def test_promises_name_tests() -> None:
    """The page names tests at all, each by its path."""
    assert len(NAMED) > 20
