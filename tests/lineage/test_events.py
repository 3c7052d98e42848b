"""What the backend makes of OpenLineage events, in whatever order and shape they come."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from itertools import permutations
from typing import Any

import httpx
import pytest
from openlineage.client import OpenLineageClient
from openlineage.client.event_v2 import InputDataset, Job, OutputDataset, Run, RunEvent, RunState
from openlineage.client.transport.http import HttpConfig, HttpTransport

from pedigree.lineage.client.client import LineageClient
from pedigree.lineage.naming import DatasetName, at_path

Build = Callable[..., dict[str, Any]]
RUN = "01890000-0000-7000-8000-000000000001"
START, MIDDLE, END = "2026-01-01T00:00:00Z", "2026-01-01T00:00:01Z", "2026-01-01T00:00:02.5Z"
TRIPS, DELAYS = {"namespace": "file", "name": "/trips"}, {"namespace": "file", "name": "/delays"}


def post(http: httpx.Client, *events: dict[str, Any]) -> None:
    """Send events."""
    for each in events:
        assert http.post("/api/v1/lineage", json=each).status_code == 201


def versioned(dataset: dict[str, Any], version: str, **facets: Any) -> dict[str, Any]:
    """A dataset of an event, at a version."""
    return {**dataset, "facets": {"version": {"datasetVersion": version}, **facets}}


@pytest.mark.parametrize("order", list(permutations(range(3))))
def test_events_may_come_in_any_order(http: httpx.Client, event: Build, order: tuple[int, ...]) -> None:
    """The run, its inputs and outputs are the same however the events of a run are shuffled."""
    events = [
        event("START", START, inputs=(TRIPS,), facets={"a": {"n": 1}}),
        event("RUNNING", MIDDLE, inputs=(versioned(TRIPS, "4"),), facets={"a": {"n": 2}}),
        event("COMPLETE", END, outputs=(versioned(DELAYS, "7"),), facets={"b": {"n": 3}}),
    ]
    post(http, *(events[number] for number in order))
    run = http.get(f"/api/v1/jobs/runs/{RUN}").json()
    assert (run["state"], run["durationMs"]) == ("COMPLETED", 2500)
    assert (run["startedAt"], run["endedAt"]) == ("2026-01-01T00:00:00.000000Z", "2026-01-01T00:00:02.500000Z")
    assert run["facets"] == {"a": {"n": 2}, "b": {"n": 3}}
    (read,), (written,) = run["inputDatasetVersions"], run["outputDatasetVersions"]
    path = f"/api/v1/namespaces/file/datasets/%2Ftrips/versions/{read['datasetVersionId']['version']}"
    assert http.get(path).json()["facets"]["version"]["datasetVersion"] == "4"
    dataset = http.get("/api/v1/namespaces/file/datasets/%2Fdelays").json()
    assert dataset["currentVersion"] == written["datasetVersionId"]["version"]
    job = http.get("/api/v1/namespaces/pedigree/jobs/build.trips").json()
    assert (job["inputs"], job["outputs"]) == ([TRIPS], [DELAYS])


def test_an_event_delivered_twice_is_stored_once(http: httpx.Client, event: Build) -> None:
    """The same run, type and time is the same event."""
    post(http, *[event("COMPLETE", START, outputs=(DELAYS,))] * 3)
    assert http.get("/api/v1/events/lineage").json()["totalCount"] == 1
    assert http.get("/api/v1/namespaces/file/datasets/%2Fdelays/versions").json()["totalCount"] == 1


def test_each_writing_run_makes_one_version(http: httpx.Client, event: Build) -> None:
    """However many events a run takes, it writes one version; the next run writes the next."""
    for number in range(3):
        run = f"01890000-0000-7000-8000-00000000000{number}"
        post(http, event("START", f"2026-01-0{number + 1}T00:00:00Z", run=run, outputs=(DELAYS,)))
        post(
            http,
            event("COMPLETE", f"2026-01-0{number + 1}T00:00:01Z", run=run, outputs=(versioned(DELAYS, str(number)),)),
        )
    versions = http.get("/api/v1/namespaces/file/datasets/%2Fdelays/versions").json()["versions"]
    assert [each["facets"]["version"]["datasetVersion"] for each in versions] == ["2", "1", "0"]
    assert [each["createdByRun"]["id"][-1] for each in versions] == ["2", "1", "0"]


def test_a_reader_heard_of_before_its_writer_joins_the_writers_version(http: httpx.Client, event: Build) -> None:
    """A version that was read first and announced later is one version, with its writer."""
    reader, writer = RUN, RUN[:-1] + "2"
    post(http, event("COMPLETE", END, run=reader, job="materialize.trips", inputs=(versioned(TRIPS, "5"),)))
    post(http, event("COMPLETE", START, run=writer, outputs=(versioned(TRIPS, "5"),)))
    (version,) = http.get("/api/v1/namespaces/file/datasets/%2Ftrips/versions").json()["versions"]
    assert version["createdByRun"]["id"] == writer
    (read,) = http.get(f"/api/v1/jobs/runs/{reader}").json()["inputDatasetVersions"]
    assert read["datasetVersionId"]["version"] == version["version"]


def test_a_reader_does_not_overrule_the_writers_schema(http: httpx.Client, event: Build) -> None:
    """Somebody who read two columns does not make the table two columns wide."""
    wide, narrow = ({"fields": [{"name": name, "type": "INT"} for name in names]} for names in ("abc", "a"))
    post(http, event("COMPLETE", START, outputs=(versioned(TRIPS, "5", schema=wide),)))
    post(http, event("COMPLETE", END, run=RUN[:-1] + "2", job="x.y", inputs=(versioned(TRIPS, "5", schema=narrow),)))
    found = http.get("/api/v1/namespaces/file/datasets/%2Ftrips").json()
    assert [field["name"] for field in found["fields"]] == ["a", "b", "c"]


@pytest.mark.parametrize(
    ("body", "status", "message"),
    [
        (b"{", 400, "not JSON"),
        (b"[]", 400, "not a JSON object"),
        (b"{}", 422, "neither run nor job nor dataset"),
        (b'{"run": {}, "eventTime": "x", "eventType": "BEGIN"}', 422, "run.runId is missing"),
        (b'{"run": {"runId": "a"}, "job": {"namespace": "n"}, "eventTime": "2026-01-01T00:00:00Z"}', 422, "job.name"),
        (b'{"dataset": {"namespace": "n", "name": "d", "facets": 1}, "eventTime": "x"}', 422, "dataset.facets"),
        (
            b'{"job": {"namespace": "n", "name": "j"}, "eventTime": "2026-01-01T00:00:00Z", "inputs": [3]}',
            422,
            r"inputs\[0\] is not an object",
        ),
    ],
)
def test_what_is_no_event_is_refused_with_the_reason(
    http: httpx.Client, body: bytes, status: int, message: str
) -> None:
    """A refusal names what is wrong, in Marquez's error shape, and nothing is stored."""
    answer = http.post("/api/v1/lineage", content=body)
    assert answer.status_code == answer.json()["code"] == status
    with pytest.raises(AssertionError, match=message):
        raise AssertionError(answer.json()["message"])
    assert http.get("/api/v1/events/lineage").json() == {"events": [], "totalCount": 0}


def test_facets_of_strange_shapes_do_no_harm(http: httpx.Client, event: Build) -> None:
    """An agent whose facets are not what the specification says is stored all the same."""
    strange = {
        "schema": {"fields": [1, {"type": "x"}, {"name": "a"}]},
        "columnLineage": {"fields": {"a": {"inputFields": [{"name": "/trips"}]}, "b": 1}},
        "symlinks": {"identifiers": [None, {"namespace": "n"}]},
        "dataSource": [],
        "version": {"datasetVersion": 7},
    }
    post(http, event("COMPLETE", START, outputs=({**DELAYS, "facets": strange},), facets={"parent": "nobody"}))
    found = http.get("/api/v1/namespaces/file/datasets/%2Fdelays").json()
    assert [field["name"] for field in found["fields"]] == ["a"]


def test_events_of_jobs_and_datasets_without_a_run_are_kept(http: httpx.Client) -> None:
    """Static lineage counts: a job event draws edges, a dataset event describes."""
    job = {"job": {"namespace": "n", "name": "j"}, "inputs": [TRIPS], "outputs": [DELAYS], "eventTime": START}
    described = {**DELAYS, "facets": {"documentation": {"description": "Delays"}}}
    post(http, job, {"dataset": described, "eventTime": MIDDLE})
    assert http.get("/api/v1/namespaces/n/jobs/j").json()["outputs"] == [DELAYS]
    assert http.get("/api/v1/namespaces/file/datasets/%2Fdelays").json()["description"] == "Delays"


def test_openlineage_own_client_can_emit_here(http: httpx.Client, backend: Any, client: LineageClient) -> None:
    """The HTTP transport of openlineage-python needs nothing but the address."""
    emitter = OpenLineageClient(transport=HttpTransport(HttpConfig(url=backend.settings.url)))
    for kind in (RunState.START, RunState.COMPLETE):
        emitter.emit(
            RunEvent(
                eventType=kind,
                eventTime=datetime.now(UTC).isoformat(),
                run=Run(RUN),
                job=Job("spark", "agent.job"),
                inputs=[InputDataset("file", "/trips")],
                outputs=[OutputDataset("s3://bucket", "lake/delays")],
            )
        )
    run = client.run(RUN)
    assert (run.namespace, run.job, run.state) == ("spark", "agent.job", "COMPLETED")
    assert [ref.name for ref in run.inputs] == [at_path("/trips")]
    assert [ref.name for ref in run.outputs] == [DatasetName("s3://bucket", "lake/delays")]


def test_pages_of_events_are_complete(http: httpx.Client, event: Build) -> None:
    """Limit and offset walk through every event once, and the total counts them all."""
    post(http, *(event("RUNNING", f"2026-01-01T00:00:{second:02d}Z") for second in range(25)))
    pages = [http.get(f"/api/v1/events/lineage?limit=10&offset={offset}").json() for offset in (0, 10, 20)]
    times = [each["eventTime"] for page in pages for each in page["events"]]
    assert times == sorted(times, reverse=True) and len(set(times)) == 25
    assert {page["totalCount"] for page in pages} == {25}
    some = http.get("/api/v1/events/lineage?after=2026-01-01T00:00:05Z&before=2026-01-01T00:00:08Z").json()
    assert some["totalCount"] == 3
    assert http.get("/api/v1/events/lineage?limit=-1").status_code == 400
