"""Everybody's own Feast: the stock command line on this repository."""

from __future__ import annotations

import re

import pytest
from deltalake import DeltaTable

from .conftest import Workspace

pytestmark = pytest.mark.slow  # they look at what one run of the demo left

YAML = ("feast", "-f", "feature_repo/feature_store.yaml")


@pytest.mark.parametrize("command", ["plan", "apply"])
def test_definitions_are_planned_and_applied(workspace: Workspace, command: str) -> None:
    """`feast plan` and `feast apply` work on the repository from its root."""
    done = workspace.run(*YAML, command)
    assert done.returncode == 0, done.stdout
    assert "No changes to infrastructure" in done.stdout or "Deploying infrastructure for carrier_delays" in done.stdout


def test_views_are_materialized_in_a_recorded_run(workspace: Workspace) -> None:
    """`feast materialize` fills the online store with our engine, and its run is in lineage with the version it read."""
    marquez = workspace.marquez()
    before = len(marquez.list_job_runs("pedigree", "materialize.origin_weather")["runs"])
    span = ("2013-12-01T00:00:00", "2013-12-30T17:00:00")
    done = workspace.run(*YAML, "materialize", *span, "--views", "origin_weather")
    assert done.returncode == 0, done.stdout
    runs = marquez.list_job_runs("pedigree", "materialize.origin_weather")["runs"]
    assert len(runs) == before + 1
    assert runs[0]["state"] == "COMPLETED"
    table = DeltaTable(f"{workspace.environment['PEDIGREE_LAKE']}/origin_weather")
    assert runs[0]["facets"]["pedigree_io"]["inputs"][0]["version"] == str(table.version())


def test_online_features_are_read(workspace: Workspace) -> None:
    """`feast get-online-features` prints what is in Redis."""
    done = workspace.run(*YAML, "get-online-features", "-e", "origin=JFK", "-f", "origin_weather:temperature_avg_6h")
    assert done.returncode == 0, done.stdout
    assert re.search(r"43\.6(69999|70*\b)", done.stdout), done.stdout


def test_historical_features_are_read(workspace: Workspace) -> None:
    """`feast get-historical-features` prints the values as of an instant."""
    frame = '[{"origin": "JFK", "event_timestamp": "2013-12-30T17:00:00"}]'
    done = workspace.run(*YAML, "get-historical-features", "-d", frame, "-f", "origin_weather:temperature_avg_6h")
    assert done.returncode == 0, done.stdout
    assert re.search(r"43\.6(69999|70*\b)", done.stdout), done.stdout
