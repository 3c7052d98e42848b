"""`pedigree doctor`: each thing that can be set up wrong is set up wrong, and told with what to do."""

from __future__ import annotations

import json
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner
from rich.console import Console

from pedigree.cli.doctor import doctor_checks
from pedigree.cli.doctor.doctor import Check, Finding, doctor, found_by
from pedigree.cli.init import initialise
from pedigree.cli.jobs.tidying import tidy
from pedigree.features.settings import repository_settings
from pedigree.jobs.settings import job_settings
from pedigree.lineage.settings import lineage_settings
from pedigree.online.store import redis_keys
from pedigree.online.store.redis_store import RedisStore
from pedigree.serving.feature_store_yaml import read_repo
from pedigree.serving.settings import serving_settings

from ..redis_server import RedisServer, free_port

SETTINGS = (repository_settings, job_settings, lineage_settings, serving_settings)


@pytest.fixture
def repository(
    tmp_path: Path, redis_server: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> Iterator[pytest.MonkeyPatch]:
    """A new repository whose Redis is there and whose lineage backend and server are not; yields what sets the environment."""
    folder = tmp_path / "shop"
    initialise(folder)
    yaml = folder / "feature_store.yaml"
    yaml.write_text(yaml.read_text().replace("127.0.0.1:16379", f"127.0.0.1:{redis_server.port}"))
    monkeypatch.chdir(folder)
    monkeypatch.delenv("PEDIGREE_LAKE")
    monkeypatch.setenv("PEDIGREE_LINEAGE_OUTBOX", str(folder / "outbox"))
    monkeypatch.setenv("PEDIGREE_LINEAGE_URL", f"http://127.0.0.1:{free_port()}")
    monkeypatch.setenv("PEDIGREE_SERVING_ADDRESS", f"127.0.0.1:{free_port()}")
    forget_settings()
    yield monkeypatch
    forget_settings()


def forget_settings() -> None:
    for settings in SETTINGS:
        settings.cache_clear()


def told(check: Check) -> dict[str, Finding]:
    """What a check finds, by what it is about, without addresses."""
    return {one.about.partition(" 127")[0].partition(" http")[0]: one for one in found_by(check)}


def test_all_findings_are_printed_and_make_the_command_fail(repository: pytest.MonkeyPatch) -> None:
    """Words for people, or JSON for a machine; the exit code says that something is wrong, and nothing was written."""
    before = sorted(Path().rglob("*"))
    plain, as_json = CliRunner().invoke(doctor), CliRunner().invoke(doctor, ["--json"])
    findings = json.loads(as_json.stdout)
    assert [one["about"].split()[0] for one in findings][:5] == ["versions", "Java", "jars", "lake", "landing"]
    bad = [one["about"] for one in findings if one["problem"]]
    assert plain.stdout.count("BAD ") == len(bad)
    assert {"registry", "lineage backend"} <= set(bad)
    assert all(one["state"] or one["problem"] for one in findings)
    assert (plain.exit_code, as_json.exit_code) == (1, 1)
    assert [path for path in Path().rglob("*") if path not in before and path.name != "registry.db"] == []


def test_versions_that_do_not_fit_are_named_with_those_that_would(repository: pytest.MonkeyPatch) -> None:
    """By what each of our distributions says that it needs."""
    assert not told(doctor_checks.versions)["versions"].problem
    repository.setattr(doctor_checks, "version", lambda name: "3.5.0" if name == "pyspark" else "999")
    assert "pyspark is 3.5.0, and pedigree-jobs needs <4.2,>=4.1" in told(doctor_checks.versions)["versions"].problem


def test_java_and_jars_that_are_missing_are_told_with_what_brings_them(
    repository: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """The message of a build, before there is one."""
    assert told(doctor_checks.java)["Java"].state.startswith("version ")
    repository.setenv("PEDIGREE_JARS", str(tmp_path / "none"))
    forget_settings()
    assert f"python -m pedigree.jobs.spark.jars {tmp_path}/none" in told(doctor_checks.jars)["jars"].problem
    repository.setenv("JAVA_HOME", str(tmp_path / "none"))
    assert "Java" in told(doctor_checks.java)["java"].problem


def test_a_lake_that_is_no_folder_is_told(repository: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Places elsewhere are not looked at; a file in a folder's place is a problem, a folder to come is none."""
    assert told(doctor_checks.places)["lake"].state.endswith("will be made")
    (tmp_path / "file").write_text("")
    repository.setenv("PEDIGREE_LAKE", f"file://{tmp_path}/file/lake")
    forget_settings()
    assert "is no folder" in told(doctor_checks.places)["lake"].problem
    repository.setenv("PEDIGREE_LAKE", "s3a://bucket/lake")
    forget_settings()
    assert "not looked at" in told(doctor_checks.places)["lake"].state


def test_a_registry_that_cannot_be_read_is_told(repository: pytest.MonkeyPatch) -> None:
    """One that knows nothing yet, and one that is no registry."""
    assert "Run `feast apply`" in told(doctor_checks.registry)["registry"].problem
    yaml = Path("feature_store.yaml")
    yaml.write_text(
        yaml.read_text().replace("sqlite:///.pedigree/registry.db", "postgresql+psycopg://127.0.0.1:9/none")
    )
    assert "cannot be read" in told(doctor_checks.registry)["registry"].problem


def test_redis_is_asked_for_its_time(repository: pytest.MonkeyPatch, redis_server: RedisServer) -> None:
    """A clock that is apart is a problem, and so is a Redis that is not there."""
    found = told(doctor_checks.online_store)
    assert [one.problem for one in found.values()] == ["", "", "", ""]
    assert "60.0 s behind" in doctor_checks.clock("there", time.time() - 60).problem
    yaml = Path("feature_store.yaml")
    yaml.write_text(yaml.read_text().replace(str(redis_server.port), str(free_port())))
    assert "pedigree up" in told(doctor_checks.online_store)["online store"].problem


def test_records_that_nothing_reads_are_told_and_deleted(
    repository: pytest.MonkeyPatch, redis_server: RedisServer, capsys: pytest.CaptureFixture[str]
) -> None:
    """The doctor counts those that it sees and names the command; the command deletes them, and `--dry-run` does not."""
    repo = read_repo(Path("feature_store.yaml"))
    store = RedisStore.open(repo.project, repo.address)
    store.redis.hset(redis_keys.entity_prefix(repo.project, ["customer"]) + b"x", redis_keys.field("former", 0), b"x")
    assert "Delete them: pedigree tidy" in told(doctor_checks.online_store)["rows of online store"].problem
    tidy(Console(), is_dry_run=True)
    assert "1 records of 1 entities are read by nothing" in capsys.readouterr().out
    tidy(Console(), is_dry_run=False)
    assert list(store.entities(redis_keys.project_prefix(repo.project))) == []
    assert told(doctor_checks.online_store)["rows of online store"].problem == ""
    store.close()


def test_what_listens_in_the_server_s_place_is_told(repository: pytest.MonkeyPatch) -> None:
    """Nothing is no problem; something that is no gRPC server is."""
    assert "pedigree serve" in told(doctor_checks.server)["server"].state
    with socket.create_server(("127.0.0.1", 0)) as other:
        threading.Thread(target=lambda: other.accept()[0].close(), daemon=True).start()
        repository.setenv("PEDIGREE_SERVING_ADDRESS", f"127.0.0.1:{other.getsockname()[1]}")
        forget_settings()
        assert "PEDIGREE_SERVING_ADDRESS" in told(doctor_checks.server)["server"].problem


def test_lineage_that_waits_is_told(repository: pytest.MonkeyPatch) -> None:
    """A backend that is away, and events in the outbox."""
    assert "does not answer" in told(doctor_checks.lineage_backend)["lineage backend"].problem
    assert told(doctor_checks.outbox)["outbox"].state == "nothing waits"
    lineage_settings().outbox.mkdir()
    (lineage_settings().outbox / "1-1-1.json").write_text("{}")
    assert "1 events wait" in told(doctor_checks.outbox)["outbox"].problem


def test_a_role_that_is_not_installed_is_a_state() -> None:
    """A server's machine has no Spark, and that is as it should be."""

    def java() -> Iterator[Finding]:
        yield from missing()

    def missing() -> list[Finding]:
        raise ModuleNotFoundError("No module named 'pyspark'", name="pyspark")

    assert told(java)["java"] == Finding("java", "not installed (jobs)")
