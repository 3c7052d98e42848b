"""What a poisonous event, an outage and a littered outbox do to the events of others: nothing."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest

from pedigree.lineage.delivery.delivery_attempts import MOST_ATTEMPTS
from pedigree.lineage.delivery.outbox import Outbox
from pedigree.lineage.recorder import Recorder
from pedigree.lineage.settings import LineageSettings

from ..distributions import ROOT

Build = Callable[..., dict[str, Any]]
Python = Callable[..., subprocess.Popen[str]]
PEDIGREE = "from pedigree.cli.main import main; main()"


def run_id(number: int) -> str:
    """The id of a run."""
    return f"01890000-0000-7000-8000-{number:012d}"


def put(outbox: Outbox, event: Build, run: int, second: int, *, mark: str = "") -> Path:
    """Keep an event of a run."""
    at = f"2026-01-01T00:{second // 60:02d}:{second % 60:02d}Z"
    return outbox.put(json.dumps(event("RUNNING", at, run=run_id(run), facets={"mark": {"is": mark}})))


def stored(settings: LineageSettings) -> dict[str, list[str]]:
    """The instants of the events that the backend has, by run, in the order in which it took them."""
    found: dict[str, list[str]] = {}
    with httpx.Client(base_url=settings.url, trust_env=False) as http:
        for each in http.get("/api/v1/events?sortDirection=asc&limit=10000").json()["events"]:
            found.setdefault(each["run"]["runId"], []).append(each["eventTime"])
    return found


@pytest.mark.parametrize("fault", ["500", "503", "dropped"])
def test_an_event_that_the_backend_always_fails_on_is_parked_with_its_run_and_others_go_on(
    settings: LineageSettings, backend: Any, event: Build, fault: Any, caplog: pytest.LogCaptureFixture
) -> None:
    """Other runs are delivered at once; after some tries the poison and what follows it in its run are set aside, aloud."""
    backend.door.fault, backend.door.mark = fault, b"poison"
    outbox = Outbox.open(settings)
    poison = put(outbox, event, 1, 0, mark="poison")
    follower = put(outbox, event, 1, 1)
    for second in range(MOST_ATTEMPTS):
        assert outbox.parked() == []
        put(outbox, event, 2, second)
        done = outbox.flush()
        assert (done.delivered, done.waiting, done.held) == (1, 2, 1) and "but not those of 1 runs" in done.reason
    put(outbox, event, 2, 59)
    done = outbox.flush()
    assert (done.delivered, done.parked, done.waiting, done.reason) == (1, 2, 0, "")
    assert [path.name for path in outbox.parked()] == [poison.name, follower.name]
    assert f"{MOST_ATTEMPTS} times" in outbox.parked()[0].with_suffix(".reason").read_text()
    assert poison.name in outbox.parked()[1].with_suffix(".reason").read_text()
    assert "pedigree lineage replay" in caplog.text
    late = put(outbox, event, 1, 2)
    assert outbox.flush().parked == 1 and outbox.parked()[-1].name == late.name
    assert stored(settings).keys() == {run_id(2)}


def test_parked_events_are_sent_again_in_the_order_of_their_run(
    settings: LineageSettings, backend: Any, event: Build
) -> None:
    """Once the backend is mended, what was parked arrives as it was emitted, and the run is no longer held."""
    backend.door.fault, backend.door.mark = "500", b"poison"
    outbox = Outbox.open(settings)
    put(outbox, event, 1, 0, mark="poison")
    for second in range(1, MOST_ATTEMPTS + 2):
        put(outbox, event, 1, second)
        put(outbox, event, 2, second)
        outbox.flush()
    assert len(outbox.parked()) == MOST_ATTEMPTS + 2
    backend.door.fault = None
    assert outbox.requeue() == MOST_ATTEMPTS + 2
    put(outbox, event, 1, 59)
    assert outbox.flush().waiting == 0 and outbox.parked() == []
    times = stored(settings)[run_id(1)]
    assert len(times) == MOST_ATTEMPTS + 3 and times == sorted(times)
    assert outbox.failing().failed == {}


@pytest.mark.parametrize("fault", ["500", "503", "dropped", None])
def test_an_outage_parks_nothing_however_long_it_lasts(
    settings: LineageSettings, stopped: Any, event: Build, fault: Any
) -> None:
    """A backend that fails on everything, or cannot be reached, costs no event: all wait, and arrive in order."""
    stopped.door.fault = fault
    if fault:
        stopped.start()
    outbox = Outbox.open(settings)
    for second in range(5):
        for run in range(6):
            put(outbox, event, run, second)
    for _ in range(3 * MOST_ATTEMPTS):
        done = outbox.flush()
        assert (done.delivered, done.parked, done.rejected, done.waiting) == (0, 0, 0, 30) and done.reason
    assert all(each.count == 0 for each in outbox.failing().failed.values())
    stopped.door.fault = None
    if not fault:
        stopped.start()
    done = outbox.flush()
    assert (done.delivered, done.waiting, done.reason) == (30, 0, "")
    assert [times == sorted(times) and len(times) for times in stored(settings).values()] == [5] * 6


def test_many_poisonous_runs_before_it_do_not_keep_a_run_waiting(
    settings: LineageSettings, backend: Any, event: Build
) -> None:
    """As many poisonous runs as look like an outage let the others through, and all of them are parked in the end."""
    backend.door.fault, backend.door.mark = "500", b"poison"
    outbox = Outbox.open(settings)
    for run in range(10, 17):
        put(outbox, event, run, 0, mark="poison")
    for second in range(60):
        put(outbox, event, 2, second)
        outbox.flush()
    assert len(stored(settings)[run_id(2)]) == 60
    assert len(outbox.parked()) == 7 and outbox.waiting() == 0


def test_an_event_that_fails_now_and_then_is_delivered(settings: LineageSettings, backend: Any, event: Build) -> None:
    """A failure that passes leaves no trace once the event has been taken."""
    backend.door.fault, backend.door.mark = "500", b"poison"
    outbox = Outbox.open(settings)
    put(outbox, event, 1, 0, mark="poison")
    for second in range(MOST_ATTEMPTS - 1):
        put(outbox, event, 2, second)
        outbox.flush()
    backend.door.fault = None
    assert outbox.flush().delivered == 1 and outbox.failing().failed == {}
    assert stored(settings)[run_id(1)] == ["2026-01-01T00:00:00Z"]


def test_a_job_is_recorded_while_another_runs_event_is_poison(
    settings: LineageSettings, backend: Any, event: Build
) -> None:
    """The background delivery of a job passes a poisonous event of somebody else by."""
    backend.door.fault, backend.door.mark = "500", b"poison"
    outbox = Outbox.open(settings)
    put(outbox, event, 1, 0, mark="poison")
    with Recorder.open(settings) as recorder, recorder.run("build", "trips") as run:
        pass
    assert len(stored(settings)[run.id]) == 2 and outbox.waiting() == 1


def litter(outbox: Outbox, good: str) -> list[str]:
    """Put into an outbox what is no event; returns the names."""
    names = [f"{number:020d}-00000001-00000000.json" for number in range(7)]
    folder, full, dangling, loop, pipe, half, empty = (outbox.folder / name for name in names)
    folder.mkdir()
    full.mkdir()
    (full / "a").write_text("a")
    dangling.symlink_to(outbox.folder / "nothing")
    loop.symlink_to(loop)
    os.mkfifo(pipe)
    half.write_text(good[: len(good) // 2])
    empty.touch()
    return names


def test_litter_in_the_outbox_is_no_obstacle_and_is_kept(settings: LineageSettings, backend: Any, event: Build) -> None:
    """Folders, links to nothing and to themselves, pipes, half and empty files are set aside with a reason; events go on."""
    outbox = Outbox.open(settings)
    names = litter(outbox, json.dumps(event("START", "2026-01-01T00:00:00Z")))
    (outbox.folder / ".00000000000000000001-1-1.json.partial").write_text("{")
    put(outbox, event, 1, 0)
    done = outbox.flush()
    assert (done.delivered, done.rejected, done.waiting, done.reason) == (1, 7, 0, "")
    assert [path.name for path in outbox.rejected()] == names
    reasons = [path.with_suffix(".reason").read_text() for path in outbox.rejected()]
    assert ["it is no file" in reason for reason in reasons] == [True, True, False, False, True, False, False]
    assert ["link to nothing" in reason for reason in reasons][2:4] == [True, True]
    assert [path.name for path in outbox.half_written()] == [".00000000000000000001-1-1.json.partial"]


def test_an_event_that_may_not_be_read_is_no_obstacle(
    settings: LineageSettings, backend: Any, event: Build, tmp_path: Path
) -> None:
    """Another user's file is set aside and named, and the events behind it are delivered."""
    outbox = Outbox.open(settings)
    forbidden = put(outbox, event, 1, 0)
    forbidden.chmod(0)
    put(outbox, event, 2, 0)
    script = (
        "import os\n"
        "from pedigree.lineage.delivery.http_sender import HttpSender\n"
        "from pedigree.lineage.delivery.outbox import Outbox\n"
        "from pedigree.lineage.settings import lineage_settings\n"
        "outbox, sender = Outbox.open(lineage_settings()), HttpSender(lineage_settings())\n"
        "sender.post(b'{', seconds=9)  # what Python imports, it imports now\n"
        "if os.geteuid() == 0:\n"
        "    os.setegid(65534); os.seteuid(65534)  # root may read everything\n"
        "print(outbox.flush(30, sender=sender))\n"
    )
    for folder in (settings.outbox, outbox.rejects, outbox.parking):
        folder.chmod(0o777)
    for folder in (tmp_path, *tmp_path.parents[:2]):
        folder.chmod(folder.stat().st_mode | 0o011)
    for path in settings.outbox.glob(".*"):
        path.chmod(0o666)
    env = {**os.environ, "PEDIGREE_LINEAGE_URL": settings.url, "PEDIGREE_LINEAGE_OUTBOX": str(settings.outbox)}
    done = subprocess.run(
        [sys.executable, "-c", script], env=env, cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert "delivered=1, waiting=0, rejected=1" in done.stdout, done.stderr
    assert stored(settings).keys() == {run_id(2)}
    assert "Permission denied" in outbox.rejected()[0].with_suffix(".reason").read_text()


def test_a_note_on_attempts_that_cannot_be_read_costs_no_event(
    settings: LineageSettings, backend: Any, event: Build
) -> None:
    """Whatever stands in the file that counts failures, events are delivered."""
    outbox = Outbox.open(settings)
    for second, note in enumerate(
        ["{", "[]", '{"failed": {"a": {"b": 1}}, "parked": {}}', '{"failed": 1, "parked": 2}']
    ):
        (settings.outbox / ".attempts").write_text(note)
        put(outbox, event, 1, second)
        assert outbox.flush().delivered == 1


def test_the_command_lists_what_was_set_aside_and_sends_it_again(
    settings: LineageSettings, backend: Any, event: Build, python: Python
) -> None:
    """`pedigree lineage outbox` names every event that did not arrive and why; `pedigree lineage replay` sends them again."""
    backend.door.fault, backend.door.mark = "500", b"poison"
    outbox = Outbox.open(settings)
    poison = put(outbox, event, 1, 0, mark="poison")
    for second in range(MOST_ATTEMPTS + 1):
        put(outbox, event, 2, second)
        outbox.flush()
    held = put(outbox, event, 3, 0, mark="poison")
    refused = outbox.put("{")
    outbox.flush()
    shown = python("-c", PEDIGREE, "lineage", "outbox").communicate()[0]
    for path, word in ((poison, "out of order"), (held, "waits"), (refused, "answered 400")):
        assert path.name in shown and word in shown, shown
    backend.door.fault = None
    process = python("-c", PEDIGREE, "lineage", "replay")
    shown, errors = process.communicate()
    assert "2 tried again" in shown, (shown, errors)
    assert stored(settings).keys() == {run_id(1), run_id(2), run_id(3)}
    assert process.returncode == 1 and refused.name in errors
