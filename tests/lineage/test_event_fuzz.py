"""Mutated events by the thousand: never a 5xx, and what was answered 201 is read back by every endpoint that shows it."""

from __future__ import annotations

import json
import os
import random
from collections import defaultdict
from copy import deepcopy
from typing import Any

import httpx
import pytest

from .conftest import DATABASES
from .everything import get, part, read_everything

Json = dict[str, Any]

EVENTS = int(os.environ.get("PEDIGREE_FUZZ_EVENTS", "1000"))
"""How many events on each database; `PEDIGREE_FUZZ_EVENTS=20000` sends as many."""
PER_BACKEND = 2000
"""After so many events everything is read."""

VALUES: tuple[Any, ...] = (
    *(None, True, False, 0, -1, 2**63, 2**63 - 1, -(2**63), 2**64, 10**30, 1e308, -0.0, 5e-324),
    *(
        float("nan"),
        float("inf"),
        -float("inf"),
        "",
        " ",
        "\0",
        "a\0b",
        "\ud800",
        "\udcff",
        "\U0010ffff",
        "\ufffe",
        "😀",
        "NaN",
    ),
    *(
        "a" * 1024,
        "a" * 1025,
        "ü" * 513,
        "x" * 5000,
        "null",
        "%00",
        "%2F",
        "..",
        ".",
        "/",
        "a:b#c",
        "'; --",
        "\\u0000",
        "\n",
    ),
    *(
        "0001-01-01T00:00:00+01:00",
        "9999-12-31T23:59:59-01:00",
        "2026-13-01T00:00:00Z",
        "2026-01-01",
        "0001-01-01T00:00:00Z",
    ),
    *("2026-01-01T00:00:00.123456789Z", "2026-W01-1T00:00:00", "٢٠٢٦-01-01T00:00:00Z", "START", "complete", "NEVER"),
    *(
        [],
        {},
        [[]],
        [None],
        {"": {}},
        {"a": {"b": [1, {"c": None}]}},
        [1, "a", {}],
        {"name": 5},
        [{"namespace": "n", "name": "m"}],
    ),
)


def deep(levels: int) -> Any:
    """A list in a list, so many levels deep."""
    found: Any = []
    for _ in range(levels):
        found = [found]
    return found


def base(chance: random.Random, number: int) -> Json:
    """An event that has everything."""
    run, table = chance.randrange(40), chance.randrange(12)
    origin = {
        "namespace": "file",
        "name": f"/in/{table}",
        "field": "a",
        "transformations": [{"type": "DIRECT", "subtype": "X"}],
    }
    facets = {
        "schema": {"fields": [{"name": "a", "type": "INT", "description": "d"}]},
        "version": {"datasetVersion": str(chance.randrange(5))},
        "dataSource": {"name": "lake", "uri": "s3://lake"},
        "documentation": {"description": "d"},
        "symlinks": {"identifiers": [{"namespace": "hive", "name": f"t{table}", "type": "TABLE"}]},
    }
    output = {
        "namespace": "file",
        "name": f"/out/{table}",
        "facets": {**facets, "columnLineage": {"fields": {"a": {"inputFields": [origin], "transformationType": "T"}}}},
        "outputFacets": {"outputStatistics": {"rowCount": 5}},
    }
    parent = {"run": {"runId": "p"}, "job": {"namespace": "parents", "name": "p"}}
    run_facets = {
        "parent": parent,
        "nominalTime": {"nominalStartTime": "2026-01-01T00:00:00Z"},
        "pedigree_n": {"a": 1.5},
    }
    job = {"namespace": "pedigree", "name": f"build.{run % 7}", "facets": {"jobType": {"processingType": "BATCH"}}}
    dataset = {"namespace": "file", "name": f"/in/{table}", "facets": {"version": facets["version"]}}
    at = f"2026-01-01T{number // 3600 % 24:02d}:{number // 60 % 60:02d}:{number % 60:02d}.{chance.randrange(1000):03d}Z"
    found: Json = {
        "eventTime": at,
        "producer": f"urn:fuzz:{number}",
        "job": job,
        "inputs": [dataset],
        "outputs": [output],
    }
    if chance.random() < 0.8:
        kind = chance.choice(["START", "RUNNING", "COMPLETE", "FAIL", "ABORT", "OTHER"])
        found |= {"eventType": kind, "run": {"runId": f"01890000-0000-7000-8000-{run:012d}", "facets": run_facets}}
    elif chance.random() < 0.5:
        del found["job"]
        found["dataset"] = output
    return found


def places(value: Any) -> list[tuple[Any, Any]]:
    """Every member of a document: what holds it, and its name or place."""
    found: list[tuple[Any, Any]] = []
    waiting = [value]
    while waiting:
        holder = waiting.pop()
        names = list(holder) if isinstance(holder, dict) else range(len(holder)) if isinstance(holder, list) else []
        found += [(holder, name) for name in names]
        waiting += [holder[name] for name in names]
    return found


def mutate(chance: random.Random, event: Json) -> None:
    """Change one member of an event."""
    holder, name = chance.choice(places(event))
    kind = chance.randrange(10)
    if kind < 6:
        holder[name] = deepcopy(chance.choice((*VALUES, deep(chance.choice([20, 90, 99, 120])))))
    elif kind == 6:
        del holder[name]
    elif kind == 7 and isinstance(holder, dict):
        holder[str(chance.choice([value for value in VALUES if isinstance(value, str)]))] = holder.pop(name)
    elif kind == 8 and isinstance(holder, list):
        holder.append(json.loads(json.dumps(holder[name])))
    else:
        holder[name] = [holder[name]] * chance.choice([1, 3])


def garble(chance: random.Random, body: bytes) -> bytes:
    """Change a few bytes of a body."""
    found = bytearray(body)
    for _ in range(chance.randrange(1, 4)):
        place = chance.randrange(len(found))
        found[place : place + chance.choice([0, 1, 1, 2])] = bytes([chance.randrange(256)])
    return bytes(found[: chance.choice([len(found), len(found), len(found) // 2])])


def bodies(chance: random.Random, count: int) -> list[bytes]:
    """So many mutated events."""
    found = []
    for number in range(count):
        event = base(chance, number)
        for _ in range(chance.choice([0, 1, 1, 1, 2, 4])):
            mutate(chance, event)
        body = json.dumps(event, ensure_ascii=chance.random() < 0.9).encode(errors="surrogatepass")
        found.append(garble(chance, body) if chance.random() < 0.1 else body)
    return found


def names(event: Json) -> set[str]:
    """The paths of the job, the run and the datasets that an event names."""
    own = [event["dataset"]] if not {"run", "job"} & event.keys() else []
    said = [*(event.get("inputs") or []), *(event.get("outputs") or []), *own]
    found = {f"/api/v1/namespaces/{part(each['namespace'])}/datasets/{part(each['name'])}" for each in said}
    if not own:
        job = event["job"]
        found.add(f"/api/v1/namespaces/{part(job['namespace'])}/jobs/{part(job['name'])}")
    if "run" in event:
        found.add(f"/api/v1/jobs/runs/{part(event['run']['runId'])}")
    return found


def key(event: Json) -> Any:
    """Equal for two events of one run, type and time, of which the first is kept."""
    if "run" not in event:
        return json.dumps(event, sort_keys=True)
    return event["run"]["runId"].lower(), str(event.get("eventType") or "OTHER").upper(), event["eventTime"]


def producer(event: Json) -> str:
    """What most events are told apart by; empty for those without it."""
    found = event.get("producer")
    return found if isinstance(found, str) else ""


@pytest.mark.slow
@DATABASES
@pytest.mark.parametrize("seed", range(max(EVENTS // PER_BACKEND, 1)))
def test_mutated_events_are_refused_or_read_back(http: httpx.Client, seed: int) -> None:
    """Each is a 201, 400 or 422; the log holds all that were taken as they came, and every endpoint shows what they say."""
    chance, taken = random.Random(seed), dict[Any, Json]()
    http.timeout = httpx.Timeout(60)
    for body in bodies(chance, min(EVENTS, PER_BACKEND)):
        answer = http.post("/api/v1/lineage", content=body)
        assert answer.status_code in {201, 400, 422}, (answer.status_code, answer.text, body)
        if answer.status_code == 201:
            event = json.loads(body)
            taken.setdefault(key(event), event)
    assert len(taken) > min(EVENTS, PER_BACKEND) // 5
    seen = read_everything(http)
    kept = defaultdict(list)
    for event in seen.events:
        kept[producer(event)].append(event)
    for event in taken.values():
        assert event in kept[producer(event)], event
    for path in set[str]().union(*(names(event) for event in taken.values())):
        assert get(http, path)
