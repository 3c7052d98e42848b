"""Whatever a job says of its run, its events can be kept by every database and are read back."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
import pytest

from pedigree.lineage.client.client import LineageClient
from pedigree.lineage.dataset import Assertion, Dataset, Field
from pedigree.lineage.delivery.outbox import Outbox
from pedigree.lineage.naming import at_path
from pedigree.lineage.recorder import MOST_CHARACTERS, Recorder
from pedigree.lineage.settings import LineageSettings

from .conftest import DATABASES
from .everything import read_everything

BYTES = os.fsdecode(b"/landing/caf\xe9\0.csv")
ESCAPED = "/landing/caf\\udce9\\x00.csv"


class Mute:
    """An object without a text."""

    def __str__(self) -> str:
        raise OSError("no text today")


def circle() -> list[Any]:
    """A list that holds itself."""
    found: list[Any] = []
    found.append(found)
    return found


def innermost(value: Any) -> Any:
    """What the innermost list of lists holds."""
    while isinstance(value, list):
        (value,) = value
    return value


@DATABASES
@pytest.mark.parametrize(
    ("said", "kept"),
    [
        (float("nan"), "NaN"),
        ([float("inf"), -float("inf"), 0.5, -0.0], ["Infinity", "-Infinity", 0.5, 0.0]),
        ({"big": 2**70, "edge": 2**63 - 1}, {"big": hex(2**70), "edge": 2**63 - 1}),
        (BYTES, ESCAPED),
        ({BYTES: {1: "one", ("a", 2): "two", None: 3}}, {ESCAPED: {"1": "one", "('a', 2)": "two", "None": 3}}),
        (datetime(2026, 1, 1, tzinfo=UTC), "2026-01-01 00:00:00+00:00"),
        (Path("/a"), "/a"),
        (Mute(), "(Mute, whose text cannot be had: OSError)"),
        ({"a": {1}, "b": b"\xff"}, {"a": [1], "b": "b'\\xff'"}),
        ("😀 \\u0000 \ufffe", "😀 \\u0000 \ufffe"),
    ],
    ids=["nan", "infinity", "integers", "bytes", "names", "instant", "path", "mute", "set", "unicode"],
)
def test_a_note_of_any_kind_is_kept_and_shown(
    settings: LineageSettings, client: LineageClient, http: httpx.Client, said: Any, kept: Any
) -> None:
    """What JSON or a database does not have is noted as text, and every endpoint shows the run."""
    with Recorder.open(settings) as recorder, recorder.run("build", "trips") as run:
        run.note("score", {"value": said})
    assert client.run(run.id).notes["score"] == {"value": kept}
    assert read_everything(http).runs[run.id]["state"] == "COMPLETED"


@DATABASES
@pytest.mark.parametrize("make", [circle, lambda: json.loads("[" * 900 + "]" * 900)], ids=["circle", "deep"])
def test_a_note_that_never_ends_is_cut_off(
    settings: LineageSettings, client: LineageClient, make: Callable[[], Any]
) -> None:
    """What is nested without end is kept as far as a database takes it, with a remark."""
    with Recorder.open(settings) as recorder, recorder.run("build", "trips") as run:
        run.note("score", {"value": make()})
    assert innermost(client.run(run.id).notes["score"]["value"]) == "(list, nested too deeply to be kept)"


@DATABASES
def test_a_dataset_whose_path_is_not_utf_8_is_recorded(settings: LineageSettings, client: LineageClient) -> None:
    """Bytes of a file's name that are no text are shown escaped, in names, columns, versions and verdicts alike."""
    name = at_path(BYTES)
    with Recorder.open(settings) as recorder, recorder.run("build", "trips") as run:
        verdict = Assertion(BYTES, False, BYTES, 3, BYTES)
        run.writes(Dataset(name, (Field(BYTES, "INT", BYTES),), BYTES, assertions=(verdict,), description=BYTES))
    found = client.current_version(at_path(ESCAPED))
    assert (found.run_id, found.version, found.fields) == (run.id, ESCAPED, (Field(ESCAPED, "INT", ESCAPED),))
    assert found.assertions == (Assertion(ESCAPED, False, ESCAPED, 3, ESCAPED),)


class MumError(Exception):
    """An error whose message cannot be had."""

    def __str__(self) -> str:
        raise ValueError("no message")


@DATABASES
@pytest.mark.parametrize(
    ("error", "kept"),
    [
        (ValueError("a\0b"), "a\\x00b"),
        (ValueError(f"no such file {BYTES}"), f"no such file {ESCAPED}"),
        (MumError(), "(MumError, whose text cannot be had: ValueError)"),
    ],
    ids=["NUL", "bytes", "mum"],
)
def test_a_failure_is_recorded_whatever_its_message(
    settings: LineageSettings, client: LineageClient, error: Exception, kept: str
) -> None:
    """An exception's message and trace reach the backend with NUL and halves of surrogate pairs escaped."""
    with (
        Recorder.open(settings) as recorder,
        pytest.raises(type(error)),
        recorder.run("build", "trips") as run,
    ):
        raise error
    found = client.run(run.id)
    assert (found.state, found.error) == ("FAILED", kept)
    assert found.trace is not None and "raise error" in found.trace
    assert Outbox.open(settings).rejected() == []


def test_a_very_long_message_is_kept_without_its_middle(settings: LineageSettings, client: LineageClient) -> None:
    """A failure is not refused for the length of its message: beginning and end are kept."""
    message = "begin" + "x" * 20_000_000 + "end"
    with (
        Recorder.open(settings) as recorder,
        pytest.raises(ValueError, match="begin"),
        recorder.run("build", "trips") as run,
    ):
        raise ValueError(message)
    found = client.run(run.id).error or ""
    assert found.startswith("begin") and found.endswith("end") and len(found) < MOST_CHARACTERS + 100
    assert "characters are left out" in found


@pytest.mark.parametrize(
    "facets",
    [
        {"nominalTime": {"nominalStartTime": "soon", "nominalEndTime": 5}},
        {"errorMessage": {"message": {"a": 1}, "stackTrace": 7}},
        {"pedigree_io": {"inputs": [1, {"namespace": "n"}], "outputs": "none"}},
        {"pedigree_score": [1, 2]},
        {"pedigree_io": []},
    ],
    ids=["nominal time", "error", "io", "note", "list"],
)
def test_a_run_with_facets_of_strange_shapes_is_read(
    http: httpx.Client, client: LineageClient, event: Callable[..., dict[str, Any]], facets: dict[str, Any]
) -> None:
    """What an agent said in a shape that nobody expects is left out; the rest of its run is read."""
    assertions = {
        "assertions": [1, {"assertion": "a"}, {"success": True}, {"assertion": "b", "success": False, "params": 3}]
    }
    strange = {"dataQualityAssertions": assertions, "schema": {"fields": [{"name": "a", "type": 5}]}, "version": {}}
    output = {
        "namespace": "file",
        "name": "/t",
        "facets": strange,
        "outputFacets": {"outputStatistics": {"rowCount": "x"}},
    }
    body = event("COMPLETE", "2026-01-01T00:00:00Z", outputs=(output,), facets=facets)
    assert http.post("/api/v1/lineage", json=body).status_code == 201
    found = client.run(body["run"]["runId"])
    assert (found.state, [ref.name for ref in found.outputs], dict(found.rows)) == ("COMPLETED", [at_path("/t")], {})
    assert client.current_version(at_path("/t")).assertions == (Assertion("b", False),)
    assert client.job("build.trips").outputs == (at_path("/t"),)
