"""The durable outbox and its delivery, with backends and processes that die."""

from __future__ import annotations

import json
import subprocess
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import httpx
import pytest
from pydantic import SecretStr

from pedigree.lineage.client.client import LineageClient
from pedigree.lineage.delivery.outbox import Outbox
from pedigree.lineage.errors import LineageUnavailableError
from pedigree.lineage.recorder import Recorder
from pedigree.lineage.settings import LineageSettings

Build = Callable[..., dict[str, object]]
Python = Callable[..., subprocess.Popen[str]]


def at(second: int) -> str:
    """An instant."""
    return f"2026-01-01T00:{second // 60:02d}:{second % 60:02d}.000000Z"


def stored(settings: LineageSettings) -> list[dict[str, Any]]:
    """Every event that the backend has, in the order it came in."""
    with httpx.Client(base_url=settings.url, trust_env=False) as http:
        found: list[dict[str, Any]] = http.get("/api/v1/events?sortDirection=asc&limit=10000").json()["events"]
    return found


def test_events_of_a_dead_backend_arrive_in_order_once_it_is_up(
    settings: LineageSettings, stopped: Any, event: Build
) -> None:
    """What was emitted while nobody listened is delivered in the order of emission, each event once."""
    outbox = Outbox.open(settings)
    for second in range(40):
        outbox.put(json.dumps(event("RUNNING", at(second))))
    down = outbox.flush(0.5)
    assert (down.delivered, down.waiting) == (0, 40) and "cannot be reached" in down.reason
    stopped.start()
    assert outbox.flush().delivered == 40
    assert [each["eventTime"] for each in stored(settings)] == [at(second) for second in range(40)]
    assert outbox.flush() == replace(down, delivered=0, waiting=0, reason="")


def test_a_recorder_delivers_by_itself_when_the_backend_comes_up(settings: LineageSettings, stopped: Any) -> None:
    """A job that outlives the backend's outage needs nobody to flush."""
    with Recorder.open(settings) as recorder:
        with recorder.run("build", "trips"):
            pass
        stopped.start()
        outbox = Outbox.open(settings)
        for _ in range(500):
            if outbox.waiting() == 0:
                break
            time.sleep(0.02)
        assert [each["eventType"] for each in stored(settings)] == ["START", "COMPLETE"]


def test_events_sort_by_emission(settings: LineageSettings) -> None:
    """The names of waiting events sort in the order they were put."""
    outbox = Outbox.open(settings)
    put = [outbox.put("{}") for _ in range(200)]
    assert outbox.pending() == put


def test_a_refused_event_is_kept_with_the_reason(
    settings: LineageSettings, backend: Any, event: Build, caplog: pytest.LogCaptureFixture
) -> None:
    """An event that the backend will never take is set aside, said aloud, and does not hold up the next."""
    outbox = Outbox.open(settings)
    outbox.put(json.dumps({**event("START", at(0)), "eventTime": "yesterday"}))
    outbox.put(json.dumps(event("START", at(1))))
    done = outbox.flush()
    (kept,) = outbox.rejected()
    assert (done.delivered, done.rejected, done.waiting) == (1, 1, 0)
    assert "eventTime is 'yesterday'" in kept.with_suffix(".reason").read_text()
    assert str(kept) in caplog.text


def test_refused_events_can_be_sent_again(settings: LineageSettings, backend: Any, event: Build) -> None:
    """After the backend or the event was mended, what was refused waits again."""
    outbox = Outbox.open(settings)
    outbox.put("{")
    outbox.flush()
    (kept,) = outbox.rejected()
    kept.write_text(json.dumps(event("START", at(0))))
    assert outbox.requeue() == 1
    assert outbox.flush().delivered == 1 and not outbox.rejected()


@pytest.mark.parametrize("key", [None, "wrong"])
def test_a_wrong_key_costs_no_event(settings: LineageSettings, stopped: Any, event: Build, key: str | None) -> None:
    """A backend that refuses the key, not the event, lets the event wait until the key is right."""
    stopped.settings = replace(settings, api_key=SecretStr("secret"))
    stopped.start()
    Outbox.open(settings).put(json.dumps(event("START", at(0))))
    refused = Outbox.open(replace(settings, api_key=SecretStr(key) if key else None)).flush(0.5)
    assert refused.waiting == 1 and "401" in refused.reason
    assert Outbox.open(replace(settings, api_key=SecretStr("secret"))).flush().delivered == 1


def test_two_processes_deliver_each_event_once(
    settings: LineageSettings, stopped: Any, event: Build, python: Python
) -> None:
    """Deliverers of one outbox take turns: together they deliver everything, and nothing twice."""
    outbox = Outbox.open(settings)
    for second in range(300):
        outbox.put(json.dumps(event("RUNNING", at(second))))
    stopped.start()
    script = (
        "from pedigree.lineage.delivery.outbox import Outbox\n"
        "from pedigree.lineage.settings import lineage_settings\n"
        "print(Outbox.open(lineage_settings()).flush(30).delivered)\n"
    )
    processes = [python("-c", script) for _ in range(2)]
    delivered = [int(process.communicate()[0]) for process in processes]
    assert sum(delivered) == 300
    assert [each["eventTime"] for each in stored(settings)] == [at(second) for second in range(300)]


def test_processes_that_record_at_once_lose_nothing(settings: LineageSettings, backend: Any, python: Python) -> None:
    """Jobs in several processes share one outbox without knowing of each other."""
    script = (
        "import sys\n"
        "from pedigree.lineage.recorder import Recorder\n"
        "from pedigree.lineage.settings import lineage_settings\n"
        "with Recorder.open(lineage_settings()) as recorder:\n"
        "    for _ in range(10):\n"
        "        with recorder.run('build', sys.argv[1]):\n"
        "            pass\n"
    )
    processes = [python("-c", script, f"table_{number}") for number in range(3)]
    assert [process.communicate()[1] for process in processes] == ["", "", ""]
    assert Outbox.open(settings).flush().waiting == 0
    assert len(stored(settings)) == 60
    with LineageClient(settings) as client:
        states = [client.job(f"build.table_{number}").latest_run for number in range(3)]
    assert [state.state for state in states if state] == ["COMPLETED"] * 3


def test_an_event_that_was_delivered_but_not_taken_out_is_delivered_again_without_harm(
    settings: LineageSettings, backend: Any, event: Build
) -> None:
    """A deliverer killed between sending and deleting sends twice; the backend keeps one."""
    outbox = Outbox.open(settings)
    text = json.dumps(event("START", at(0)))
    outbox.put(text)
    outbox.flush()
    outbox.put(text)
    assert outbox.flush().delivered == 1
    assert len(stored(settings)) == 1


def test_a_reader_of_a_dead_backend_learns_how_to_start_it(settings: LineageSettings) -> None:
    """Asking a backend that is down ends with the command that starts it."""
    with LineageClient(settings) as client, pytest.raises(LineageUnavailableError, match="pedigree up"):
        client.job("build.trips")
