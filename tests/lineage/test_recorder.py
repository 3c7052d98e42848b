"""What jobs record, read back from a real backend."""

from __future__ import annotations

import json
import signal
import subprocess
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from types import FrameType
from typing import Any

import pytest
from marquez_client import MarquezClient

from pedigree.lineage.client.client import LineageClient
from pedigree.lineage.dataset import Assertion, Dataset, Field, Origin
from pedigree.lineage.delivery.delivery import DeliveryThread
from pedigree.lineage.delivery.outbox import Outbox
from pedigree.lineage.errors import LineageUnknownError, OutboxUnwritableError
from pedigree.lineage.naming import DatasetName, at_path
from pedigree.lineage.recorder import Recorder
from pedigree.lineage.settings import LineageSettings

FLIGHTS = at_path("/landing/flights.csv")
DELAYS = at_path("file:///lake/carrier_delays")
DAY = (datetime(2013, 6, 1, tzinfo=UTC), datetime(2013, 6, 2, tzinfo=UTC))


def build(recorder: Recorder) -> str:
    """A run that says everything a run can say; returns its id."""
    with recorder.run("build", "carrier_delays", nominal=DAY, description="Delays by carrier") as run:
        run.reads(Dataset(FLIGHTS, fields=(Field("dep_delay", "DOUBLE"),), version="17-1024", rows=1000))
        run.writes(
            Dataset(
                DELAYS,
                fields=(Field("carrier", "STRING", "IATA code"), Field("delay_avg_1d", "DOUBLE")),
                version="5",
                rows=16,
                origins={"delay_avg_1d": (Origin(FLIGHTS, "dep_delay", "aggregation"),)},
                assertions=(
                    Assertion("carrier_is_present", True, "carrier"),
                    Assertion("delay_is_plausible", False, "delay_avg_1d", 3, "3 rows above 2000 minutes"),
                ),
                description="Delays of each carrier",
                alias=DatasetName("hive", "lake.carrier_delays"),
            )
        )
        run.note("score", {"score": 0.93, "at": DAY[0], "parts": [1, {"a": True}]})
    return run.id


def test_a_run_arrives_with_everything_it_said(settings: LineageSettings, client: LineageClient) -> None:
    """What a job says of a run can be read back from the backend, word for word."""
    with Recorder.open(settings) as recorder:
        id_ = build(recorder)
    run, table = client.run(id_), client.current_version(DELAYS)
    assert (run.job, run.namespace, run.state, run.nominal) == ("build.carrier_delays", "pedigree", "COMPLETED", DAY)
    assert [(ref.name, ref.version) for ref in run.inputs] == [(FLIGHTS, "17-1024")]
    assert [(ref.name, ref.version) for ref in run.outputs] == [(DELAYS, "5")]
    assert run.rows == {FLIGHTS: 1000, DELAYS: 16}
    assert run.notes["score"] == {"score": 0.93, "at": str(DAY[0]), "parts": [1, {"a": True}]}
    assert (table.version, table.run_id, table.fields[0]) == ("5", id_, Field("carrier", "STRING", "IATA code"))
    assert table.assertions == (
        Assertion("carrier_is_present", True, "carrier"),
        Assertion("delay_is_plausible", False, "delay_avg_1d", 3, "3 rows above 2000 minutes"),
    )
    assert client.job("build.carrier_delays").description == "Delays by carrier"
    assert client.dataset(DELAYS).description == "Delays of each carrier"
    assert client.dataset(DatasetName("hive", "lake.carrier_delays")).name == DELAYS


def test_marquez_own_client_reads_what_was_recorded(settings: LineageSettings, marquez: MarquezClient) -> None:
    """The facets are where Marquez's users look for them."""
    with Recorder.open(settings) as recorder:
        id_ = build(recorder)
    run = marquez.get_job_run(id_)
    version = marquez.list_dataset_versions("file", "/lake/carrier_delays")["versions"][0]
    assert run["facets"]["processing_engine"]["name"] in {"python", "spark"}
    assert run["facets"]["pedigree_io"]["inputs"][0]["version"] == "17-1024"
    assert run["nominalStartTime"] == "2013-06-01T00:00:00+00:00"
    assert run["outputDatasetVersions"][0]["facets"]["outputStatistics"]["rowCount"] == 16
    assert run["inputDatasetVersions"][0]["facets"]["inputStatistics"]["rowCount"] == 1000
    assert version["facets"]["version"]["datasetVersion"] == "5"
    assert version["createdByRun"]["id"] == id_
    assert marquez.get_job("pedigree", "build.carrier_delays")["facets"]["jobType"]["processingType"] == "BATCH"


@pytest.mark.parametrize(
    ("error", "state"),
    [(ValueError("no such column"), "FAILED"), (SystemExit(3), "FAILED"), (KeyboardInterrupt(), "ABORTED")],
)
def test_a_failed_run_says_why(
    settings: LineageSettings, client: LineageClient, error: BaseException, state: str
) -> None:
    """An exception ends the run with its cause and what was said so far, and goes on to the job."""
    with (  # noqa: PT012 - what is said before the error is the point
        Recorder.open(settings) as recorder,
        pytest.raises(type(error)),
        recorder.run("build", "carrier_delays") as run,
    ):
        run.reads(Dataset(FLIGHTS, version="1"))
        raise error
    found = client.run(run.id)
    assert (found.state, found.error) == (state, str(error) or type(error).__name__)
    assert found.trace is not None and "raise error" in found.trace
    assert [ref.version for ref in found.inputs] == ["1"]


def test_a_failed_run_does_not_become_the_tables_version(settings: LineageSettings, client: LineageClient) -> None:
    """A table stays at the version of its last good run when a later run fails."""
    with Recorder.open(settings) as recorder:
        with recorder.run("build", "carrier_delays") as good:
            good.writes(Dataset(DELAYS, version="1"))
        with pytest.raises(ValueError, match="gate"), recorder.run("build", "carrier_delays") as bad:  # noqa: PT012
            bad.writes(Dataset(DELAYS, assertions=(Assertion("x_is_present", False, "x", 9),)))
            raise ValueError("the gate stopped it")
    assert client.current_version(DELAYS).run_id == good.id
    states = {version.run_id: version.run_state for version in client.versions(DELAYS)}
    assert states == {good.id: "COMPLETED", bad.id: "FAILED"}


def test_a_run_is_seen_while_it_runs(settings: LineageSettings, client: LineageClient) -> None:
    """START is sent on entry, not at the end."""
    with Recorder.open(settings) as recorder, recorder.run("build", "carrier_delays") as run:
        assert wait_for(lambda: client.run(run.id)).state == "RUNNING"


def test_jobs_do_not_notice_a_dead_backend(settings: LineageSettings) -> None:
    """With nobody listening, a run ends as if all were well, and its events wait."""
    with Recorder.open(settings) as recorder, recorder.run("build", "carrier_delays"):
        pass
    assert Outbox.open(settings).waiting() == 2


def test_an_outbox_that_cannot_be_written_is_refused_at_the_start(settings: LineageSettings) -> None:
    """Where events could not be kept, recording fails before any job has started, and says what to do."""
    settings.outbox.parent.mkdir(exist_ok=True)
    settings.outbox.write_text("a file where the folder should be")
    with pytest.raises(OutboxUnwritableError, match="PEDIGREE_LINEAGE_OUTBOX"):
        Recorder.open(settings)


def test_losing_the_outbox_does_not_stop_a_run(settings: LineageSettings, caplog: pytest.LogCaptureFixture) -> None:
    """A folder that vanishes under a run costs the event, which is logged, and not the run."""
    with Recorder.open(settings) as recorder, recorder.run("build", "carrier_delays"):
        for path in settings.outbox.iterdir():
            path.rmdir() if path.is_dir() else path.unlink()
        settings.outbox.rmdir()
    assert "COMPLETE event" in caplog.text


def test_a_killed_process_loses_nothing(
    settings: LineageSettings,
    stopped: Any,
    python: Callable[..., subprocess.Popen[str]],
) -> None:
    """What was emitted before a kill -9 is delivered by the next process."""
    script = (
        "import os, signal\n"
        "from pedigree.lineage.recorder import Recorder\n"
        "from pedigree.lineage.settings import lineage_settings\n"
        "recorder = Recorder.open(lineage_settings())\n"
        "with recorder.run('build', 'carrier_delays') as run:\n"
        "    print(run.id, flush=True)\n"
        "    os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    process = python("-c", script)
    id_ = process.communicate()[0].strip()
    assert process.returncode == -9
    stopped.start()
    assert Outbox.open(settings).flush().delivered == 1
    with LineageClient(settings) as client:
        assert client.run(id_).state == "RUNNING"


class InterruptedOutbox(Outbox):
    """An outbox in which SIGTERM arrives in the midst of keeping event number `at`: before it is kept, or just after."""

    def __init__(self, settings: LineageSettings, *, at: int, kept: bool) -> None:
        super().__init__(settings)
        self.left, self.kept = at, kept

    def put(self, event: str) -> Path:
        """Keep an event."""
        self.left -= 1
        if self.left == 0 and not self.kept:
            signal.raise_signal(signal.SIGTERM)
        path = super().put(event)
        if self.left == 0 and self.kept:
            signal.raise_signal(signal.SIGTERM)
        return path


@pytest.mark.parametrize(
    ("at", "kept", "kinds"),
    [
        (1, False, ["FAIL"]),
        (1, True, ["START", "FAIL"]),
        (2, False, ["START", "COMPLETE"]),
        (2, True, ["START", "COMPLETE", "COMPLETE"]),
    ],
)
def test_sigterm_while_an_event_is_kept_leaves_no_open_run(
    settings: LineageSettings, at: int, kept: bool, kinds: list[str]
) -> None:
    """Whenever the signal arrives, the run has its end."""

    def stop(_number: int, _frame: FrameType | None) -> None:
        raise SystemExit(143)

    Outbox.open(settings)
    outbox = InterruptedOutbox(settings, at=at, kept=kept)
    before = signal.signal(signal.SIGTERM, stop)
    try:
        with (
            pytest.raises(SystemExit),
            Recorder(settings, outbox=outbox, deliverer=DeliveryThread.start(outbox)) as recorder,
            recorder.run("build", "carrier_delays"),
        ):
            pass
    finally:
        signal.signal(signal.SIGTERM, before)
    assert [json.loads(path.read_text())["eventType"] for path in outbox.pending()] == kinds


def wait_for(look: Callable[[], Any]) -> Any:
    """The first answer about something that is on its way."""
    for _ in range(500):
        try:
            return look()
        except LineageUnknownError:
            time.sleep(0.02)
    return look()
