"""A slice on its way into a real Delta table."""

from __future__ import annotations

import io
import json
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pandas as pd
import pytest
from delta.tables import DeltaTable
from pyspark.sql import DataFrame

from pedigree.features.events import Inputs
from pedigree.features.table import Table
from pedigree.jobs.build.build import Jobs, build
from pedigree.jobs.build.row_reconciliation import EventPlace
from pedigree.jobs.delta_tables import current_version
from pedigree.jobs.errors import (
    QualityGateFailedError,
    RowsUnaccountedError,
    SourceBrokenError,
    SourceMissingError,
)
from pedigree.jobs.gate_mark import CommitMark
from pedigree.jobs.time_slice import TimeSlice

from .sample import MARCH, sample

MIDDLE = datetime(2013, 3, 6, tzinfo=UTC)


def contents(table: str, jobs: Jobs) -> pd.DataFrame:
    """A table's rows without their created time, in the order of its keys."""
    rows: pd.DataFrame = (
        jobs.spark.read.format("delta").load(jobs.repository.lake.table(table)).drop("created_at").toPandas()
    )
    return rows.sort_values([*jobs.repository.tables[table].view.join_keys, "event_at"], ignore_index=True)


def quarantined(table: str, jobs: Jobs) -> pd.DataFrame:
    rows: pd.DataFrame = jobs.spark.read.format("delta").load(jobs.repository.lake.quarantine(table)).toPandas()
    return rows


def spoil_delays(jobs: Jobs, file: str = "flights.csv") -> None:
    """The landed delays become seconds."""
    path = Path(jobs.repository.settings.landing.removeprefix("file://")) / file
    flights = pd.read_csv(path, dtype=str, keep_default_na=False)
    for column in ("dep_delay", "arr_delay"):
        flights[column] = [value if value == "NA" else str(float(value) * 60) for value in flights[column]]
    flights.to_csv(path, index=False)


@pytest.mark.parametrize(
    "table",
    [
        "origin_weather",
        *(pytest.param(name, marks=pytest.mark.slow) for name in ("carrier_delays", "plane_usage", "route_delays")),
    ],
)
def test_publishing_a_slice_twice_leaves_one_copy(jobs: Jobs, table: str) -> None:
    """The same slice again replaces itself: equal rows, one more version."""
    first = build(jobs.repository.tables[table], MARCH, jobs)
    before = contents(table, jobs)
    second = build(jobs.repository.tables[table], MARCH, jobs)
    pd.testing.assert_frame_equal(contents(table, jobs), before)
    assert (first.version, second.version) == (0, 1)
    assert len(before) == first.rows.published > 0


@pytest.mark.parametrize("table", ["origin_weather", pytest.param("plane_usage", marks=pytest.mark.slow)])
def test_two_slices_equal_one(jobs: Jobs, table: str) -> None:
    """A slice looks back into the time before it, so building in parts gives what building at once gives."""
    build(jobs.repository.tables[table], TimeSlice(MARCH.start_at, MIDDLE), jobs)
    build(jobs.repository.tables[table], TimeSlice(MIDDLE, MARCH.end_at), jobs)
    in_parts = contents(table, jobs)
    build(jobs.repository.tables[table], MARCH, jobs)
    pd.testing.assert_frame_equal(contents(table, jobs), in_parts)


@pytest.mark.slow
def test_a_part_of_a_slice_replaces_only_itself(jobs: Jobs) -> None:
    """Two days built again within ten leave the other eight as they were, and only their own rows are counted."""
    table = jobs.repository.tables["origin_weather"]
    build(table, MARCH, jobs)
    before = contents(table.name, jobs)
    days = TimeSlice(datetime(2013, 3, 4, tzinfo=UTC), MIDDLE)
    again = build(table, days, jobs)
    pd.testing.assert_frame_equal(contents(table.name, jobs), before)
    within = before["event_at"].between(days.start_at.replace(tzinfo=None), days.end_at.replace(tzinfo=None), "left")
    assert again.rows.published == within.sum() > 100


def test_every_row_is_accounted_for(jobs: Jobs) -> None:
    """Events by place add up to the source's rows; computed rows are published or quarantined."""
    built = build(jobs.repository.tables["plane_usage"], TimeSlice(MIDDLE, MARCH.end_at), jobs)
    flights = pd.read_csv(io.BytesIO(sample("flights")))
    events = built.rows.events
    assert events.total == len(flights)
    assert events.at(EventPlace.LOOKBACK) > 0
    assert events.at(EventPlace.LATER) > 0
    assert events.used + sum(events.set_aside.values()) == events.at(EventPlace.SLICE)
    assert set(events.set_aside) == {"cancelled"}
    assert built.rows.computed == built.rows.published + built.rows.quarantined
    assert built.rows.published == len(contents("plane_usage", jobs))
    assert built.rows.quarantined == len(quarantined("plane_usage", jobs))


def test_a_broken_row_is_kept_with_the_names_of_its_rules(jobs: Jobs) -> None:
    """One gust that no anemometer measures is refused by name; the rest of the slice is published."""
    path = Path(jobs.repository.settings.landing.removeprefix("file://")) / "weather.csv"
    weather = pd.read_csv(path, dtype=str, keep_default_na=False)
    weather.loc[weather.index[100], "wind_speed"] = "1048.36"
    weather.to_csv(path, index=False)
    built = build(jobs.repository.tables["origin_weather"], MARCH, jobs)
    kept = quarantined("origin_weather", jobs)
    assert len(kept) == built.rows.quarantined == 6
    assert {tuple(rules) for rules in kept["broken_rules"]} == {("wind_speed_max_6h_is_below_a_tornado",)}
    assert set(kept["run_id"]) == {built.run_id}
    assert built.rows.published == len(contents("origin_weather", jobs)) > 600
    assert contents("origin_weather", jobs)["wind_speed_max_6h"].max() < 200


def test_a_bad_slice_is_stopped_and_nothing_of_it_is_lost(jobs: Jobs) -> None:
    """The table keeps its version and its rows; every row of the slice is in quarantine; the reason is in the error."""
    table = jobs.repository.tables["carrier_delays"]
    good = build(table, MARCH, jobs)
    before = contents(table.name, jobs)
    spoil_delays(jobs)
    with pytest.raises(QualityGateFailedError) as stopped:
        build(table, MARCH, jobs)
    assert current_version(jobs.spark, jobs.repository.lake.table(table.name)) == good.version == stopped.value.version
    pd.testing.assert_frame_equal(contents(table.name, jobs), before)
    kept = quarantined(table.name, jobs)
    assert len(kept) == stopped.value.rows > 1000
    assert not kept["published"].any()
    assert any("arrival_delay_avg_7d_is_plausible" in rules for rules in kept["broken_rules"])
    assert "arrival_delay_avg_7d_is_plausible" in str(stopped.value)
    assert "stays at version 0" in str(stopped.value)


def test_a_good_slice_leaves_the_rows_of_a_stopped_one_in_quarantine(jobs: Jobs) -> None:
    """What the gate stopped stays to be looked at after the slice was mended and published."""
    table = jobs.repository.tables["carrier_delays"]
    spoil_delays(jobs)
    with pytest.raises(QualityGateFailedError, match="does not exist yet"):
        build(table, MARCH, jobs)
    stopped = len(quarantined(table.name, jobs))
    Path(jobs.repository.settings.landing.removeprefix("file://"), "flights.csv").write_bytes(sample("flights"))
    assert build(table, MARCH, jobs).version == 0
    assert len(quarantined(table.name, jobs)) == stopped > 0


def test_a_missing_source_is_named_and_nothing_is_written(jobs: Jobs) -> None:
    """A source that has not come yet is a transient error with its place in the message."""
    Path(jobs.repository.settings.landing.removeprefix("file://"), "flights.csv").unlink()
    with pytest.raises(SourceMissingError, match=r"flights\.csv") as missing:
        build(jobs.repository.tables["carrier_delays"], MARCH, jobs)
    assert missing.value.transient
    assert current_version(jobs.spark, jobs.repository.lake.table("carrier_delays")) is None


@pytest.mark.parametrize(
    ("found", "planted"),
    [(",dep_delay,", ",delay,"), ("\n2013,", "\nlast year,")],
    ids=["a renamed column", "a word for a number"],
)
def test_a_broken_source_is_told_by_its_place(jobs: Jobs, found: str, planted: str) -> None:
    """A header or a value that is not what the schema says stops the build with the file's name and the reason."""
    path = Path(jobs.repository.settings.landing.removeprefix("file://"), "flights.csv")
    path.write_text(path.read_text().replace(found, planted, 1))
    with pytest.raises(SourceBrokenError, match=r"flights\.csv cannot be read"):
        build(jobs.repository.tables["carrier_delays"], MARCH, jobs)
    assert current_version(jobs.spark, jobs.repository.lake.table("carrier_delays")) is None


def test_a_transform_that_drops_facts_is_found_out(jobs: Jobs) -> None:
    """Events that do not add up to the source's rows stop the build before anything is published."""
    table = jobs.repository.tables["origin_weather"]
    assert isinstance(table, Table)

    def forgetful(inputs: Inputs) -> DataFrame:
        return table.events.derive(inputs).where("origin <> 'JFK'")

    broken = replace(table, events=replace(table.events, derive=forgetful))
    with pytest.raises(RowsUnaccountedError, match="the events have"):
        build(broken, MARCH, jobs)
    assert current_version(jobs.spark, jobs.repository.lake.table(table.name)) is None


def test_the_commit_names_the_run_that_made_it(jobs: Jobs) -> None:
    """Delta's own history leads to the run."""
    built = build(jobs.repository.tables["origin_weather"], MARCH, jobs)
    commit = DeltaTable.forPath(jobs.spark, jobs.repository.lake.table("origin_weather")).history(1).collect()[0]
    mark = CommitMark.read(commit["userMetadata"])
    assert mark == CommitMark(built.run_id, "origin_weather", "passed", built.rows.published)


def test_a_failed_build_is_recorded_with_its_cause_and_its_inputs(jobs: Jobs, outbox: Path) -> None:
    """Lineage hears FAIL with the message, the versions read, and the quarantine written; never COMPLETE."""
    spoil_delays(jobs)
    with pytest.raises(QualityGateFailedError):
        build(jobs.repository.tables["carrier_delays"], MARCH, jobs)
    events = [json.loads(path.read_text()) for path in sorted(outbox.glob("*.json"))]
    assert [event["eventType"] for event in events] == ["START", "FAIL"]
    failed = events[-1]
    assert "stopped this slice" in failed["run"]["facets"]["errorMessage"]["message"]
    assert {Path(dataset["name"]).name for dataset in failed["inputs"]} == {"flights.csv", "airports.csv"}
    assert all(dataset["facets"]["version"]["datasetVersion"] for dataset in failed["inputs"])
    assert [dataset["name"].split("/")[-2] for dataset in failed["outputs"]] == ["quarantine"]
