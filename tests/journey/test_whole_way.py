"""The whole way of a row: from the lines of a CSV file to a served number, and back."""

from __future__ import annotations

import io
import re
import zipfile
from datetime import UTC, timedelta

import pandas as pd
import pytest
from pydantic import SecretStr

from pedigree.cli.online.explain import explain
from pedigree.cli.online.online_client import Served, ask
from pedigree.lineage.client.client import LineageClient
from pedigree.lineage.settings import LineageSettings

from ..watched_clock import watched, zones
from .conftest import Workspace

pytestmark = pytest.mark.slow  # they look at what one run of the demo left

FEATURE = "carrier_delays__arrival_delay_avg_7d"


@pytest.fixture(scope="module")
def entities(printed: str) -> dict[str, str]:
    """The flight that the demo asked about."""
    words = re.search(r"pedigree explain late_arrival plane_usage__seats (.*)", printed).group(1).split()  # type: ignore[union-attr]
    return dict(word.split("=", 1) for word in words)


@pytest.fixture(scope="module")
def value(workspace: Workspace, entities: dict[str, str]) -> Served:
    return ask(workspace.address, "late_arrival", entities)[FEATURE]


def test_a_served_value_is_the_mean_of_the_files_own_lines(
    workspace: Workspace, value: Served, entities: dict[str, str]
) -> None:
    """Averaged by hand over the landed CSV, the arrival delays of the carrier's flights of seven days give the number.

    A flight belongs to the hour after the clock at its destination showed its arrival, which is watched minute by minute.
    """
    assert value.event_at is not None
    landing = workspace.root / ".pedigree" / "landing"
    flights, zone_of = pd.read_csv(landing / "flights.csv"), zones((landing / "airports.csv").read_bytes())
    is_ours = (flights["carrier"] == entities["carrier"]) & (flights["month"] == 12) & flights["arr_delay"].notna()
    end = value.event_at.replace(tzinfo=None)
    delays = []
    for flight in flights[is_ours].itertuples():
        known_at = watched(flight, zone_of)["known_at"]
        if end - timedelta(days=7) <= known_at < end:
            delays.append(float(str(flight.arr_delay)))
    assert len(delays) > 700
    assert value.value == pytest.approx(sum(delays) / len(delays), rel=1e-12)


def test_the_way_back_ends_at_the_file_in_the_package(
    workspace: Workspace, value: Served, entities: dict[str, str]
) -> None:
    """Value → view → materialize run → Delta table and version → verdict → build run → source file → the package's archive."""
    found = explain(workspace.address, "late_arrival", FEATURE, entities)
    settings = LineageSettings(
        workspace.lineage_url, "pedigree", workspace.root / "outbox", SecretStr("sqlite://"), None
    )
    assert (found.value.double_val, found.event_time.ToDatetime(tzinfo=UTC)) == (value.value, value.event_at)
    assert found.stored_in.name == "flights.carrier_delays"
    assert (found.loaded.job, found.loaded.state) == ("materialize.carrier_delays", "COMPLETED")
    assert (found.load.table.rpartition("/")[2], found.load.version) == ("carrier_delays", 1)
    assert (found.built.job, found.built.state, found.built_version) == ("build.carrier_delays", "COMPLETED", 0)
    assert {result.rule for result in found.verdict.results} >= {
        "carrier_is_present",
        "mean_arrival_delay_is_plausible",
    }
    assert all(result.held for result in found.verdict.results)
    source = next(each for each in found.sources if each.name.endswith("/landing/flights.csv"))
    assert list(source.columns) == ["arr_delay"]
    archive = source.landed_from[0].name
    with zipfile.ZipFile(archive) as packed:
        lines = len(pd.read_csv(io.BytesIO(packed.read("flights.csv")), usecols=["flight"]))
    with LineageClient(settings) as lineage:
        assert lines == lineage.run(found.built_by).notes["rows"]["events"] == 336_776
