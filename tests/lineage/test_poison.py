"""Events that no database can take, and events that look as if: refused with the reason, or kept and shown, alike everywhere."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import httpx
import pytest
import sqlalchemy as sa
from pydantic import SecretStr

from pedigree.lineage.delivery.outbox import Outbox
from pedigree.lineage.settings import LineageSettings

from .conftest import DATABASES
from .everything import get, part, read_everything

Build = Callable[..., dict[str, Any]]
AT = "2026-01-01T00:00:00Z"
RUN = "01890000-0000-7000-8000-000000000001"
TRIPS, DELAYS = {"namespace": "file", "name": "/trips"}, {"namespace": "file", "name": "/delays"}


def with_facets(dataset: dict[str, Any], **facets: Any) -> dict[str, Any]:
    """A dataset of an event, with facets."""
    return {**dataset, "facets": facets}


def made_of(column: str, **origin: Any) -> dict[str, Any]:
    """A columnLineage facet of one column with one origin."""
    return {"fields": {column: {"inputFields": [{**TRIPS, "field": "id", **origin}]}}}


def nested(levels: int) -> Any:
    """A list in a list, so many levels deep."""
    found: Any = 1
    for _ in range(levels):
        found = [found]
    return found


LONG = "ü" * 513
POISON: dict[str, tuple[Callable[[Build], dict[str, Any]], int, str]] = {
    "NUL": (lambda e: e("FAIL", AT, facets={"errorMessage": {"message": "a\0b"}}), 400, r"NUL \(U\+0000\)"),
    "NUL in a facet's name": (lambda e: e("START", AT, facets={"a\0b": {}}), 400, "NUL"),
    "lone surrogate": (lambda e: e("START", AT, inputs=({**TRIPS, "name": "/\udcff"},)), 400, "surrogate"),
    "NaN": (lambda e: e("START", AT, facets={"score": {"n": float("nan")}}), 400, "NaN is no JSON number"),
    "infinity": (lambda e: e("START", AT, facets={"score": {"n": float("-inf")}}), 400, "-Infinity is no JSON number"),
    "70 bits": (lambda e: e("START", AT, facets={"score": {"n": 2**70}}), 400, "64 bits"),
    "5,000 digits": (lambda e: e("START", AT, facets={"score": {"n": 10**4000}}), 400, "64 bits"),
    "deep": (lambda e: e("START", AT, facets={"score": {"n": nested(200)}}), 400, "levels deep"),
    "year 1 with an offset": (lambda e: e("START", "0001-01-01T00:00:00+01:00"), 422, "eventTime is '0001"),
    "year 9999 with an offset": (lambda e: e("START", "9999-12-31T23:59:59-01:00"), 422, "eventTime is '9999"),
    "time is a number": (lambda e: {**e("START", AT), "eventTime": 5}, 422, "eventTime is '5'"),
    "type is an object": (lambda e: {**e("START", AT), "eventType": {"a": 1}}, 422, "eventType is"),
    "name is no text": (lambda e: e("START", AT, job=7), 422, "job.name is missing"),
    "namespace is a list": (lambda e: e("START", AT, inputs=({**TRIPS, "namespace": ["a"]},)), 422, "namespace"),
    "long job": (lambda e: e("START", AT, job=LONG), 422, "the name of job has 1,026 bytes"),
    "long dataset": (lambda e: e("START", AT, outputs=({**TRIPS, "name": LONG},)), 422, "the name of outputs"),
    "long parent": (
        lambda e: e("START", AT, facets={"parent": {"job": {"namespace": "n", "name": LONG}}}),
        422,
        "parent job",
    ),
    "long symlink": (
        lambda e: e(
            "START", AT, inputs=(with_facets(TRIPS, symlinks={"identifiers": [{"namespace": LONG, "name": "a"}]}),)
        ),
        422,
        "symlink",
    ),
    "long source": (
        lambda e: e("START", AT, inputs=(with_facets(TRIPS, dataSource={"name": LONG}),)),
        422,
        "dataSource",
    ),
    "long version": (
        lambda e: e("START", AT, inputs=(with_facets(TRIPS, version={"datasetVersion": LONG}),)),
        422,
        "datasetVersion",
    ),
    "long column": (
        lambda e: e("START", AT, outputs=(with_facets(TRIPS, columnLineage=made_of(LONG)),)),
        422,
        "a column of outputs",
    ),
    "long origin": (
        lambda e: e("START", AT, outputs=(with_facets(TRIPS, columnLineage=made_of("a", field=LONG)),)),
        422,
        "is made of",
    ),
}


@DATABASES
def test_what_no_database_can_take_is_refused_with_the_reason(http: httpx.Client, event: Build) -> None:
    """Each poison is a 4xx that names it, nothing of it is stored, and the next event is taken."""
    for name, (poison, status, reason) in POISON.items():
        answer = http.post("/api/v1/lineage", content=json.dumps(poison(event)).encode())
        assert (answer.status_code, answer.json()["code"]) == (status, status), (name, answer.text)
        with pytest.raises(AssertionError, match=reason):
            raise AssertionError(answer.json()["message"])
    assert http.get("/api/v1/events/lineage").json() == {"events": [], "totalCount": 0}
    assert http.post("/api/v1/lineage", json=event("START", AT)).status_code == 201


@DATABASES
@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (b'{"a": 1, "a": 2}', "'a' stands twice"),
        (b'{"a": "\xff"}', "not UTF-8 at byte 7"),
        ('{"a": 1}'.encode("utf-16"), "not UTF-8"),
        (b'{"a": 1e999}', "too large"),
        (b"[" * 100_000, "levels deep"),
        (b"", "not a JSON object"),
        (b'"text"', "not a JSON object"),
    ],
    ids=["twice", "bytes", "utf-16", "1e999", "100,000 levels", "empty", "text"],
)
def test_bytes_that_are_no_strict_json_are_refused(http: httpx.Client, body: bytes, reason: str) -> None:
    """What two readers would read differently, or not at all, is a 400 that says why."""
    answer = http.post("/api/v1/lineage", content=body)
    assert answer.status_code == 400 and reason in answer.json()["message"]


ODD: dict[str, Callable[[Build], dict[str, Any]]] = {
    "symlink without text": lambda e: e(
        "COMPLETE",
        AT,
        outputs=(with_facets(DELAYS, symlinks={"identifiers": [{"namespace": {"a": 1}, "name": 5}, {"name": ""}]}),),
    ),
    "kinds that are no text": lambda e: e(
        "COMPLETE",
        AT,
        outputs=(
            with_facets(
                DELAYS,
                columnLineage={
                    "fields": {
                        "a": {
                            "inputFields": [
                                {**TRIPS, "field": "id", "transformations": [{"type": [1], "description": {}}]}
                            ],
                            "transformationType": {"x": 1},
                            "transformationDescription": [2],
                        }
                    }
                },
            ),
        ),
    ),
    "one version read and written": lambda e: e(
        "COMPLETE",
        AT,
        inputs=(with_facets(DELAYS, version={"datasetVersion": "5"}),),
        outputs=(with_facets(DELAYS, version={"datasetVersion": "5"}),),
    ),
    "one dataset many times": lambda e: e("COMPLETE", AT, inputs=(TRIPS,) * 5, outputs=(TRIPS, DELAYS) * 5),
    "longest names": lambda e: e(
        "COMPLETE",
        AT,
        outputs=(
            with_facets({"namespace": "ü" * 512, "name": "ä" * 512}, columnLineage=made_of("ö" * 512, field="é" * 512)),
        ),
    ),
    "incompressible names": lambda e: e(
        "COMPLETE",
        AT,
        job="".join(chr(0x4E00 + n * 37 % 20_000) for n in range(341)),
        outputs=({"namespace": "".join(chr(0x4E00 + n * 41 % 20_000) for n in range(341)), "name": "x"},),
    ),
    "numbers at the limit": lambda e: e(
        "COMPLETE", AT, facets={"n": {"a": 2**63 - 1, "b": -(2**63), "c": 1e308, "d": -5e-324}}
    ),
    "escapes": lambda e: e("COMPLETE", AT, facets={"n": {"a": "\\u0000 \\udcff %00 \x7f \ufffe 😀"}}),
    "as deep as is taken": lambda e: e("COMPLETE", AT, facets={"n": {"a": nested(96)}}),
    "first and last instant": lambda e: e("COMPLETE", "9999-12-31T23:59:59.999999Z", facets={"n": {}}),
}


@DATABASES
@pytest.mark.parametrize("odd", ODD)
def test_what_is_odd_but_possible_is_kept_and_shown_by_every_endpoint(
    http: httpx.Client, event: Build, odd: str
) -> None:
    """An event that is answered 201 is in the log as it came, and its job, run and datasets are shown wherever they belong."""
    body = ODD[odd](event)
    answer = http.post("/api/v1/lineage", json=body)
    assert answer.status_code == 201, answer.text
    seen = read_everything(http)
    assert seen.events == [body]
    assert seen.jobs.keys() == {("pedigree", body["job"]["name"])} and seen.runs.keys() == {RUN}
    assert seen.runs[RUN]["facets"] == body["run"]["facets"]
    assert {(each["namespace"], each["name"]) for each in (*body["inputs"], *body["outputs"])} <= seen.datasets.keys()
    assert http.post("/api/v1/lineage", json=event("FAIL", "2026-01-01T00:00:01Z", inputs=(TRIPS,))).status_code == 201


@DATABASES
@pytest.mark.parametrize(
    ("method", "path", "body", "status"),
    [
        ("GET", "/api/v1/search?q=a%00b", None, 400),
        ("GET", f"/api/v1/search?q={'a' * 9000}", None, 400),
        ("GET", "/api/v1/namespaces/a%00b", None, 400),
        ("GET", "/api/v1/namespaces/%ff", None, 400),
        ("GET", f"/api/v1/jobs?limit={'9' * 5000}", None, 200),
        ("GET", "/api/v1/jobs?lastRunStates=%00", None, 400),
        ("GET", "/api/v1/events?before=0001-01-01T00:00:00%2B01:00", None, 400),
        ("GET", f"/api/v1/stats/jobs?period=WEEK&timezone={'a' * 5000}", None, 400),
        ("GET", "/api/v1/stats/jobs?period=WEEK&timezone=Europe", None, 400),
        ("PUT", "/api/v1/namespaces/a", {"ownerName": "a", "description": {"b": 1}}, 400),
        ("PUT", "/api/v1/namespaces/a", {"ownerName": "a\0"}, 400),
        ("PUT", f"/api/v1/namespaces/{'a' * 1025}", {"ownerName": "a"}, 400),
        ("PUT", f"/api/v1/tags/{'a' * 1025}", {}, 400),
        ("PUT", "/api/v1/tags/a", {"description": [1]}, 400),
        ("PUT", "/api/v1/sources/a", {"type": "x", "connectionUrl": "y", "description": 5}, 400),
    ],
)
def test_the_other_endpoints_refuse_what_no_database_can_take(
    http: httpx.Client, method: str, path: str, body: Any, status: int
) -> None:
    """NUL, texts longer than any name, instants out of range and values of the wrong type are no 5xx anywhere."""
    answer = http.request(method, path, json=body)
    assert answer.status_code == status, answer.text


TABLES = {
    "runs": ["facets"],
    "jobs": ["facets"],
    "dataset_versions": ["facets"],
    "run_io": ["facets"],
    "column_edges": ["transformations"],
    "events": ["body"],
}


@pytest.mark.parametrize(
    "stored",
    [
        '{"a": {"n": NaN, "i": -Infinity}}',
        '{"a": {"path": "/\\udcff", "n": "\\u0000"}}',
        f'{{"a": {"[" * 900 + "]" * 900}}}',
        "{",
    ],
    ids=["NaN", "surrogate", "deep", "half a document"],
)
def test_what_an_earlier_release_stored_breaks_no_listing(
    http: httpx.Client, backend: Any, event: Build, stored: str
) -> None:
    """JSON in the database that is not strict is shown by every endpoint, with its odd values as text."""
    output = with_facets(DELAYS, columnLineage=made_of("a"), schema={"fields": [{"name": "a"}]})
    http.post("/api/v1/lineage", json=event("COMPLETE", AT, inputs=(TRIPS,), outputs=(output,)))
    engine = sa.create_engine(backend.settings.database.get_secret_value())
    with engine.begin() as connection:
        for table, columns in TABLES.items():
            for column in columns:
                value = f"[{stored}]" if column == "transformations" else stored
                connection.execute(sa.text(f"UPDATE {table} SET {column} = :value"), {"value": value})
    engine.dispose()
    seen = read_everything(http)
    assert seen.jobs.keys() == {("pedigree", "build.trips")} and len(seen.events) == 1
    shown = {"NaN": {"n": "NaN", "i": "-Infinity"}, "udcff": {"path": "/\\udcff", "n": "\\x00"}}
    for mark, facet in shown.items():
        if mark in stored:
            assert seen.runs[RUN]["facets"] == {"a": facet} and seen.events == [{"a": facet}]
    later = event("FAIL", "2026-01-01T00:00:01Z", run=RUN[:-1] + "2", inputs=(TRIPS,), outputs=(output,))
    assert http.post("/api/v1/lineage", json=later).status_code == 201
    path = f"/api/v1/namespaces/file/datasets/{part('/delays')}"
    assert get(http, path)["name"] == "/delays"


@pytest.mark.parametrize("database_kind", ["postgresql"])
def test_what_the_database_itself_refuses_is_no_5xx(http: httpx.Client, backend: Any, event: Build) -> None:
    """An error of the database that speaks of the data is a 422 with its reason, nothing is stored, and reading goes on."""
    engine = sa.create_engine(backend.settings.database.get_secret_value())
    with engine.begin() as connection:
        connection.execute(sa.text("ALTER TABLE events ALTER COLUMN event_type TYPE varchar(5)"))
    answer = http.post("/api/v1/lineage", json=event("COMPLETE", AT))
    assert answer.status_code == 422 and "value too long for type character varying(5)" in answer.json()["message"]
    assert http.post("/api/v1/lineage", json=event("START", AT)).status_code == 201
    assert len(read_everything(http).events) == 1
    engine.dispose()


@pytest.mark.parametrize("database_kind", ["postgresql"])
def test_a_database_that_does_not_answer_in_time_is_a_503(
    settings: LineageSettings, stopped: Any, event: Build
) -> None:
    """An outage of the database lets the outbox keep the event, and costs nothing."""
    impatient = sa.make_url(settings.database.get_secret_value())
    options = f"{impatient.query['options']} -clock_timeout=100ms"
    url = impatient.update_query_dict({"options": options}).render_as_string(hide_password=False)
    stopped.settings = replace(settings, database=SecretStr(url))
    stopped.start()
    outbox = Outbox.open(settings)
    outbox.put(json.dumps(event("START", AT)))
    engine = sa.create_engine(settings.database.get_secret_value())
    with engine.begin() as connection:
        connection.execute(sa.text("SELECT pg_advisory_xact_lock(7033)"))
        done = outbox.flush()
        assert (done.waiting, done.rejected, done.parked) == (1, 0, 0) and "answered 503" in done.reason
    engine.dispose()
    assert outbox.flush().delivered == 1
