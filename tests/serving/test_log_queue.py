"""The log of a server whose lines nobody reads."""

from __future__ import annotations

import json
import subprocess
import sys

FLOOD = """
import logging, sys
from pedigree.serving.telemetry import logs
logs.configure("json")
for number in range(30_000):
    logging.getLogger("flood").info("line %d", number)
print("done", flush=True)
sys.stdin.readline()
logging.getLogger("flood").info("read again")
"""


def test_a_log_that_nobody_reads_stops_nothing_and_what_was_dropped_is_counted() -> None:
    """The pipe is full after some hundred lines, and all calls return. Once it is read the log goes on, and each line is there or
    counted.
    """
    with subprocess.Popen(
        [sys.executable, "-c", FLOOD], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        assert process.stderr is not None
        assert process.stdout.readline() == "done\n"
        lines = [json.loads(process.stderr.readline())["message"] for _ in range(9000)]
        process.stdin.write("\n")
        process.stdin.close()
        lines += [json.loads(line)["message"] for line in process.stderr]
    written = [int(line.removeprefix("line ")) for line in lines if line.startswith("line ")]
    lost = [int(line.split()[0]) for line in lines if "lines of the log were dropped" in line]
    assert written == sorted(set(written))
    assert len(written) + sum(lost) == 30_000
    assert len(written) >= 10_000
    assert sum(lost) > 0
    assert lines[-1] == "read again"


def test_a_process_ends_though_nobody_reads_its_log() -> None:
    """It waits a moment for its lines, and then ends without them."""
    with subprocess.Popen(
        [sys.executable, "-c", FLOOD], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stdin is not None
        process.stdin.close()
        assert process.wait(60) == 0
