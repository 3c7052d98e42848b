"""Lineage that cannot be delivered waits on disk."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import httpx
import pytest
from pydantic import SecretStr

from feature_repo.landing import land_samples
from pedigree.features.repository import current_repository
from pedigree.jobs.build.build import Jobs, build
from pedigree.jobs.settings import job_settings
from pedigree.jobs.spark.session import open_session
from pedigree.jobs.time_slice import TimeSlice
from pedigree.lineage.delivery.outbox import Outbox
from pedigree.lineage.recorder import Recorder
from pedigree.lineage.settings import LineageSettings

from ..redis_server import free_port

WEEK = TimeSlice(datetime(2013, 3, 1, tzinfo=UTC), datetime(2013, 3, 8, tzinfo=UTC))


@pytest.fixture
def settings(tmp_path: Path) -> LineageSettings:
    url = f"http://127.0.0.1:{free_port()}"
    return LineageSettings(url, "pedigree", tmp_path / "outbox", SecretStr(f"sqlite:///{tmp_path}/lineage.db"), None)


def backend(settings: LineageSettings) -> subprocess.Popen[bytes]:
    """The backend of the demo as a process of its own, once it answers."""
    named = {"PEDIGREE_LINEAGE_URL": settings.url, "PEDIGREE_LINEAGE_DATABASE": settings.database.get_secret_value()}
    process = subprocess.Popen([sys.executable, "-m", "pedigree.lineage.server"], env={**os.environ, **named})
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        assert process.poll() is None
        try:
            httpx.get(f"{settings.url}/ping")
        except httpx.TransportError:
            time.sleep(0.05)
        else:
            return process
    raise AssertionError("the backend did not come up")


def test_killing_the_backend_during_a_build_loses_no_event(settings: LineageSettings, tmp_path: Path) -> None:
    """The build goes on; its events wait on disk; started again, the backend shows every run, whole and ended."""
    process = backend(settings)

    def kill_while_checking(stage: str) -> None:
        if stage == "checking":
            os.kill(process.pid, signal.SIGKILL)
            process.wait()

    loaded = current_repository()
    places = replace(loaded.settings, landing=(tmp_path / "landing").as_uri(), lake=(tmp_path / "lake").as_uri())
    repository = replace(loaded, settings=places)
    with Recorder.open(settings) as recorder:
        jobs = Jobs(open_session(job_settings()), repository, recorder, progress=lambda _stage: None)
        land_samples(jobs)
        built = build(repository.tables["origin_weather"], WEEK, jobs.telling(kill_while_checking))
        jobs.events.clear()
    waiting = Outbox.open(settings).waiting()
    assert process.returncode == -signal.SIGKILL
    assert built.rows.published > 400
    assert waiting >= 1

    process = backend(settings)
    try:
        flushed = Outbox.open(settings).flush(30)
        assert (flushed.delivered, flushed.waiting, flushed.rejected) == (waiting, 0, 0)
        run = httpx.get(f"{settings.url}/api/v1/jobs/runs/{built.run_id}").json()
        assert run["state"] == "COMPLETED"
        events = httpx.get(f"{settings.url}/api/v1/events/lineage", params={"limit": 100}).json()["events"]
        kinds = sorted((event["job"]["name"], event["eventType"]) for event in events)
        names = ["build.origin_weather", "land.airports", "land.flights", "land.planes", "land.weather"]
        assert kinds == [(name, kind) for name in names for kind in ("COMPLETE", "START")]
    finally:
        process.terminate()
        process.wait()
