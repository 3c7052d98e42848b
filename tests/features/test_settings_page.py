"""The page of settings has every setting, and no other."""

from __future__ import annotations

import re

import pytest

from pedigree.jobs.historical.offline_store import PedigreeOfflineStoreConfig
from pedigree.online.feast_plugin import PedigreeOnlineStoreConfig

from ..distributions import ROOT

PAGE = (ROOT / "docs" / "settings.md").read_text()
VARIABLE = re.compile(r"PEDIGREE_[A-Z_]*[A-Z]")
INTERNAL = {"PEDIGREE_SERVING_SHARED"}
"""What the server tells its own processes."""


def test_every_variable_of_the_environment_is_on_the_page() -> None:
    """The code reads what the page names, by its whole name, and nothing else."""
    code = [
        path.read_text()
        for place in ("cli", "lineage", "online", "serving", "spark_jobs")
        for path in (ROOT / place).rglob("*.py")
    ]
    read = {name for text in code for name in re.findall(rf'"({VARIABLE.pattern})"', text)} - INTERNAL
    by_name = {"PEDIGREE_LAKE", "PEDIGREE_LANDING"}  # put together from the key of `offline_store`
    assert set(VARIABLE.findall(PAGE)) == read | by_name


@pytest.mark.parametrize(
    ("section", "config"),
    [("offline_store", PedigreeOfflineStoreConfig), ("online_store", PedigreeOnlineStoreConfig)],
)
def test_every_key_of_the_stores_is_on_the_page_with_its_default(section: str, config: type) -> None:
    """What `feature_store.yaml` may say of our stores, and what holds if it does not."""
    rows = dict(re.findall(rf"^\| `{section}\.(\w+)` \| (.+?) \|", PAGE, re.MULTILINE))
    ours = {name: field.default for name, field in config.model_fields.items() if name in config.__annotations__}  # type: ignore[attr-defined]
    assert set(ours) - {"type"} <= set(rows)
    for name, default in ours.items():
        if default is not None and name != "type":
            assert rows[name] == f"`{str(default).lower() if isinstance(default, bool) else default}`"
