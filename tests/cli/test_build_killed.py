"""`pedigree build` killed, run twice at once, and on a full disk: the table is always one whole state."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import psutil
import pytest
import yaml
from deltalake import DeltaTable
from deltalake.exceptions import TableNotFoundError

from pedigree.cli.init import initialise

from ..distributions import ROOT

pytestmark = pytest.mark.slow

KILLS = int(os.environ.get("PEDIGREE_KILLS", "1"))
"""How many kills; thirty take about five minutes on two idle cores."""

TABLE = "customer_orders"
DAYS = ("2026-03-08", "2026-03-09", "2026-03-10")
QUICK = {
    "spark.sql.shuffle.partitions": "1",
    "spark.databricks.delta.snapshotPartitions": "1",
    "spark.driver.memory": "512m",
    "spark.driver.extraJavaOptions": "-XX:TieredStopAtLevel=1 -XX:+UseSerialGC -XX:-UsePerfData",
}
"""A session that is soon up; with performance data Java itself would stumble over a full disk."""

Rows = list[tuple[object, ...]]
State = tuple[Rows | None, Rows | None]


@dataclass
class Place:
    """A repository as `pedigree init` writes it, with a lake and an outbox of its own, and the command that builds in it."""

    folder: Path

    def __post_init__(self) -> None:
        initialise(self.folder)
        path = self.folder / "feature_store.yaml"
        content = yaml.safe_load(path.read_text())
        content["offline_store"]["spark_conf"] = QUICK
        path.write_text(yaml.safe_dump(content))

    def deliver(self, orders: str) -> None:
        """Another state of the orders' file, in one step."""
        beside = self.folder / "data" / "orders.beside"
        beside.write_text(orders)
        beside.replace(self.folder / "data" / "orders.csv")

    @property
    def environment(self) -> Mapping[str, str]:
        """What the command is started with."""
        return {
            **os.environ,
            "PEDIGREE_FEATURE_STORE_YAML": str(self.folder / "feature_store.yaml"),
            "PEDIGREE_LAKE": (self.folder / "lake").as_uri(),
            "PEDIGREE_LANDING": (self.folder / "data").as_uri(),
            "PEDIGREE_JARS": str(ROOT / ".pedigree" / "jars"),
            "PEDIGREE_LINEAGE_OUTBOX": str(self.folder / "outbox"),
            "PEDIGREE_LINEAGE_URL": "http://127.0.0.1:9",
            "PEDIGREE_SPARK_MASTER": "local[1]",
        }

    def start(self, day: int = 0) -> subprocess.Popen[str]:
        """Begin to build one day."""
        command = ("build", TABLE, "--start", DAYS[day], "--end", DAYS[day + 1])
        return subprocess.Popen(
            (str(Path(sys.executable).with_name("pedigree")), *command),
            cwd=self.folder,
            env=dict(self.environment),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )

    def build(self, day: int = 0) -> float:
        """Build one day to its end; returns how many seconds it took."""
        began, process = time.monotonic(), self.start(day)
        out, _ = process.communicate(timeout=600)
        assert process.returncode == 0, out
        return time.monotonic() - began

    def rows(self, name: str = TABLE) -> Rows | None:
        """What a table holds, but for when it was learnt and by whom; None where there is no table."""
        try:
            table = DeltaTable(str(self.folder / "lake" / name)).to_pyarrow_table()
        except TableNotFoundError:
            return None
        kept = [column for column in table.column_names if column not in ("created_at", "run_id")]
        return sorted((tuple(row[column] for column in kept) for row in table.to_pylist()), key=repr)

    def state(self) -> State:
        """The table and its quarantine."""
        return self.rows(), self.rows(f"quarantine/{TABLE}")


@dataclass(frozen=True)
class Model:
    """What a build of each state of the source leaves that nobody disturbs, where, and how many seconds one takes."""

    place: Place
    states: list[State]
    seconds: float


def fill_up(process: subprocess.Popen[str], lock: Path, most_bytes: int) -> None:
    """From when a build begins to publish, its Java cannot write longer files: a write beyond is an error, as on a full disk."""
    while not lock.exists() and process.poll() is None:
        time.sleep(0.005)
    for child in psutil.Process(process.pid).children(recursive=True):
        if child.name() == "java":
            child.rlimit(psutil.RLIMIT_FSIZE, (most_bytes, most_bytes))


def orders(seed: int) -> str:
    """Orders of two days of March by sixty customers, of whom one is charged less than nothing."""
    rng, lines = random.Random(seed), ["order_id,customer,amount,ordered_at"]
    for number in range(600):
        customer, day, hour = rng.randrange(60), rng.choice((8, 9)), rng.randrange(24)
        amount = -5.0 if customer == 0 else round(rng.uniform(1, 200), 2)
        lines.append(f"{number},C{customer},{amount},2026-03-{day:02}T{hour:02}:15:00Z")
    return "\n".join(lines) + "\n"


ORDERS = (orders(1), orders(2))


def kill(process: subprocess.Popen[str]) -> None:
    """End a command and all that it started at once."""
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.communicate()


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Model:
    place, found = Place(tmp_path_factory.mktemp("clean") / "shop"), []
    for content in ORDERS:
        place.deliver(content)
        seconds = place.build()
        found.append(place.state())
    [(first, rejected), (second, _)] = found
    assert first and second and rejected and first != second
    return Model(place, found, seconds)


def test_a_build_killed_at_random_moments_leaves_one_whole_state(tmp_path: Path, model: Model) -> None:
    """Two states of a source are built in turn, each build killed at some moment of its life: the table is always that of one
    or of the other; a build that may end then leaves its own.
    """
    place, rng, seen = Place(tmp_path / "killed"), random.Random(5), []
    moments = [(number + rng.random()) / KILLS * model.seconds for number in range(KILLS)]
    rng.shuffle(moments)
    states: list[Rows | None] = [None, *(rows for rows, _ in model.states)]
    for number, moment in enumerate(moments):
        place.deliver(ORDERS[number % 2])
        process = place.start()
        with suppress(subprocess.TimeoutExpired):
            process.communicate(timeout=moment)
        kill(process)
        assert place.rows() in states, f"killed after {moment:.1f} of {model.seconds:.1f} s"
        seen.append((round(moment, 1), states.index(place.rows())))
    print(f"a build takes {model.seconds:.1f} s; the state after a kill at:", seen)
    place.deliver(ORDERS[1])
    place.build()
    assert place.state() == model.states[1]


def test_a_build_on_a_full_disk_changes_nothing(model: Model) -> None:
    """Where rejected rows, or the table's, cannot be written the build ends with an error and the table stays as it was."""
    place = model.place
    place.deliver(ORDERS[0])
    lock = place.folder / "lake" / f".{TABLE}.lock"
    for what, most_bytes in (("quarantine/", 1_000), ("", 5_000)):
        lock.unlink()
        process = place.start()
        fill_up(process, lock, most_bytes)
        out, _ = process.communicate(timeout=600)
        assert process.returncode == os.EX_TEMPFAIL, out
        assert f"{what}{TABLE} could not be written to: " in out
        assert "File too large" in out and "Traceback" not in out
        assert place.rows() == model.states[1][0]
    place.build()
    assert place.state() == model.states[0]


def test_two_builds_of_one_table_at_once_lose_nothing(tmp_path: Path, model: Model) -> None:
    """Two processes build two days of a table that is not there yet: each ends well, and the table has both days whole."""
    place = Place(tmp_path / "together")
    place.deliver(ORDERS[0])
    processes = [place.start(day) for day in (0, 1)]
    for process in processes:
        out, _ = process.communicate(timeout=600)
        assert process.returncode == 0, out
    for found, first in zip(place.state(), model.states[0], strict=True):
        assert found and first
        assert all(row in found for row in first)
        assert len(found) > len(first)
