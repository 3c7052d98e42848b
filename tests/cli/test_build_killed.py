"""`pedigree build` killed, run twice at once, and on a full disk: the table is always one whole state."""

from __future__ import annotations

import os
import random
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import pytest
from deltalake import DeltaTable
from deltalake.exceptions import TableNotFoundError

from feature_repo.landing import packed_file, unpacked
from feature_repo.sources import SOURCES

pytestmark = pytest.mark.slow
ROOT = Path(__file__).resolve().parents[2]
KILLS = int(os.environ.get("PEDIGREE_KILLS", "3"))
"""How many kills; thirty take about ten minutes on two idle cores."""

TABLE = "carrier_delays"
DAYS = ("2013-03-08", "2013-03-09", "2013-03-10")
Rows = list[tuple[object, ...]]
State = tuple[Rows | None, Rows | None]


@dataclass
class Place:
    """A lake, an outbox and a landing place of a test's own, and the command that builds in them."""

    folder: Path
    flights: bytes = field(default_factory=lambda: days_of_march())

    def __post_init__(self) -> None:
        self.landing.mkdir(parents=True)
        for source in SOURCES:
            (self.landing / source.file).write_bytes(unpacked(packed_file(source)))
        self.deliver(self.flights)

    @property
    def landing(self) -> Path:
        return self.folder / "landing"

    def deliver(self, flights: bytes) -> None:
        """Another state of the flights' file, in one step."""
        beside = self.landing / "flights.beside"
        beside.write_bytes(flights)
        beside.replace(self.landing / "flights.csv")

    @property
    def environment(self) -> Mapping[str, str]:
        """What the command is started with."""
        return {
            **os.environ,
            "PEDIGREE_LAKE": (self.folder / "lake").as_uri(),
            "PEDIGREE_LANDING": self.landing.as_uri(),
            "PEDIGREE_LINEAGE_OUTBOX": str(self.folder / "outbox"),
            "PEDIGREE_LINEAGE_URL": "http://127.0.0.1:9",
            "PEDIGREE_SPARK_MASTER": "local[1]",
        }

    def start(self, day: int = 0, *, most_bytes: int | None = None) -> subprocess.Popen[str]:
        """Begin to build one day."""
        command = ("build", TABLE, "--start", DAYS[day], "--end", DAYS[day + 1])
        return subprocess.Popen(
            (str(Path(sys.executable).with_name("pedigree")), *command),
            cwd=ROOT,
            env=dict(self.environment),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
            preexec_fn=None if most_bytes is None else partial(limited, most_bytes),
        )

    def build(self, day: int = 0) -> None:
        """Build one day to its end."""
        process = self.start(day)
        out, _ = process.communicate(timeout=600)
        assert process.returncode == 0, out

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


def limited(most_bytes: int) -> None:
    """No file of this process may be longer; a write beyond is an error, as on a full disk."""
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (most_bytes, most_bytes))


def days_of_march() -> bytes:
    """The flights of the first ten days of March."""
    whole = next(unpacked(packed_file(source)) for source in SOURCES if source.name == "flights")
    header, *lines = whole.splitlines(keepends=True)
    return header + b"".join(
        line for line in lines if line.startswith(tuple(b"2013,3,%d," % day for day in range(1, 11)))
    )


def kill(process: subprocess.Popen[str]) -> None:
    """End a command and all that it started at once."""
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.communicate()


@pytest.fixture(scope="module")
def states() -> tuple[bytes, bytes]:
    """Two states of the flights' file."""
    flights = days_of_march()
    return flights, flights.replace(b",UA,", b",AA,")


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory, states: tuple[bytes, bytes]) -> list[State]:
    """What a build of each state leaves that nobody disturbs."""
    place, found = Place(tmp_path_factory.mktemp("clean")), []
    for state in states:
        place.deliver(state)
        place.build()
        found.append(place.state())
    assert found[0] != found[1]
    return found


def test_a_build_killed_at_random_moments_leaves_one_whole_state(
    tmp_path: Path, states: tuple[bytes, bytes], models: list[State]
) -> None:
    """Two states of a source are built in turn, each build killed at some moment: the table is always that of one or of the
    other; a build that may end then leaves its own. On a full disk it ends with an error and changes nothing.
    """
    place, rng, seen = Place(tmp_path / "killed"), random.Random(5), []
    rows = [table for table, _ in models]
    seconds = 60.0
    for number in range(KILLS):
        place.deliver(states[number % 2])
        began = time.monotonic()
        process = place.start()
        with suppress(subprocess.TimeoutExpired):
            process.communicate(timeout=rng.uniform(0.2, 1.0) * seconds)
            seconds = time.monotonic() - began  # it was quicker than we were
        kill(process)
        assert place.rows() in (None, *rows), f"kill {number}"
        seen.append(None if place.rows() is None else rows.index(place.rows()))
    print("states after kills:", seen)
    before = place.rows()
    place.deliver(states[1])
    full = place.start(most_bytes=20_000)
    out, _ = full.communicate(timeout=900)
    assert full.returncode != 0, out
    assert place.rows() == before
    place.build()
    assert place.state() == models[1]


def test_two_builds_of_one_table_at_once_lose_nothing(tmp_path: Path, models: list[State]) -> None:
    """Two processes build two days of a table that is not there yet: each ends well, and the table has both days whole."""
    place = Place(tmp_path / "together")
    processes = [place.start(day) for day in (0, 1)]
    for process in processes:
        out, _ = process.communicate(timeout=900)
        assert process.returncode == 0, out
    rows, quarantine = place.state()
    assert rows is not None
    assert quarantine is not None
    assert set(models[0][0] or ()) < set(rows)
    assert set(models[0][1] or ()) <= set(quarantine)
