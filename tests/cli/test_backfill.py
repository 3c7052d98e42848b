"""A backfill in chunks, in processes of its own, one of which is killed."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest
from deltalake import DeltaTable

from feature_repo.sources import SOURCES

from ..spark_jobs.sample import sample

COMMAND = [
    sys.executable,
    "-W",
    "ignore",
    "-c",
    "from pedigree.cli.main import main; main()",
    "build",
    "origin_weather",
]
DAYS = ["--start", "2013-03-01", "--end", "2013-03-11"]


@pytest.fixture
def environment(tmp_path: Path) -> dict[str, str]:
    """A lake, an outbox and landed sources of this test alone; nothing listens to lineage."""
    landing = tmp_path / "landing"
    landing.mkdir()
    for source in SOURCES:
        (landing / source.file).write_bytes(sample(source.name))
    return {
        **os.environ,
        "PEDIGREE_LAKE": (tmp_path / "lake").as_uri(),
        "PEDIGREE_LANDING": landing.as_uri(),
        "PEDIGREE_LINEAGE_OUTBOX": str(tmp_path / "outbox"),
        "PEDIGREE_LINEAGE_URL": "http://127.0.0.1:9",
    }


def rows(lake: str) -> pd.DataFrame:
    """The table's rows, as delta-rs reads them."""
    found: pd.DataFrame = DeltaTable(f"{lake}/origin_weather").to_pandas()
    return found.drop(columns="created_at").sort_values(["origin", "event_at"], ignore_index=True)


def built(environment: dict[str, str], *options: str) -> str:
    """What a build that ends well prints."""
    done = subprocess.run([*COMMAND, *DAYS, *options], env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def kill_after(line_with: str, environment: dict[str, str], *options: str) -> None:
    """Start a build and kill it, Spark and all, as soon as it prints a line."""
    with subprocess.Popen(
        [*COMMAND, *DAYS, *options], env=environment, stdout=subprocess.PIPE, text=True, start_new_session=True
    ) as process:
        assert process.stdout is not None
        assert any(line_with in line for line in process.stdout)
        os.killpg(process.pid, signal.SIGKILL)


@pytest.mark.slow
def test_a_killed_backfill_goes_on_where_it_was(environment: dict[str, str], tmp_path: Path) -> None:
    """Killed after its second chunk and resumed, a backfill builds only what was left, and has the rows of one build."""
    kill_after("→ version 1", environment, "--chunk", "3d")
    resumed = built(environment, "--chunk", "3d", "--resume")
    assert "2 of 4 slices are already built" in resumed
    assert resumed.count("published") == 2
    whole = {**environment, "PEDIGREE_LAKE": (tmp_path / "whole").as_uri()}
    built(whole)
    pd.testing.assert_frame_equal(rows(environment["PEDIGREE_LAKE"]), rows(whole["PEDIGREE_LAKE"]), rtol=1e-9)
