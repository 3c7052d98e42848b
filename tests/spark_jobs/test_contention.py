"""Several who write one table at once: each commit is there in the end, or its writer is told that it is not."""

from __future__ import annotations

import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path

import pytest
from pyspark.sql import SparkSession
from pyspark.sql import functions as F

from pedigree.jobs import delta_tables
from pedigree.jobs.contention import contended, exclusive

HOLD = """
import sys, time
from pedigree.jobs.contention import exclusive
with exclusive(sys.argv[1]):
    print("held", flush=True)
    time.sleep(600)
"""


def at_once(work: Callable[[int], None], number: int) -> list[BaseException]:
    """Do something in several threads at once; returns what they raised."""
    raised: list[BaseException] = []

    def run(which: int) -> None:
        try:
            work(which)
        except BaseException as error:
            raised.append(error)

    threads = [threading.Thread(target=run, args=(which,)) for which in range(number)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return raised


@pytest.mark.parametrize("is_local", [True, False], ids=["one after the other", "again where another was quicker"])
def test_slices_that_are_written_at_once_are_all_there(spark: SparkSession, tmp_path: Path, *, is_local: bool) -> None:
    """Three who replace a slice each of a table that is not there yet: none fails, and each slice has its rows, once."""
    uri = (tmp_path / "table").as_uri()

    def replace(which: int) -> None:
        rows = spark.range(5).select(F.lit(which).alias("slice"), F.col("id").alias("number"))
        with exclusive(uri) if is_local else nullcontext():
            contended(
                lambda: delta_tables.replace(rows, uri, predicate=f"slice = {which}", run_id=f"run-{which}"), "table"
            )

    assert at_once(replace, 3) == []
    found = sorted(tuple(row) for row in spark.read.format("delta").load(uri).collect())
    assert found == [(which, number) for which in range(3) for number in range(5)]


def test_a_lock_ends_with_its_process(tmp_path: Path) -> None:
    """Another process that writes a table is waited for; one that was killed while it wrote is in nobody's way."""
    uri = (tmp_path / "table").as_uri()
    holder = subprocess.Popen([sys.executable, "-c", HOLD, uri], stdout=subprocess.PIPE, text=True)
    assert holder.stdout is not None
    assert holder.stdout.readline() == "held\n"
    entered = threading.Event()

    def enter() -> None:
        with exclusive(uri):
            entered.set()

    thread = threading.Thread(target=enter)
    thread.start()
    assert not entered.wait(0.5)
    holder.send_signal(signal.SIGKILL)
    assert entered.wait(10)
    thread.join()
    holder.communicate()
