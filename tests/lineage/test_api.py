"""Marquez's HTTP API, as Marquez's client, its web UI and plain HTTP see it."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from dataclasses import replace
from typing import Any
from urllib.parse import quote

import httpx
import pytest
from hypothesis import HealthCheck, example, given
from hypothesis import settings as effort
from hypothesis import strategies as st
from marquez_client import MarquezClient
from marquez_client.errors import APIError
from pydantic import SecretStr

from pedigree.lineage.backend.api import ENDPOINTS
from pedigree.lineage.client.client import LineageClient
from pedigree.lineage.naming import DatasetName, dataset_node, field_node
from pedigree.lineage.settings import LineageSettings

Build = Callable[..., dict[str, Any]]
RUN = "01890000-0000-7000-8000-000000000001"
TRIPS = {"namespace": "file", "name": "/lake/trips"}
ONLINE: dict[str, Any] = {
    "namespace": "redis://127.0.0.1:16379",
    "name": "flights.trips",
    "facets": {
        "schema": {"fields": [{"name": "count", "type": "INT"}]},
        "columnLineage": {"fields": {"count": {"inputFields": [{**TRIPS, "field": "id"}]}}},
    },
}


@pytest.fixture
def one_run(http: httpx.Client, event: Build) -> None:
    """A run that has read a table and written a view."""
    for kind, at in (("START", "2026-01-01T00:00:00Z"), ("COMPLETE", "2026-01-01T00:00:01Z")):
        http.post("/api/v1/lineage", json=event(kind, at, inputs=(TRIPS,), outputs=(ONLINE,), facets={"f": {}}))
    return


@pytest.mark.usefixtures("one_run")
def test_marquez_client_reads_everything(marquez: MarquezClient) -> None:
    """Every reading method of marquez-python works unchanged, on names with slashes and colons too."""
    online = (ONLINE["namespace"], ONLINE["name"])
    assert {each["name"] for each in marquez.list_namespaces()["namespaces"]} == {"file", "pedigree", online[0]}
    assert marquez.get_namespace(online[0])["ownerName"] == "anonymous"
    assert [each["name"] for each in marquez.list_sources()["sources"]] == ["file", online[0]]
    assert marquez.get_source(online[0])["connectionUrl"] == online[0]
    dataset = marquez.get_dataset(*online)
    assert dataset["fields"] == [{"name": "count", "type": "INT", "tags": [], "description": None}]
    assert dataset["columnLineage"][0]["inputFields"][0]["dataset"] == "/lake/trips"
    assert [each["name"] for each in marquez.list_datasets("file")["datasets"]] == ["/lake/trips"]
    (version,) = marquez.list_dataset_versions(*online)["versions"]
    assert marquez.get_dataset_version(*online, version["version"]) == version
    assert version["createdByRun"]["id"] == RUN
    job = marquez.get_job("pedigree", "build.trips")
    assert marquez.list_jobs("pedigree")["jobs"] == [job]
    (run,) = marquez.list_job_runs("pedigree", "build.trips")["runs"]
    assert marquez.get_job_run(RUN) == run == job["latestRun"] == job["latestRuns"][0]
    assert marquez.list_tags() == {"tags": []}
    assert marquez.list_events()["totalCount"] == marquez.list_events(namespace="pedigree")["totalCount"] == 2
    by_field = marquez.get_column_lineage_by_dataset_field(*online, "count")["graph"]
    assert by_field == marquez.get_column_lineage_by_dataset(*online)["graph"]
    assert by_field == marquez.get_column_lineage_by_job("pedigree", "build.trips")["graph"]
    assert {node["id"] for node in by_field} == {
        "datasetField:file:/lake/trips:id",
        "datasetField:redis://127.0.0.1:16379:flights.trips:count",
    }


@pytest.mark.usefixtures("one_run")
def test_marquez_client_writes_what_is_not_deprecated(marquez: MarquezClient) -> None:
    """Namespaces and tags can be made; tags can be put on datasets and fields."""
    assert marquez.create_namespace("team/a", "ann", "Team A")["ownerName"] == "ann"
    assert marquez.get_namespace("team/a")["description"] == "Team A"
    assert marquez.create_tag("PII", "personal") == {"name": "PII", "description": "personal"}
    name = (ONLINE["namespace"], ONLINE["name"])
    assert marquez.tag_dataset(*name, "PII")["tags"] == ["PII"]
    assert marquez.tag_dataset_field(*name, "count", "PII")["fields"][0]["tags"] == ["PII"]
    with pytest.raises(APIError):
        marquez.tag_dataset_field(*name, "no_such_field", "PII")


@pytest.mark.usefixtures("one_run")
def test_the_web_uis_pages_are_answered(http: httpx.Client) -> None:
    """Each GET that Marquez's web UI makes is answered with the parts its pages read."""
    dataset = f"/api/v1/namespaces/{quote(ONLINE['namespace'], safe='')}/datasets/{ONLINE['name']}"
    node = f"dataset:{quote(ONLINE['namespace'], safe='')}:{ONLINE['name']}"
    zone = "timezone=Europe/Berlin"
    parts = {
        "/api/v1/namespaces": "namespaces",
        "/api/v1/namespaces/file/datasets?limit=20&offset=0": "datasets",
        dataset: "facets",
        f"{dataset}/versions?limit=20&offset=0": "versions",
        "/api/v1/jobs?limit=25&offset=0&lastRunStates=COMPLETED": "jobs",
        "/api/v1/namespaces/pedigree/jobs?limit=25&offset=0": "jobs",
        "/api/v1/namespaces/pedigree/jobs/build.trips": "latestRuns",
        "/api/v1/namespaces/pedigree/jobs/build.trips/runs?limit=14&offset=0": "runs",
        f"/api/v1/jobs/runs/{RUN}/facets?type=run": "facets",
        f"/api/v1/jobs/runs/{RUN}/facets?type=job": "facets",
        "/api/v1/events/lineage?limit=100&before=2030-01-01T00:00:00.000Z&after=2020-01-01T00:00:00.000Z"
        "&offset=0&sortDirection=desc": "events",
        f"/api/v1/lineage?nodeId={node}&depth=2": "graph",
        f"/api/v1/column-lineage?nodeId={node}&depth=2&withDownstream=true": "graph",
        "/api/v1/search?q=trips&sort=NAME&limit=100&filter=DATASET": "results",
        "/api/v2beta/search/jobs?q=trips": "hits",
        "/api/v2beta/search/datasets?q=trips": "hits",
        "/api/v1/tags": "tags",
    }
    for path, part in parts.items():
        answer = http.get(path)
        assert answer.status_code == 200 and part in answer.json(), path
    for asset in ("jobs", "datasets", "sources", "lineage-events"):
        day, week = (http.get(f"/api/v1/stats/{asset}?period={unit}&{zone}").json() for unit in ("DAY", "WEEK"))
        assert (len(day), len(week)) == (24, 7), asset
    assert http.get(f"/api/v1/stats/jobs?period=DAY&{zone}").json()[-1]["count"] == 1


@pytest.mark.usefixtures("one_run")
def test_jobs_are_filtered_by_the_state_of_their_last_run(http: httpx.Client) -> None:
    """A state that no last run is in leaves nothing."""
    assert http.get("/api/v1/jobs?lastRunStates=FAILED").json() == {"jobs": [], "totalCount": 0}
    assert http.get("/api/v1/jobs?lastRunStates=FAILED&lastRunStates=COMPLETED").json()["totalCount"] == 1


@pytest.mark.usefixtures("one_run")
@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("TRIPS", 3),
        ("lake/", 1),
        ("build", 1),
        ("%", 0),
        ("_", 0),
        ("trips&filter=JOB", 1),
        ("trips&namespace=file", 1),
    ],
)
def test_search_finds_parts_of_names(http: httpx.Client, text: str, found: int) -> None:
    """Case does not count, and wildcards of SQL are ordinary characters."""
    answer = http.get(f"/api/v1/search?q={text}").json()
    assert answer["totalCount"] == len(answer["results"]) == found


@pytest.mark.usefixtures("one_run")
@pytest.mark.parametrize(
    ("path", "message"),
    [
        ("/api/v1/namespaces/none", "Namespace 'none' not found."),
        ("/api/v1/namespaces/file/datasets/none", "Dataset 'none' not found."),
        ("/api/v1/namespaces/file/datasets/%2Flake%2Ftrips/versions/1", "Dataset version '1' not found."),
        ("/api/v1/namespaces/pedigree/jobs/none", "Job 'none' not found."),
        (f"/api/v1/jobs/runs/{RUN[:-1]}2", f"Run '{RUN[:-1]}2' not found."),
        ("/api/v1/lineage?nodeId=dataset:file:none", "Node 'dataset:file:none' not found."),
        ("/api/v1/nothing", "HTTP 404 Not Found"),
    ],
)
def test_what_is_unknown_is_404_in_marquez_shape(http: httpx.Client, path: str, message: str) -> None:
    """Code and message, and nothing of the inside."""
    answer = http.get(path)
    assert (answer.status_code, answer.json()) == (404, {"code": 404, "message": message})


def test_a_deprecated_way_to_write_names_the_way_that_is_right(http: httpx.Client) -> None:
    """Marquez's old write endpoints refuse, and point to OpenLineage events."""
    answer = http.put("/api/v1/namespaces/n/jobs/j", json={})
    assert answer.status_code == 405 and "/api/v1/lineage" in answer.json()["message"]


@pytest.mark.usefixtures("one_run")
def test_what_is_deleted_is_hidden_until_it_is_heard_of_again(http: httpx.Client, event: Build) -> None:
    """Deleting is soft: the next event brings a dataset and a job back with their history."""
    dataset, job = "/api/v1/namespaces/file/datasets/%2Flake%2Ftrips", "/api/v1/namespaces/pedigree/jobs/build.trips"
    assert http.delete(dataset).status_code == http.delete(job).status_code == 200
    assert http.get(dataset).status_code == http.get(job).status_code == 404
    assert http.get("/api/v1/search?q=lake").json()["totalCount"] == 0
    http.post("/api/v1/lineage", json=event("START", "2026-01-02T00:00:00Z", run=RUN[:-1] + "2", inputs=(TRIPS,)))
    assert http.get(dataset).status_code == http.get(job).status_code == 200
    assert http.get(f"{job}/runs").json()["totalCount"] == 2


def test_pages_of_datasets_and_runs_are_complete(http: httpx.Client, event: Build) -> None:
    """Limit and offset walk through everything once, and totals count everything."""
    for number in range(23):
        run, table = f"01890000-0000-7000-8000-0000000000{number:02d}", {"namespace": "file", "name": f"/t{number:02d}"}
        at = f"2026-01-01T00:00:{number:02d}Z"
        assert http.post("/api/v1/lineage", json=event("COMPLETE", at, run=run, outputs=(table,))).status_code == 201
    for path, part in (("namespaces/file/datasets", "datasets"), ("namespaces/pedigree/jobs/build.trips/runs", "runs")):
        pages = [http.get(f"/api/v1/{path}?limit=10&offset={offset}").json() for offset in (0, 10, 20, 30)]
        assert [len(page[part]) for page in pages] == [10, 10, 3, 0]
        assert len({str(each["id"]) for page in pages for each in page[part]}) == 23
        assert {page["totalCount"] for page in pages} == {23}


names = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), min_size=1, max_size=20)


@effort(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(namespace=names, name=names, field=names)
@example(namespace=".", name="..", field=".")
def test_any_name_survives_the_way_through_urls(
    http: httpx.Client, client: LineageClient, event: Build, namespace: str, name: str, field: str
) -> None:
    """Slashes, colons, percents and the rest of Unicode: a dataset is found under the name it was given."""
    dataset = DatasetName(namespace, name)
    schema = {"schema": {"fields": [{"name": field, "type": "INT"}]}}
    body = {"dataset": {"namespace": namespace, "name": name, "facets": schema}, "eventTime": "2026-01-01T00:00:00Z"}
    assert http.post("/api/v1/lineage", json=body).status_code == 201
    assert client.dataset(dataset).name == dataset
    assert [each.name for each in client.versions(dataset)] == [dataset]
    if (namespace + name).count(":") == 0 and "#" not in name:
        assert client.lineage(dataset_node(dataset)).nodes[dataset_node(dataset)].name == name
        assert field_node(dataset, field)


def test_the_key_is_asked_for_if_there_is_one(settings: LineageSettings, stopped: Any) -> None:
    """With a key set, nothing but the health checks answers without it."""
    stopped.settings = replace(settings, api_key=SecretStr("secret"))
    stopped.start()
    with httpx.Client(base_url=settings.url, trust_env=False) as http:
        for method, path, _ in ENDPOINTS:
            assert http.request(method, path.replace("{", "").replace("}", "")).status_code == 401, path
        assert http.get("/healthcheck").json() == {"database": {"healthy": True}}
        assert http.get("/ping").text == "pong\n"
        assert http.get("/api/v1/jobs", headers={"Authorization": "Bearer secret"}).status_code == 200


def test_the_server_runs_from_settings_and_stops_on_sigterm(
    settings: LineageSettings, python: Callable[..., subprocess.Popen[str]], event: Build
) -> None:
    """`python -m pedigree.lineage.server` answers at the address of the settings, ends cleanly, and keeps what it was told."""
    for _ in range(2):
        process = python("-m", "pedigree.lineage.server")
        transport = httpx.HTTPTransport(retries=10)
        with httpx.Client(base_url=settings.url, transport=transport, timeout=30) as http:
            http.post("/api/v1/lineage", json=event("COMPLETE", "2026-01-01T00:00:00Z"))
            assert http.get("/api/v1/events/lineage").json()["totalCount"] == 1
        process.terminate()
        assert process.wait(10) == 0, process.communicate()
