"""What a reader learns: the way back from a served value, and the graphs."""

from __future__ import annotations

from typing import Any

import httpx
import pytest

from pedigree.lineage.client.client import LineageClient
from pedigree.lineage.dataset import Assertion, Dataset, Field, Origin
from pedigree.lineage.errors import LineageUnknownError
from pedigree.lineage.naming import at_path, dataset_node, feature_service, field_node, redis_view
from pedigree.lineage.recorder import Recorder
from pedigree.lineage.settings import LineageSettings

FLIGHTS = at_path("/landing/flights.csv")
WEATHER = at_path("/landing/weather.csv")
DELAYS = at_path("file:///lake/carrier_delays")
STORMS = at_path("file:///lake/storms")
ONLINE = redis_view("127.0.0.1:16379", project="flights", view="carrier_delays")
SERVICE = feature_service("flights", "departure")


@pytest.fixture
def history(settings: LineageSettings, backend: Any) -> dict[str, str]:
    """Two builds of one table, a materialization of the older one, and an unrelated table; run ids by name."""
    runs = {}
    with Recorder.open(settings) as recorder:
        for version in ("4", "5"):
            with recorder.run("build", "carrier_delays") as run:
                run.reads(Dataset(FLIGHTS, version=f"file-{version}"))
                found = (Assertion("carrier_is_present", version == "5", "carrier", 0 if version == "5" else 2),)
                origins = {"delay_avg": (Origin(FLIGHTS, "dep_delay", "aggregation"),)}
                columns = (Field("delay_avg", "DOUBLE"),)
                run.writes(Dataset(DELAYS, columns, version, origins=origins, assertions=found))
            runs[f"build {version}"] = run.id
        with recorder.run("materialize", "carrier_delays") as run:
            run.reads(Dataset(DELAYS, version="4"))
            origins = {"delay_avg": (Origin(DELAYS, "delay_avg", "identity"),)}
            run.writes(Dataset(ONLINE, (Field("delay_avg", "DOUBLE"),), rows=16, origins=origins))
        runs["materialize"] = run.id
        with recorder.run("build", "storms") as run:
            run.reads(Dataset(WEATHER))
            run.writes(Dataset(STORMS))
    return runs


def test_a_served_value_leads_back_to_its_source(client: LineageClient, history: dict[str, str]) -> None:
    """From the view in Redis to the run, the table version it read, that version's verdict, and the source file."""
    materialized = client.current_version(ONLINE)
    assert materialized.run_id is not None
    assert materialized.run_id == history["materialize"]
    (read,) = client.run(materialized.run_id).inputs
    assert (read.name, read.version) == (DELAYS, "4")
    built = client.written_by(read.name, "4")
    assert (built.id, built.state) == (history["build 4"], "COMPLETED")
    assert built.assertions == (Assertion("carrier_is_present", False, "carrier", 2),)
    assert [(ref.name, ref.version) for ref in built.inputs] == [(FLIGHTS, "file-4")]
    assert client.current_version(DELAYS).version == "5"


def test_versions_come_newest_first_and_no_more_than_asked(client: LineageClient, history: dict[str, str]) -> None:
    """A limit cuts the oldest off."""
    assert [each.version for each in client.versions(DELAYS)] == ["5", "4"]
    assert [each.version for each in client.versions(DELAYS, limit=1)] == ["5"]


def test_what_was_never_recorded_is_unknown(client: LineageClient, history: dict[str, str]) -> None:
    """Every way to ask for something unknown says that it is unknown, by name."""
    with pytest.raises(LineageUnknownError, match="version 6 of file:/lake/carrier_delays"):
        client.written_by(DELAYS, "6")
    with pytest.raises(LineageUnknownError, match=r"job pedigree:build\.nothing"):
        client.job("build.nothing")
    with pytest.raises(LineageUnknownError, match="dataset file:/nowhere"):
        client.dataset(at_path("/nowhere"))
    with pytest.raises(LineageUnknownError, match="flush"):
        client.run("01890000-0000-7000-8000-0000000000ff")
    with pytest.raises(LineageUnknownError):
        client.columns(DELAYS, "no_such_column")


def test_the_facets_of_a_run_are_what_was_emitted(client: LineageClient, history: dict[str, str]) -> None:
    """The run's own account of its inputs is readable from any Marquez."""
    facets = client.run_facets(history["materialize"])
    assert facets["pedigree_io"]["inputs"] == [{"namespace": "file", "name": "/lake/carrier_delays", "version": "4"}]


def test_the_graph_reaches_what_is_connected_and_nothing_else(client: LineageClient, history: dict[str, str]) -> None:
    """Upstream of the view in Redis lies its source; the unrelated table is not in the graph at all."""
    graph = client.lineage(dataset_node(ONLINE))
    assert graph.upstream(dataset_node(ONLINE)) == {
        "job:pedigree:materialize.carrier_delays",
        dataset_node(DELAYS),
        "job:pedigree:build.carrier_delays",
        dataset_node(FLIGHTS),
    }
    assert graph.downstream(dataset_node(FLIGHTS)) >= {dataset_node(ONLINE)}
    assert dataset_node(STORMS) not in graph.nodes


def test_depth_counts_the_jobs_that_are_passed(client: LineageClient, history: dict[str, str]) -> None:
    """At depth 0 a job is shown with what it touches; each step adds the jobs that touch the same."""
    job = "job:pedigree:materialize.carrier_delays"
    assert dataset_node(FLIGHTS) not in client.lineage(job, depth=0).nodes
    assert dataset_node(FLIGHTS) in client.lineage(job, depth=1).nodes


def test_a_column_leads_back_to_the_source_column(client: LineageClient, history: dict[str, str]) -> None:
    """Column lineage crosses jobs; downstream is followed only when asked for."""
    up = client.columns(ONLINE, "delay_avg")
    assert up.upstream(field_node(ONLINE, "delay_avg")) == {
        field_node(DELAYS, "delay_avg"),
        field_node(FLIGHTS, "dep_delay"),
    }
    assert client.columns(DELAYS, downstream=True).downstream(field_node(FLIGHTS, "dep_delay")) == {
        field_node(DELAYS, "delay_avg"),
        field_node(ONLINE, "delay_avg"),
    }
    assert field_node(ONLINE, "delay_avg") not in client.columns(DELAYS).nodes
    assert field_node(FLIGHTS, "dep_delay") not in client.columns(ONLINE, depth=1).nodes


def test_the_columns_of_a_version_are_those_of_the_versions_it_was_made_of(
    client: LineageClient, http: httpx.Client, history: dict[str, str]
) -> None:
    """Asked for one version, the graph holds the versions that its run read, not today's."""
    versions = {each.version: each.id for each in client.versions(DELAYS)}
    online = client.current_version(ONLINE)
    node = f"{field_node(ONLINE, 'delay_avg')}#{online.id}"
    graph = http.get("/api/v1/column-lineage", params={"nodeId": node}).json()["graph"]
    ids = {each["id"] for each in graph}
    assert node in ids and f"{field_node(DELAYS, 'delay_avg')}#{versions['4']}" in ids
    assert not any(versions["5"] in id_ for id_ in ids)
    refused = http.get("/api/v1/column-lineage", params={"nodeId": node, "withDownstream": "true"})
    assert refused.status_code == 400


def test_a_cycle_of_jobs_ends(settings: LineageSettings, client: LineageClient) -> None:
    """Two jobs that feed each other have a finite graph, of tables and of columns."""
    one, other = at_path("/one"), at_path("/other")
    with Recorder.open(settings) as recorder:
        for verb, source, target in (("a", one, other), ("b", other, one)):
            with recorder.run(verb, "x") as run:
                run.reads(Dataset(source))
                run.writes(Dataset(target, origins={"c": (Origin(source, "c"),)}))
    assert len(client.lineage(dataset_node(one), depth=50).nodes) == 4
    assert len(client.columns(one, "c", depth=50, downstream=True).nodes) == 2


def test_a_dataset_that_nothing_reads_or_writes_is_a_graph_of_its_own(
    settings: LineageSettings, client: LineageClient, http: httpx.Client
) -> None:
    """A dataset that was only described has a node."""
    body = {"dataset": {"namespace": "file", "name": "/alone"}, "eventTime": "2026-01-01T00:00:00Z"}
    assert http.post("/api/v1/lineage", json=body).status_code == 201
    assert set(client.lineage("dataset:file:/alone").nodes) == {"dataset:file:/alone"}


def test_somebody_elses_run_shows_the_versions_it_read(client: LineageClient, http: httpx.Client) -> None:
    """A run of another agent, without our own facet, still tells its inputs' versions."""
    table = {"namespace": "file", "name": "/t", "facets": {"version": {"datasetVersion": "9"}}}
    body: dict[str, Any] = {
        "eventType": "COMPLETE",
        "eventTime": "2026-01-01T00:00:00Z",
        "run": {"runId": "01890000-0000-7000-8000-000000000001"},
        "job": {"namespace": "spark", "name": "agent"},
        "inputs": [table],
    }
    assert http.post("/api/v1/lineage", json=body).status_code == 201
    (read,) = client.run(body["run"]["runId"]).inputs
    assert (read.name, read.version) == (at_path("/t"), "9")
    assert client.job("agent", namespace="spark").inputs == (at_path("/t"),)
