"""The command as a person types it: help that reads well, and errors that say what to do next."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from feature_repo.landing import packed_file, unpacked
from feature_repo.sources import SOURCES

from ..commands import run_command
from ..distributions import ROOT
from ..redis_server import RedisServer

PEDIGREE = Path(sys.executable).parent / "pedigree"
SLICE = ("--start", "2013-11-01", "--end", "2013-12-01")


def pedigree(
    *arguments: str, cwd: Path = ROOT, named: dict[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    return run_command("pedigree", *arguments, cwd=cwd, environment={**os.environ, **(named or {})}, timeout=120)


@pytest.mark.parametrize(
    "command",
    [
        "init",
        "up",
        "down",
        "build",
        "materialize",
        "rebuild",
        "rollback",
        "dataset",
        "vacuum",
        "serve",
        "ask",
        "explain",
        "doctor",
        "lineage",
    ],
)
def test_every_command_has_help(command: str) -> None:
    """Each command of the tour says what it does, and the group lists it."""
    told = pedigree(command, "--help")
    assert told.returncode == 0
    assert f"pedigree {command}" in told.stdout
    assert command in pedigree("--help").stdout


def test_help_comes_at_once() -> None:
    """`--help` imports neither Feast nor Spark, which take seconds."""
    probe = "import sys; from click.testing import CliRunner; from pedigree.cli.main import cli; "
    probe += "assert CliRunner().invoke(cli, ['--help']).exit_code == 0; "
    probe += "sys.exit(len({'feast', 'pyspark', 'great_expectations'} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", probe], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (("build", "--start", "2013-11-01"), "Missing option '--end'"),
        (("build", "--start", "November", "--end", "2013-12-01"), "Write 2013-11-01 or"),
        (("build", "--start", "2013-12-01", "--end", "2013-11-01"), "A slice must end after it starts"),
        (("build", "carriers", *SLICE), "There is no table 'carriers'. Known tables: carrier_delays"),
        (
            ("explain", "late_arrival", "plane_usage__seats", "carrier"),
            "'carrier' is no key=value, such as customer=C42",
        ),
        (("dataset", "create", "late_arrival"), "Say who it is for by either --entities or --sql"),
        (("dataset", "show", "3f2a9c"), "No training set '3f2a9c' is kept in"),
        (("dataset", "diff", "3f2a9c"), "Missing argument 'ID'"),
        (("vacuum", "carriers"), "There is no table 'carriers'. Known tables: carrier_delays"),
    ],
)
def test_a_mistake_is_told_in_one_line(arguments: tuple[str, ...], told: str) -> None:
    """What is wrong, and how it is written right; never a traceback."""
    done = pedigree(*arguments)
    assert done.returncode != 0
    assert told in done.stdout
    assert "Traceback" not in done.stdout


def test_a_missing_source_is_told_with_its_place(tmp_path: Path) -> None:
    """A build whose source has not come names the place, says that nothing changed, and what to run."""
    done = pedigree("build", "origin_weather", *SLICE, named={"PEDIGREE_LANDING": tmp_path.as_uri()})
    assert done.returncode == os.EX_TEMPFAIL, "it may come"
    assert "weather.csv. Nothing was changed." in done.stdout
    assert "set PEDIGREE_LANDING to the folder that has it" in done.stdout
    assert "Traceback" not in done.stdout


def test_a_dead_lineage_backend_is_told_with_the_command_that_starts_it(tmp_path: Path) -> None:
    """Lineage that nobody serves is one line that ends with `pedigree up`; so is a Redis that apply cannot reach."""
    yaml = tmp_path / "feature_store.yaml"
    redis = RedisServer(tmp_path)
    text = (
        (ROOT / "feature_repo" / "feature_store.yaml").read_text().replace("127.0.0.1:16379", f"127.0.0.1:{redis.port}")
    )
    yaml.write_text(text.replace(".pedigree/registry.db", f"{tmp_path}/registry.db"))
    named = {"PEDIGREE_LINEAGE_URL": "http://127.0.0.1:9", "PEDIGREE_LINEAGE_OUTBOX": str(tmp_path / "outbox")}
    applied = ("feast", "-f", str(yaml), "apply", "--skip-source-validation")
    without = run_command(*applied, cwd=ROOT, environment={**os.environ, **named})
    assert "then `feast apply` again" in without.stdout
    redis.start()
    try:
        assert run_command(*applied, cwd=ROOT, environment={**os.environ, **named}).returncode == 0
        done = pedigree("lineage", named={**named, "PEDIGREE_FEATURE_STORE_YAML": str(yaml)})
    finally:
        redis.kill()
    assert done.returncode == os.EX_TEMPFAIL
    assert "pedigree up" in done.stdout
    assert "Traceback" not in done.stdout


def test_a_build_that_is_told_to_stop_leaves_no_open_run(tmp_path: Path) -> None:
    """SIGTERM, as an orchestrator sends it, ends the run: its last event is FAIL, and nothing was published."""
    outbox, lake = tmp_path / "outbox", tmp_path / "lake"
    named = {
        "PEDIGREE_LINEAGE_URL": "http://127.0.0.1:9",
        "PEDIGREE_LINEAGE_OUTBOX": str(outbox),
        "PEDIGREE_LANDING": (tmp_path / "landing").as_uri(),
        "PEDIGREE_LAKE": lake.as_uri(),
    }
    (tmp_path / "landing").mkdir()
    for source in SOURCES:
        (tmp_path / "landing" / source.file).write_bytes(unpacked(packed_file(source)))
    command = [str(PEDIGREE), "build", "plane_usage", "--start", "2013-01-01", "--end", "2014-01-01"]
    process = subprocess.Popen(command, cwd=ROOT, env={**os.environ, **named})
    while process.poll() is None and ("build.plane_usage", "START") not in events(outbox):
        time.sleep(0.05)
    process.send_signal(signal.SIGTERM)
    assert process.wait(60) == 128 + signal.SIGTERM
    assert [kind for job, kind in events(outbox) if job == "build.plane_usage"] == ["START", "FAIL"]
    assert not (lake / "plane_usage").exists()


def events(outbox: Path) -> list[tuple[str, str]]:
    """Job and kind of the events that wait, oldest first."""
    waiting = [json.loads(path.read_text()) for path in sorted(outbox.glob("*.json"))]
    return [(event["job"]["name"], event["eventType"]) for event in waiting]


def test_flush_tells_what_still_waits(tmp_path: Path) -> None:
    """With events on disk and no backend, `pedigree lineage flush` counts them, keeps them, and fails."""
    probe = "from pedigree.lineage.recorder import Recorder; from pedigree.lineage.settings import lineage_settings\n"
    probe += "with Recorder.open(lineage_settings()) as recorder, recorder.run('build', 'anything'): pass"
    named = {"PEDIGREE_LINEAGE_URL": "http://127.0.0.1:9", "PEDIGREE_LINEAGE_OUTBOX": str(tmp_path)}
    subprocess.run([sys.executable, "-c", probe], cwd=ROOT, env={**os.environ, **named}, check=True)
    done = pedigree("lineage", "flush", named=named)
    assert done.returncode == 1
    assert "0 delivered to http://127.0.0.1:9, 2 waiting, 0 rejected" in done.stdout
    assert "pedigree up" in done.stdout
    assert len(list(tmp_path.glob("*.json"))) == 2


@pytest.mark.parametrize(
    "command", [("up",), ("ask", "anything", "key=1"), ("serve",), ("build", *SLICE)], ids=lambda it: it[0]
)
def test_broken_yaml_is_told_by_its_line(tmp_path: Path, command: tuple[str, ...]) -> None:
    """Every command names the file and the line, and not what it would have looked for in it."""
    yaml = tmp_path / "feature_store.yaml"
    yaml.write_text("project: shop\nonline_store:\n  type: [redis\nregistry: here\n")
    done = pedigree(*command, named={"PEDIGREE_FEATURE_STORE_YAML": str(yaml)})
    assert done.returncode == 1
    assert f"{yaml} cannot be read:" in done.stdout
    assert "in line 4" in done.stdout
    assert "Nothing was started" in done.stdout or "nothing was started" in done.stdout
    assert "Traceback" not in done.stdout


def test_a_server_without_its_redis_may_be_started_later(tmp_path: Path) -> None:
    """One line that names the store, and the exit code that a supervisor may try again on."""
    text = (ROOT / "feature_repo" / "feature_store.yaml").read_text().replace("127.0.0.1:16379", "127.0.0.1:9")
    yaml = tmp_path / "feature_store.yaml"
    yaml.write_text(text)
    done = pedigree("serve", named={"PEDIGREE_FEATURE_STORE_YAML": str(yaml)})
    assert done.returncode == os.EX_TEMPFAIL
    assert "pedigree: The online store of 127.0.0.1:9 cannot be read: " in done.stdout
    assert ".." not in done.stdout
    assert done.stdout.count("\n") == 1, done.stdout


@pytest.mark.parametrize(
    "command", [("materialize",), ("rollback", "carriers"), ("rebuild", "carriers")], ids=lambda it: it[0]
)
def test_views_that_were_never_applied_are_told(tmp_path: Path, command: tuple[str, ...]) -> None:
    """A load of nothing is no success: with an empty registry it says what to run."""
    yaml = tmp_path / "feature_store.yaml"
    text = (ROOT / "feature_repo" / "feature_store.yaml").read_text()
    yaml.write_text(text.replace(".pedigree/registry.db", f"{tmp_path}/registry.db"))
    done = pedigree(*command, named={"PEDIGREE_FEATURE_STORE_YAML": str(yaml)})
    assert done.returncode == 1
    assert done.stdout == "pedigree: The registry has no feature view, so nothing was done. Run `feast apply` first.\n"


def test_a_key_is_not_read_without_its_type(tmp_path: Path) -> None:
    """With the online store away, `ask` says why it needs it, and may be run again."""
    yaml = tmp_path / "feature_store.yaml"
    yaml.write_text(
        (ROOT / "feature_repo" / "feature_store.yaml").read_text().replace("127.0.0.1:16379", "127.0.0.1:9")
    )
    done = pedigree("ask", "anything", "key=1", named={"PEDIGREE_FEATURE_STORE_YAML": str(yaml)})
    assert done.returncode == os.EX_TEMPFAIL
    assert "pedigree: The online store at 127.0.0.1:9 does not answer" in done.stdout
    assert "Nothing was asked. Start it (on a laptop: `pedigree up`)" in done.stdout


def test_outside_a_repository_the_command_says_so(tmp_path: Path) -> None:
    """Nothing is guessed: the message says where it looked, and how to name a repository."""
    done = pedigree("build", "nothing", *SLICE, cwd=tmp_path)
    assert done.returncode == 1
    assert f"There is no feature_store.yaml in {tmp_path} or above it." in done.stdout
    assert "PEDIGREE_FEATURE_STORE_YAML" in done.stdout
