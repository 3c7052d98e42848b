"""What a newcomer sees, and what the demo leaves behind."""

from __future__ import annotations

import re
from collections import defaultdict
from typing import Any

import pytest
from marquez_client import MarquezClient

from .conftest import Workspace

pytestmark = pytest.mark.slow  # they look at what one run of the demo left

STEPS = ("1/6 build", "2/6 check", "3/6 apply and materialize", "4/6 train", "5/6 serve", "6/6 explain")
TABLES = ("carrier_delays", "route_delays", "plane_usage", "origin_weather")
SERVICE = ("feast://flights", "service/late_arrival")


def test_the_demo_takes_its_six_steps_in_order(printed: str) -> None:
    """Each step is announced, timed, and followed by the next."""
    places = [printed.index(step) for step in STEPS]
    assert places == sorted(places)
    assert "stopped at the gate, because these rules did not hold" in printed
    assert "the table stays at version 0" in printed
    assert "online equals offline in all 23 features" in printed
    assert "Delta table" in printed


def test_the_demo_counts_every_row(printed: str) -> None:
    """For each table source rows = used + set aside, and computed = published + quarantined; the sources are whole."""
    for table in TABLES:
        line = next(line for line in printed.splitlines() if re.match(rf"\s+{table}(\s+[\d,]+){{6}}\s*$", line))
        source, used, aside, computed, published, quarantined = (
            int(number.replace(",", "")) for number in line.split()[1:]
        )
        assert source == (26_115 if table == "origin_weather" else 336_776)
        assert source == used + aside
        assert computed == published + quarantined > 0


def test_the_features_are_worth_something(printed: str) -> None:
    """The model scores higher with the features than with the schedule alone, on flights later than it was trained on."""
    without, with_features = re.search(r"ROC AUC ([\d.]+) with the schedule only, ([\d.]+) with", printed).groups()  # type: ignore[union-attr]
    assert float(with_features) > float(without) + 0.03


def test_no_run_stays_open(workspace: Workspace) -> None:
    """Every run has ended; the only one that failed is the planted bad delivery's build."""
    marquez = workspace.marquez()
    states = defaultdict(list)
    for job in jobs(marquez):
        for run in marquez.list_job_runs(job["namespace"], job["name"], limit=100)["runs"]:
            states[run["state"]].append(job["name"])
    assert set(states) == {"COMPLETED", "FAILED"}
    assert states["FAILED"] == ["build.carrier_delays"]
    assert len(states["COMPLETED"]) >= 4 + 1 + 4 + 1 + 4 + 1 + 1


def test_every_node_is_reachable_from_the_served_feature_service(workspace: Workspace) -> None:
    """Walking jobs and datasets from the service that is served visits every job and every dataset that lineage knows."""
    marquez = workspace.marquez()
    neighbours: dict[tuple[str, ...], set[tuple[str, ...]]] = defaultdict(set)
    every: set[tuple[str, ...]] = set()
    for job in jobs(marquez):
        node = ("job", job["namespace"], job["name"])
        every.add(node)
        for dataset in (*job["inputs"], *job["outputs"]):
            other = ("dataset", dataset["namespace"], dataset["name"])
            neighbours[node].add(other)
            neighbours[other].add(node)
    for namespace in marquez.list_namespaces()["namespaces"]:
        listed = marquez.list_datasets(namespace["name"], limit=1000)["datasets"]
        every |= {("dataset", dataset["namespace"], dataset["name"]) for dataset in listed}
    reached: set[tuple[str, ...]] = {("dataset", *SERVICE)}
    frontier = set(reached)
    while frontier:
        frontier = {there for here in frontier for there in neighbours[here]} - reached
        reached |= frontier
    assert every - reached == set()
    assert {name for _, _, name in every} >= {f"materialize.{table}" for table in TABLES}


def test_served_features_lead_back_to_source_columns(workspace: Workspace) -> None:
    """Column lineage of the service reaches the columns of the files that came in the package."""
    marquez = workspace.marquez()
    found = marquez.get_column_lineage_by_dataset_field(*SERVICE, "carrier_delays__arrival_delay_avg_7d", depth=20)
    nodes = {node["id"] for node in found["graph"]}
    assert any(node.endswith("landing/flights.csv:arr_delay") for node in nodes)


def test_explain_walks_back_from_a_served_value(workspace: Workspace, printed: str) -> None:
    """`pedigree explain` ends at the source file, and names run, Delta version and verdict on the way."""
    entities = re.search(r"pedigree explain late_arrival plane_usage__seats (.*)", printed).group(1).split()  # type: ignore[union-attr]
    told = workspace.run("pedigree", "explain", "late_arrival", "plane_usage__seats", *entities)
    assert told.returncode == 0, told.stdout
    for word in (
        "plane_usage__seats = ",
        "materialize.plane_usage",
        "@ version 0",
        "planes.csv",
    ):
        assert word in told.stdout
    assert re.search(r"(\d+) of \1 rules held", told.stdout)
    assert "columns: seats, tailnum" in told.stdout


def test_lineage_is_drawn_in_the_terminal(workspace: Workspace) -> None:
    """`pedigree lineage` draws the way from the service to the package's files; `--node` draws one node's."""
    drawn = workspace.run("pedigree", "lineage")
    assert drawn.returncode == 0, drawn.stdout
    assert drawn.stdout.startswith("feast://flights service/late_arrival")
    assert "flights.csv.zip" in drawn.stdout
    one = workspace.run("pedigree", "lineage", "--node", "build.origin_weather")
    assert "weather.csv" in one.stdout
    assert "flights.csv" not in one.stdout


def jobs(marquez: MarquezClient) -> list[dict[str, Any]]:
    return [
        job
        for namespace in marquez.list_namespaces()["namespaces"]
        for job in marquez.list_jobs(namespace["name"], limit=1000)["jobs"]
    ]
