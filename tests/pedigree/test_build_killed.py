"""`pedigree build` killed, run twice at once, and on a full disk: the table is always one whole state, and the next build ends well."""

from __future__ import annotations

import os
import random
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import pytest
from deltalake import DeltaTable
from deltalake.exceptions import TableNotFoundError

from spark_jobs.landing import packed_file, unpacked
from spark_jobs.sources import SOURCES

pytestmark = pytest.mark.slow
ROOT = Path(__file__).resolve().parents[2]
KILLS = int(os.environ.get("PEDIGREE_KILLS", "4"))
"""How many kills; thirty take about twelve minutes on two cores."""

TABLE = "carrier_delays"
DAYS = ("2013-03-08", "2013-03-09", "2013-03-10")
Rows = list[tuple[object, ...]]


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

    def state(self) -> tuple[Rows | None, Rows | None]:
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
    return header + b"".join(line for line in lines if line.startswith(tuple(b"2013,3,%d," % day for day in range(1, 11))))


def kill(process: subprocess.Popen[str]) -> None:
    """End a command and all that it started at once."""
    os.killpg(process.pid, signal.SIGKILL)
    process.communicate()


def test_a_build_killed_at_random_moments_leaves_one_whole_state(tmp_path: Path) -> None:
    """Two states of a source are built in turn, each build killed at some moment: the table and its quarantine are always
    those of one state or of the other; a build that may end leaves its own, and the day after is built upon it."""
    flights = days_of_march()
    states = (flights, flights.replace(b",UA,", b",AA,"))
    models, seconds = [], 0.0
    for number, state in enumerate(states):
        clean = Place(tmp_path / f"clean{number}", state)
        began = time.monotonic()
        clean.build()
        seconds = time.monotonic() - began
        models.append(clean.rows())
        quarantines = clean.rows(f"quarantine/{TABLE}")
        clean.build(day=1)
        models_after = clean.rows()
    assert models[0] != models[1]
    place, rng, seen = Place(tmp_path / "killed"), random.Random(5), set()
    for number in range(KILLS):
        place.deliver(states[number % 2])
        process = place.start()
        time.sleep(rng.uniform(0.2, 1.0) * seconds)
        kill(process)
        assert place.rows() in (None, *models), f"kill {number}"
        seen.add(None if place.rows() is None else models.index(place.rows()))
    place.deliver(states[1])
    place.build()
    assert place.state() == (models[1], quarantines)
    place.build(day=1)
    assert place.rows() == models_after
    print("states after kills:", seen)  # noqa: T201 - for whoever runs the full count


def test_two_builds_of_one_table_at_once_lose_nothing(tmp_path: Path) -> None:
    """Two processes build two days of a table that is not there yet, and then both the same day: each ends well, and the table
    has what one after the other leaves."""
    clean = Place(tmp_path / "clean")
    clean.build()
    clean.build(day=1)
    place = Place(tmp_path / "together")
    for days in ((0, 1), (1, 1)):
        processes = [place.start(day) for day in days]
        for process in processes:
            out, _ = process.communicate(timeout=900)
            assert process.returncode == 0, out
    assert place.state() == clean.state()


def test_a_full_disk_ends_a_build_and_leaves_the_table_as_it_was(tmp_path: Path) -> None:
    """No file may grow beyond a few kilobytes: the build ends with an error and the table is as before; with room it works."""
    flights = days_of_march()
    place = Place(tmp_path / "full", flights)
    place.build()
    before = place.state()
    place.deliver(flights.replace(b",UA,", b",AA,"))
    process = place.start(most_bytes=20_000)
    out, _ = process.communicate(timeout=600)
    assert process.returncode != 0, out
    assert place.state() == before
    place.build()
    assert place.state() != before
