"""Large events: how large one may be, what taking it costs, and who waits for it."""

from __future__ import annotations

import json
import os
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import httpx
import pytest
import sqlalchemy as sa

from pedigree.lineage.backend.tables import open_database
from pedigree.lineage.delivery.outbox import Outbox
from pedigree.lineage.settings import LineageSettings

from ..distributions import ROOT
from .conftest import DATABASES
from .everything import part

Build = Callable[..., dict[str, Any]]
Python = Callable[..., subprocess.Popen[str]]
AT = "2026-01-01T00:00:00Z"
RUN = "01890000-0000-7000-8000-000000000001"
INPUT = {"namespace": "file", "name": "/in"}


def tables(count: int, **facets: Any) -> tuple[dict[str, Any], ...]:
    """So many datasets."""
    return tuple({"namespace": "file", "name": f"/out/{number:05d}", "facets": facets} for number in range(count))


def columns(count: int) -> dict[str, Any]:
    """A columnLineage facet of so many columns."""
    return {"fields": {f"c{number}": {"inputFields": [{**INPUT, "field": f"c{number}"}]} for number in range(count)}}


@contextmanager
def writer_lock(settings: LineageSettings) -> Iterator[None]:
    """Somebody else writes to the SQLite database as long as this lasts."""
    path = settings.database.get_secret_value().removeprefix("sqlite:///")
    with sqlite3.connect(path, isolation_level=None) as other:
        other.execute("BEGIN IMMEDIATE")
        yield
        other.execute("ROLLBACK")
    other.close()


def shapes(event: Build, size: int) -> Iterator[dict[str, Any]]:
    """Events that are large in one way each, `size` of it."""
    same = [{**INPUT, "facets": {"version": {"datasetVersion": str(number)}}} for number in range(size)]
    named = {"identifiers": [{"namespace": "hive", "name": f"t{number}"} for number in range(size)]}
    yield event("COMPLETE", AT, outputs=tables(size))
    yield event("COMPLETE", AT, inputs=tables(size))
    yield event("COMPLETE", AT, inputs=tables(size), outputs=tables(size))
    yield event("COMPLETE", AT, inputs=tuple(same), outputs=tuple(same))
    yield event("COMPLETE", AT, outputs=tables(1, columnLineage=columns(size)))
    yield event("COMPLETE", AT, outputs=tables(1, symlinks=named))
    yield {"job": {"namespace": "n", "name": "j"}, "eventTime": AT, "outputs": list(tables(size))}


@pytest.mark.parametrize("shape", range(7))
def test_an_event_takes_as_many_statements_whatever_its_size(
    backend: Any, http: httpx.Client, event: Build, shape: int
) -> None:
    """Eight times the datasets, versions, columns or names are written by no more statements, but for those in parts of 400."""
    counts: list[int] = []

    def count(*_: Any) -> None:
        counts[-1] += 1

    sa.event.listen(backend.engine, "before_cursor_execute", count)
    for size in (100, 800):
        for body in (
            list(shapes(event, size))[shape],
            {**list(shapes(event, size))[shape], "eventTime": "2026-01-02T00:00:00Z"},
        ):
            counts.append(0)
            assert http.post("/api/v1/lineage", json=body).status_code == 201
    few_new, few_known, many_new, many_known = counts
    assert max(many_new, many_known) <= max(few_new, few_known) + 8 and max(few_new, few_known) < 60


@DATABASES
def test_what_is_too_large_is_refused_with_the_setting_that_allows_it(
    stopped: Any, settings: LineageSettings, event: Build
) -> None:
    """More bytes or members than the settings allow are a 413 in words, nothing is stored, and the next event is taken."""
    stopped.settings = replace(settings, max_event_bytes=20_000, max_event_members=500)
    stopped.start()
    with httpx.Client(base_url=settings.url, trust_env=False) as http:
        for body, word in (
            (event("START", AT, facets={"a": {"text": "x" * 20_000}}), "MAX_EVENT_BYTES"),
            (event("START", AT, facets={"a": {"text": "x" * 2_000_000}}), "MAX_EVENT_BYTES"),
            (event("START", AT, facets={"a": {"list": [1] * 500}}), "MAX_EVENT_MEMBERS"),
        ):
            answer = http.post("/api/v1/lineage", json=body)
            assert answer.status_code == 413 and word in answer.json()["message"]
        assert http.get("/api/v1/events/lineage").json()["totalCount"] == 0
        assert http.post("/api/v1/lineage", json=event("START", AT)).status_code == 201


def test_an_event_that_is_too_large_is_set_aside_by_the_outbox(
    stopped: Any, settings: LineageSettings, event: Build
) -> None:
    """The sender keeps the event with the reason, and delivers what follows it."""
    stopped.settings = replace(settings, max_event_bytes=20_000)
    stopped.start()
    outbox = Outbox.open(settings)
    outbox.put(json.dumps(event("START", AT, facets={"a": {"text": "x" * 500_000}})))
    outbox.put(json.dumps(event("COMPLETE", AT)))
    assert outbox.flush().delivered == 1
    assert "20,000 bytes" in outbox.rejected()[0].with_suffix(".reason").read_text()


def test_readers_are_answered_while_many_writers_wait(settings: LineageSettings, backend: Any, event: Build) -> None:
    """However many events wait for the database, a call that only reads is answered, and in the end every event is stored."""
    instants = [f"2026-01-01T00:00:{second:02d}Z" for second in range(20)]

    def post(at: str) -> int:
        return httpx.post(
            f"{settings.url}/api/v1/lineage", json=event("RUNNING", at), timeout=60, trust_env=False
        ).status_code

    with ThreadPoolExecutor(20) as senders:
        with writer_lock(settings):
            waiting = [senders.submit(post, at) for at in instants]
            with httpx.Client(base_url=settings.url, trust_env=False, timeout=20) as http:
                for path in ("/healthcheck", "/api/v1/jobs", "/api/v1/events/lineage"):
                    assert http.get(path).status_code == 200
            assert not any(each.done() for each in waiting)
        assert [each.result() for each in waiting] == [201] * 20
    with httpx.Client(base_url=settings.url, trust_env=False) as http:
        assert http.get("/api/v1/events/lineage").json()["totalCount"] == 20


def test_sigterm_ends_the_server_while_an_event_is_being_taken(
    settings: LineageSettings, python: Python, event: Build
) -> None:
    """A server that cannot finish an event ends within its limit; the event is not half stored, and is taken when sent again."""
    body = event("COMPLETE", AT, outputs=tables(50))
    for taken in (False, True):
        process = python("-m", "pedigree.lineage.server")
        with httpx.Client(base_url=settings.url, transport=httpx.HTTPTransport(retries=10), timeout=60) as http:
            assert http.get("/healthcheck").status_code == 200
            if taken:
                assert http.get("/api/v1/events/lineage").json()["totalCount"] == 0
                assert http.post("/api/v1/lineage", json=body).status_code == 201
                assert http.get("/api/v1/namespaces/file/datasets").json()["totalCount"] == 50
                process.terminate()
            else:
                end_while_it_waits(settings, process, body)
        assert process.wait(30) == 0, process.communicate()
    assert "Nothing of it is stored" not in process.communicate()[1]


def end_while_it_waits(settings: LineageSettings, process: subprocess.Popen[str], body: dict[str, Any]) -> None:
    """Terminate a server whose event waits for the database."""
    with writer_lock(settings), ThreadPoolExecutor(1) as sender:
        sent = sender.submit(httpx.post, f"{settings.url}/api/v1/lineage", json=body, timeout=60, trust_env=False)
        assert httpx.get(f"{settings.url}/healthcheck", trust_env=False).status_code == 200
        process.terminate()
        assert process.wait(25) == 0, process.communicate()  # SQLite itself would wait for 30 seconds
        answer = sent.result()
        assert answer.status_code == 503 and "Send it again" in answer.json()["message"]


@pytest.mark.parametrize(
    "body",
    [
        "[" + "[]," * 600 + "1]",
        "[" + "[[[[1]]]]," * 150 + "1]",
        '{"a": [' + '"\\",",' * 600 + "1]}",
        '"' + '\\"' * 5_000,
    ],
    ids=["lists", "lists in lists", "texts", "no end"],
)
def test_members_are_counted_however_they_are_written(stopped: Any, settings: LineageSettings, body: str) -> None:
    """Many small members are refused as many; commas and brackets in texts are no members."""
    stopped.settings = replace(settings, max_event_members=500)
    stopped.start()
    with httpx.Client(base_url=settings.url, trust_env=False) as http:
        assert http.post("/api/v1/lineage", content=body).status_code == (400 if body.startswith('"') else 413)
        texts = {"job": {"namespace": "n", "name": "[,{" * 300}, "eventTime": AT}
        assert http.post("/api/v1/lineage", json=texts).status_code == 201


@DATABASES
def test_a_database_of_an_earlier_release_gets_its_index(stopped: Any, settings: LineageSettings) -> None:
    """Opening a database that lacks an index makes it; several backends may do so at once."""
    stopped.start()
    with stopped.engine.execution_options(writes=True).begin() as connection:
        connection.execute(sa.text("DROP INDEX ix_run_io_version"))
    with ThreadPoolExecutor(4) as starters:
        engines = list(starters.map(open_database, [settings.database.get_secret_value()] * 4))
    for engine in engines:
        assert "ix_run_io_version" in {index["name"] for index in sa.inspect(engine).get_indexes("run_io")}
        engine.dispose()


def test_limits_that_are_no_numbers_are_refused_at_the_start(settings: LineageSettings) -> None:
    """A server with limits that cannot be used names both and does not start."""
    limits = {"PEDIGREE_LINEAGE_MAX_EVENT_BYTES": "8MB", "PEDIGREE_LINEAGE_MAX_EVENT_MEMBERS": "0"}
    command = [sys.executable, "-m", "pedigree.lineage.server"]
    done = subprocess.run(command, env={**os.environ, **limits}, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    for name, value in limits.items():
        assert f"{name}='{value}' is not a whole number above zero" in done.stderr


@pytest.mark.slow
@DATABASES
def test_an_event_with_as_many_datasets_as_are_taken_is_shown_by_every_endpoint(
    settings: LineageSettings, http: httpx.Client, event: Build
) -> None:
    """20,000 outputs are taken, and each endpoint that shows them shows all of them."""
    http.timeout = httpx.Timeout(300)
    count = 20_000
    assert (
        http.post("/api/v1/lineage", json=event("COMPLETE", AT, inputs=(INPUT,), outputs=tables(count))).status_code
        == 201
    )
    job = http.get("/api/v1/namespaces/pedigree/jobs/build.trips").json()
    assert len(job["outputs"]) == len(job["latestRun"]["outputDatasetVersions"]) == count
    assert http.get("/api/v1/namespaces/file/datasets?limit=1000000").json()["totalCount"] == count + 1
    assert len(http.get("/api/v1/namespaces/file/datasets?limit=1000000").json()["datasets"]) == count + 1
    assert len(http.get(f"/api/v1/lineage?nodeId={part('dataset:file:/in')}").json()["graph"]) == count + 2
    versions = http.get("/api/v1/namespaces/pedigree/jobs/build.trips/versions").json()["versions"]
    assert len(versions[0]["outputs"]) == count
    assert len(http.get("/api/v1/search?q=/out/&limit=1000000").json()["results"]) == count
