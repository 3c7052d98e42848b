"""`pedigree explain`: the server's `Explain` over gRPC, with a real lineage backend behind it, drawn as a tree."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pytest
from click.testing import CliRunner
from pydantic import SecretStr
from rich.tree import Tree

from pedigree.cli.main import cli
from pedigree.cli.online.explain import drawn, explain
from pedigree.lineage.dataset import Assertion, Dataset, Field, Origin
from pedigree.lineage.delivery.outbox import Outbox
from pedigree.lineage.naming import at_path, redis_view
from pedigree.lineage.recorder import Recorder
from pedigree.lineage.settings import LineageSettings, lineage_settings
from pedigree.online.feast_plugin import open_redis_store
from pedigree.online.records.record import Head, Schema, micros
from pedigree.online.store import redis_keys
from pedigree.online.store.load_state import Load
from pedigree.serving.settings import serving_settings

from ..lineage.conftest import Backend
from .birds import FRESH, key, visits
from .conftest import Client, Repo, repository, running

TABLE, FILE, ARCHIVE = "file:///lake/bird_on_island", "file:///landing/sightings.csv", "file:///sightings.zip"
THEIRS = "file:///theirs/bird_on_island"
DAY = (datetime(2013, 7, 1, tzinfo=UTC), datetime(2013, 7, 2, tzinfo=UTC))
LAYOUT = Schema.of([("visit_count_7d", "INT64"), ("meal_count_1d", "INT64")])


@pytest.fixture(scope="module")
def lineage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LineageSettings]:
    """A running lineage backend, which the server finds by its settings."""
    folder = tmp_path_factory.mktemp("lineage")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{free.getsockname()[1]}"
    settings = LineageSettings(
        url, "pedigree", folder / "outbox", SecretStr(f"sqlite:///{folder / 'lineage.db'}"), None
    )
    backend = Backend(settings)
    backend.start()
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PEDIGREE_LINEAGE_URL", url)
        patch.setenv("PEDIGREE_LINEAGE_OUTBOX", str(settings.outbox))
        lineage_settings.cache_clear()
        yield settings
    lineage_settings.cache_clear()
    backend.stop()


@pytest.fixture(scope="module")
def traced(tmp_path_factory: pytest.TempPathFactory, lineage: LineageSettings) -> Iterator[Repo]:
    """A repository in which bird 7 on island NI was landed, built and loaded by recorded runs."""
    with repository(tmp_path_factory.mktemp("traced")) as repo:
        run_id = record_runs(repo, lineage)
        load_row(repo, Load("bird_on_island", run_id, TABLE, 3), bird=7)
        load_row(repo, Load("bird_on_island", run_id, THEIRS, 8), bird=9)
        yield repo


def record_runs(repo: Repo, settings: LineageSettings) -> str:
    """Record a landing, a build and a load; returns the id of the load's run."""
    view = redis_view(f"127.0.0.1:{repo.redis.port}", project="flightless", view="bird_on_island")
    visits_of = {"visit_count_7d": (Origin(at_path(FILE), "seen_at", "aggregation"),)}
    rules = (Assertion("bird_is_present", held=True), Assertion("count_is_plausible", held=False, broken_rows=2))
    fields = (Field("visit_count_7d", "LONG"),)
    with Recorder.open(settings) as recorder:
        with recorder.run("land", "sightings") as landing:
            landing.reads(Dataset(at_path(ARCHIVE), version="1"))
            landing.writes(Dataset(at_path(FILE), version="2"))
        with recorder.run("build", "bird_on_island", nominal=DAY) as build:
            build.reads(Dataset(at_path(FILE), fields=(Field("seen_at", "TIMESTAMP"),), version="2"))
            build.writes(Dataset(at_path(TABLE), fields, "3", 10, origins=visits_of, assertions=rules))
            build.note("rows", {"published": 10, "quarantined": 2})
        with recorder.run("audit", "bird_on_island") as audit:
            audit.reads(Dataset(at_path(THEIRS), fields, "8", 10, assertions=rules[:1]))
        with recorder.run("materialize", "bird_on_island") as load:
            load.reads(Dataset(at_path(TABLE), fields, "3"))
            load.writes(Dataset(view, fields))
    Outbox.open(settings).flush()
    return load.id


def load_row(repo: Repo, load: Load, *, bird: int) -> None:
    """Write a row with a composite key as a load writes it."""
    store = open_redis_store(repo.store.config)
    store.register(LAYOUT)
    number = store.begin(load)
    values = [value.SerializeToString() for value in visits(4, 2).values()]
    record = LAYOUT.pack(Head(micros(FRESH), None, number, LAYOUT.fingerprint), values)
    entity = key(bird_id=bird, island_code="NI").entity_values
    prefix = redis_keys.entity_prefix("flightless", ["bird_id", "island_code"])
    name = redis_keys.entity_key(prefix, [value.SerializeToString() for value in entity])
    store.write(redis_keys.field("bird_on_island", 0), [(name, record)])
    store.close()


@pytest.fixture(scope="module")
def client(traced: Repo) -> Iterator[Client]:
    """A client of a server of the repository."""
    with running(traced.settings(store_timeout=timedelta(seconds=5))) as connected:
        yield connected


@pytest.fixture
def command(traced: Repo, client: Client, monkeypatch: pytest.MonkeyPatch) -> Iterator[CliRunner]:
    """The command line, with settings that name the repository and the server."""
    monkeypatch.setenv("PEDIGREE_FEATURE_STORE_YAML", str(traced.path))
    monkeypatch.setenv("PEDIGREE_SERVING_ADDRESS", client.address)
    serving_settings.cache_clear()
    yield CliRunner()
    serving_settings.cache_clear()


def test_a_value_of_somebody_elses_table_has_the_verdict_on_its_version(client: Client) -> None:
    """No run of ours wrote the table; the audit's verdict is told, and the tree ends there."""
    found = explain(client.address, "travel", "bird_on_island:visit_count_7d", {"bird_id": 9, "island_code": "NI"})
    assert (found.load.version, found.HasField("built")) == (8, False)
    assert [(rule.rule, rule.held) for rule in found.verdict.results] == [("bird_is_present", True)]
    shown = [str(node.label) for node in descendants(drawn(found))]
    assert shown[-2:] == [
        "verdict       1 of 1 rules held; rows that broke one: 0",
        "written       by somebody else; this version was audited as a whole",
    ]


def descendants(tree: Tree) -> Iterator[Tree]:
    """The nodes below one, from above."""
    for child in tree.children:
        yield child
        yield from descendants(child)


def test_a_value_is_traced_to_the_file_that_was_landed(client: Client) -> None:
    """One answer of the server has every run, version and rule between a value and its source."""
    found = explain(client.address, "travel", "bird_on_island:visit_count_7d", {"bird_id": 7, "island_code": "NI"})
    assert (found.value.int64_val, found.load.version, found.built_version) == (4, 3, 3)
    assert found.stored_in.name == "flightless.bird_on_island"
    assert (found.loaded.job, found.built.job) == ("materialize.bird_on_island", "build.bird_on_island")
    assert found.loaded.id == found.load.run_id and found.built.id == found.built_by
    assert {result.rule: (result.held, result.broken_rows) for result in found.verdict.results} == {
        "bird_is_present": (True, 0),
        "count_is_plausible": (False, 2),
    }
    [source] = found.sources
    assert (source.name, source.version, list(source.columns)) == ("/landing/sightings.csv", "2", ["seen_at"])
    assert source.landed.job == "land.sightings"
    assert [(one.name, one.version) for one in source.landed_from] == [("/sightings.zip", "1")]


def test_the_command_draws_the_way_back_of_a_composite_key(
    command: CliRunner, capfd: pytest.CaptureFixture[str]
) -> None:
    """`pedigree explain` takes a whole number and a text as they are typed, and prints each step once."""
    done = command.invoke(cli, ["explain", "travel", "bird_on_island:visit_count_7d", "bird_id=7", "island_code=NI"])
    assert done.exit_code == 0, done.output
    printed = capfd.readouterr().out
    for step in (
        "bird_on_island__visit_count_7d = 4  (PRESENT, as of 2013-07-01 11:00:00 UTC)",
        "flightless.bird_on_island in redis://127.0.0.1:",
        "(materialize.bird_on_island, completed ",
        "Delta table   /lake/bird_on_island @ version 3",
        "verdict       1 of 2 rules held; rows that broke one: 2",
        "as version 3: 10 rows published, 2 quarantined",
        "source file   /landing/sightings.csv @ 2  columns: seen_at",
        "(land.sightings) from /sightings.zip @ 1",
    ):
        assert printed.count(step) == 1, printed


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (["diet", "bird_weight:nickname", "bird_id=1"], "The row of bird_weight__nickname was pushed"),
        (["diet", "bird_weight:nickname", "bird_id=404"], "(NOT_FOUND): the online store has no row for bird_id=404"),
        (["diet", "bird_weight:nickname", "bird_id=one"], "bird_id is of type INT64"),
        (["diet", "bird_weight:nickname"], "'bird_id' (INT64) is missing"),
        (
            ["diet", "bird_wait:nickname", "bird_id=1"],
            "bird_wait:nickname is no feature of diet. Write view:feature; views:",
        ),
        (["diet", "bird_weight:nicknam", "bird_id=1"], "is no feature of diet. Features: bird_weight:"),
        (["calendar", "season:month_name"], "The row of season__month_name was pushed"),
        (
            ["scaled", "bird_scaled:weight_scaled", "bird_id=1", "factor=2"],
            "explain bird_weight:weight_avg_1d of the same",
        ),
        (
            ["scaled", "bird_weight:weight_avg_1d", "bird_id=1", "factor=2"],
            "The row of bird_weight__weight_avg_1d was pushed",
        ),
    ],
)
def test_what_cannot_be_explained_is_said_in_a_line(command: CliRunner, arguments: list[str], named: str) -> None:
    """A pushed row, a missing one, a wrong key, an unknown feature and a computed one each end with what is the matter."""
    done = command.invoke(cli, ["explain", *arguments])
    assert done.exit_code != 0
    assert named in f"{done.output} {done.exception}", done.output


def test_ask_takes_whole_numbers_and_request_data(command: CliRunner, capfd: pytest.CaptureFixture[str]) -> None:
    """`pedigree ask` of a service with an on-demand view shows what is computed from a stored value and request data."""
    done = command.invoke(cli, ["ask", "scaled", "bird_id=1", "factor=2"])
    assert done.exit_code == 0, done.output
    [line] = [line for line in capfd.readouterr().out.splitlines() if "bird_scaled__weight_scaled" in line]
    assert line.split()[1:3] == ["5", "PRESENT"]


@pytest.mark.parametrize(
    "asked", [["ask", "diet", "bird_id=1"], ["explain", "diet", "bird_weight:nickname", "bird_id=1"]]
)
def test_a_server_that_is_not_there_may_be_asked_later(
    command: CliRunner, monkeypatch: pytest.MonkeyPatch, asked: list[str]
) -> None:
    """The message says how to start it, and the error is one that a scheduler may try again on."""
    monkeypatch.setenv("PEDIGREE_SERVING_ADDRESS", "127.0.0.1:9")
    done = command.invoke(cli, asked)
    assert "No server answers at 127.0.0.1:9. Start it with `pedigree serve`" in str(done.exception)
    assert getattr(done.exception, "transient", None) is True
