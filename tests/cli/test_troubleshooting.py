"""The page of messages stays true: whatever it quotes is still said by the product."""

from __future__ import annotations

import ast
import re

from ..distributions import ROOT

PACKAGES = ("cli", "features", "lineage", "online", "serving", "spark_jobs")
GAP = "…"
SHORTEST = 4
"""Fewer letters say nothing: they stand in some text by chance."""


def quoted(page: str) -> list[str]:
    """The messages of the page: the first cell of each row of its tables, where it is code."""
    return re.findall(r"^\| `([^`]+)` \|", page, re.MULTILINE)


def texts() -> str:
    """Every text of the product's code, as it is when it runs: parts that stand side by side are one."""
    files = (file for package in PACKAGES for file in (ROOT / package / "pedigree").rglob("*.py"))
    nodes = (node for file in files for node in ast.walk(ast.parse(file.read_text())))
    return "\n".join(node.value for node in nodes if isinstance(node, ast.Constant) and isinstance(node.value, str))


def test_every_quoted_message_is_said_by_the_product() -> None:
    """The fixed words between the gaps of each message are in the product's source."""
    messages, said = quoted((ROOT / "docs" / "troubleshooting.md").read_text()), texts()
    fixed = {part.strip() for message in messages for part in message.split(GAP)}
    assert len(messages) >= 30
    assert [part for part in sorted(fixed) if len(part) >= SHORTEST and part not in said] == []
