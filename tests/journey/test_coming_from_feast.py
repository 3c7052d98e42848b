"""An unmodified repository of `feast init`, taken over as `docs/coming-from-feast.md` says."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from ..commands import run_command
from ..distributions import ROOT
from .test_tutorial import BLOCK, Reader

PAGE = ROOT / "docs" / "coming-from-feast.md"
SQLITE = re.compile(r"^online_store:\n +type: sqlite\n +path: .*\n", re.MULTILINE)
YAML = re.compile(r"^```yaml\n(.*?)^```$", re.DOTALL | re.MULTILINE)
HISTORICAL = """
import pandas as pd
from feast import FeatureStore

store = FeatureStore(repo_path=".")
stats = pd.read_parquet("data/driver_stats.parquet")
rows = stats.drop_duplicates(["driver_id", "event_timestamp"], keep=False).iloc[::100][["driver_id", "event_timestamp"]]
found = store.get_historical_features(rows, ["driver_hourly_stats:conv_rate"]).to_df()
both = found.merge(stats, on=["driver_id", "event_timestamp"])
assert len(both) > 10 and (both["conv_rate_x"] == both["conv_rate_y"]).all()
print("as in the file")
"""


@pytest.fixture
def reader(tmp_path: Path) -> Iterator[Reader]:
    made = Reader(tmp_path)
    yield made
    made.leave()


@pytest.mark.slow
def test_an_existing_repository_needs_three_types(reader: Reader) -> None:
    """Its definitions and its Parquet files stay as they are; it is applied, loaded, served, explained and trained from."""
    text = PAGE.read_text()
    commands = [block.strip().splitlines() for kind, block in BLOCK.findall(text) if kind == "sh"]
    first, then, ask, explain = commands
    for line in first:
        reader.run(line.split())
    yaml = reader.folder / "feature_store.yaml"
    types = YAML.findall(text)[0].replace("16379", str(reader.redis_port))
    changed, count = SQLITE.subn(types, yaml.read_text())
    assert count == 1
    yaml.write_text(changed)
    for line in then[:-1]:
        reader.run(line.replace("$(date -u +%FT%T)", "2100-01-01T00:00:00").split())
    assert then[-1] == "pedigree serve"
    reader.serve(*ask[0].split())
    asked = run_command(*ask[0].split(), cwd=reader.folder, environment=reader.environment).stdout
    assert asked.count("PRESENT") == 8
    assert '"vehicle_type": ' in asked
    explained = run_command(*explain[0].split(), cwd=reader.folder, environment=reader.environment).stdout
    assert "driver_hourly_stats @ version 0" in explained
    assert "driver_stats.parquet" in explained
    (reader.folder / "historical.py").write_text(HISTORICAL)
    assert "as in the file" in reader.run(["python", "historical.py"])
