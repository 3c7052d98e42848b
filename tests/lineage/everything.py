"""Reads a backend through every endpoint that lists or shows something."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote

import httpx

Name = tuple[str, str]
PAGE = 500


@dataclass(slots=True)
class Everything:
    """What a backend shows of itself."""

    events: list[dict[str, Any]] = field(default_factory=list)
    namespaces: set[str] = field(default_factory=set)
    sources: set[str] = field(default_factory=set)
    jobs: dict[Name, dict[str, Any]] = field(default_factory=dict)
    datasets: dict[Name, dict[str, Any]] = field(default_factory=dict)
    runs: dict[str, dict[str, Any]] = field(default_factory=dict)


def read_everything(http: httpx.Client) -> Everything:
    """What every endpoint shows; each answers 200."""
    seen = Everything()
    seen.events = list(pages(http, "/api/v1/events/lineage", "events"))
    seen.namespaces = {each["name"] for each in pages(http, "/api/v1/namespaces", "namespaces")}
    seen.sources = {each["name"] for each in pages(http, "/api/v1/sources", "sources")}
    for each in pages(http, "/api/v1/jobs", "jobs"):
        seen.jobs[each["namespace"], each["name"]] = each
        read_job(http, each, seen)
    for namespace in seen.namespaces:
        get(http, f"/api/v1/namespaces/{part(namespace)}")
        for each in pages(http, f"/api/v1/namespaces/{part(namespace)}/datasets", "datasets"):
            seen.datasets[namespace, each["name"]] = each
            read_dataset(http, each)
    for path in ("tags", "search?q=a&limit=1000", "stats/jobs?period=DAY", "stats/lineage-events?period=WEEK"):
        get(http, f"/api/v1/{path}")
    for kind in ("jobs", "datasets"):
        get(http, f"/api/v2beta/search/{kind}?q=a")
    return seen


def read_job(http: httpx.Client, job: dict[str, Any], seen: Everything) -> None:
    """Everything that is shown of a job and its runs."""
    path = f"/api/v1/namespaces/{part(job['namespace'])}/jobs/{part(job['name'])}"
    assert get(http, path) == job
    for run in pages(http, f"{path}/runs", "runs"):
        seen.runs[run["id"]] = run
        assert get(http, f"/api/v1/jobs/runs/{run['id']}") == run
        assert get(http, f"/api/v1/jobs/runs/{run['id']}/facets?type=run")["facets"] == run["facets"]
    get(http, f"{path}/versions")
    read_graphs(http, "job", job)


def read_dataset(http: httpx.Client, dataset: dict[str, Any]) -> None:
    """Everything that is shown of a dataset and its versions."""
    path = f"/api/v1/namespaces/{part(dataset['namespace'])}/datasets/{part(dataset['name'])}"
    assert get(http, path) == dataset
    for version in pages(http, f"{path}/versions", "versions"):
        assert get(http, f"{path}/versions/{version['version']}") == version
    read_graphs(http, "dataset", dataset)


def read_graphs(http: httpx.Client, kind: str, thing: dict[str, Any]) -> None:
    """The lineage of a thing and of its columns, and the search for its name."""
    node = f"{kind}:{thing['namespace']}:{thing['name']}"
    if node.count(":") == 2 and "#" not in node:
        graph = get(http, f"/api/v1/lineage?nodeId={part(node)}&depth=1")["graph"]
        assert node in {each["id"] for each in graph}
        get(http, f"/api/v1/column-lineage?nodeId={part(node)}&depth=2&withDownstream=true")
    found = get(http, f"/api/v1/search?q={part(thing['name'])}&filter={kind.upper()}&limit=100000")["results"]
    assert (thing["namespace"], thing["name"]) in {(each["namespace"], each["name"]) for each in found}


def pages(http: httpx.Client, path: str, key: str) -> Iterator[dict[str, Any]]:
    """Every item of a listing."""
    offset = 0
    while found := get(http, f"{path}?limit={PAGE}&offset={offset}")[key]:
        yield from found
        offset += PAGE


def get(http: httpx.Client, path: str) -> Any:
    """An answer, which is 200 and JSON that `json` reads strictly."""
    answer = http.get(path)
    assert answer.status_code == 200, (path, answer.text)
    return answer.json()


def part(name: str) -> str:
    """A name as a part of a path or a query."""
    return quote(name, safe="").replace(".", "%2E")
