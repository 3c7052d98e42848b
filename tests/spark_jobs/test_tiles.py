"""Tiles that are kept: slices that look back on them against one build over all events."""

from __future__ import annotations

import itertools
import random
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pandas as pd
import pytest
from feast import Entity, FeatureView, Field, ValueType
from feast.types import Array, String
from hypothesis import given
from hypothesis import strategies as st
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from pedigree.features.columns import EVENT_AT
from pedigree.features.contract import contract
from pedigree.features.delta_source import delta_table
from pedigree.features.events import KNOWN_AT, EventSet
from pedigree.features.sources import Source
from pedigree.features.table import Table
from pedigree.features.windows import DAY, HOUR, Aggregation, Kind, Operation, Windows
from pedigree.jobs.intervals import Interval, joined, whole
from pedigree.jobs.time_slice import TimeSlice
from pedigree.jobs.windows.lookback import Coverage, look_back
from pedigree.jobs.windows.tile_plan import TilePlan
from pedigree.jobs.windows.tile_store import TileStore
from pedigree.jobs.windows.tiles import gathered, row_tiles
from pedigree.jobs.windows.window_features import featured
from pedigree.jobs.windows.window_frames import kept_unit

START = datetime(2013, 3, 1, tzinfo=UTC)
DAYS = 24
EVERYTHING = TimeSlice(START, START + DAYS * DAY)
WINDOWS = Windows(
    keys=("carrier",),
    every=HOUR,
    features=(
        Aggregation("delay", Operation.COUNT, DAY),
        *(
            Aggregation("delay", operation, 7 * DAY)
            for operation in Operation
            if operation not in ("percentile", "top_k")
        ),
        Aggregation("delay", Operation.PERCENTILE, 5 * DAY, argument=95),
        Aggregation("dest", Operation.TOP_K, 3 * DAY, argument=2, dtype=Array(String)),
        Aggregation("delay", Operation.SUM, 13 * DAY, kind=Kind.SAWTOOTH),
        Aggregation("delay", Operation.SUM, 2 * DAY, kind=Kind.SAWTOOTH),
        Aggregation("delay", Operation.AVG, 5 * DAY, kind=Kind.TUMBLING),
    ),
)
FEW = replace(
    WINDOWS,
    features=(
        Aggregation("delay", Operation.COUNT, DAY),
        Aggregation("delay", Operation.AVG, 7 * DAY),
        Aggregation("dest", Operation.TOP_K, 3 * DAY, argument=2, dtype=Array(String)),
        Aggregation("delay", Operation.SUM, 13 * DAY, kind=Kind.SAWTOOTH),
    ),
)
"""Windows of each shape, where every operation would take three times as long."""

each = pytest.mark.parametrize(
    "windows", [pytest.param(FEW, id="few"), pytest.param(WINDOWS, id="every operation", marks=pytest.mark.slow)]
)


def table(windows: Windows = WINDOWS) -> Table:
    """A table of synthetic events, which the tests hand over themselves."""
    source = Source(name="arrivals", file="arrivals", schema="carrier STRING, delay DOUBLE", description="Synthetic")
    carrier = Entity(name="carrier", join_keys=["carrier"], value_type=ValueType.STRING)
    view = FeatureView(
        name="arrivals",
        entities=[carrier],
        schema=[Field(name="carrier", dtype=String), *windows.fields],
        source=delta_table("arrivals", description="Synthetic"),
    )
    events = EventSet(name="arrivals", sources=(source,), derive=lambda inputs: inputs["arrivals"], columns={})
    return Table(view=view, contract=contract(view), events=events, used=frozenset({"seen"}), windows=windows)


def events(spark: SparkSession, seed: int) -> DataFrame:
    """Events of three keys over everything and a little more: dense and sparse times, nulls, some on the edges of tiles."""
    chance = random.Random(seed)
    seconds = int(DAYS * DAY / timedelta(seconds=1))
    rows = [
        (
            chance.choice(["AA", "UA", "9E"]),
            START - HOUR + timedelta(seconds=chance.choice([1, 3600]) * chance.randrange(seconds // 3600)),
            None if chance.random() < 0.1 else chance.randrange(-300, 3000) / 10,
            chance.choice("abcd"),
            "seen",
        )
        for _ in range(900)
    ]
    rows += [
        ("AA", START + timedelta(seconds=chance.randrange(seconds)), float(number), "e", "seen")
        for number in range(900)
    ]
    return spark.createDataFrame(
        rows, f"carrier STRING, {KNOWN_AT} TIMESTAMP, delay DOUBLE, dest STRING, outcome STRING"
    )


def at_once(given_events: DataFrame, time_slice: TimeSlice, windows: Windows = WINDOWS) -> pd.DataFrame:
    """The rows of a slice out of all events, with no kept tiles."""
    tiles = gathered(given_events, windows).persist()
    return ordered(featured(tiles, windows, row_tiles(time_slice, HOUR)))


def by_tiles(
    given_events: DataFrame, time_slice: TimeSlice, store: Path, windows: Windows = WINDOWS
) -> tuple[pd.DataFrame, TilePlan]:
    """The rows of a slice out of kept tiles and only those events that its plan asks for; its own tiles are kept."""
    spark, rows = given_events.sparkSession, row_tiles(time_slice, HOUR)
    opened = TileStore.open(spark, table(windows), store.as_uri())
    plan = TilePlan(table(windows), time_slice, rows, opened, look_back(windows, rows, opened.coverage))
    tiles = plan.completed(plan.folded(given_events.where(plan.extent.holds(F.col(KNOWN_AT)))).persist())
    found = ordered(plan.features(tiles))
    opened.publish(tiles, rows, built_from="here", run_id=f"{time_slice}")
    return found, plan


def ordered(rows: DataFrame) -> pd.DataFrame:
    found: pd.DataFrame = rows.orderBy("carrier", EVENT_AT).toPandas()
    return found.assign(dest_top2_3d=found["dest_top2_3d"].map(list))


def cut(seed: int) -> list[TimeSlice]:
    """Everything in four slices at random hours, in a random order."""
    chance = random.Random(seed)
    edges = sorted([0, DAYS * 24, *chance.sample(range(1, DAYS * 24), 3)])
    slices = [TimeSlice(START + a * HOUR, START + b * HOUR) for a, b in itertools.pairwise(edges)]
    chance.shuffle(slices)
    return slices


@pytest.mark.slow
@pytest.mark.parametrize("seed", [1])
def test_slices_in_any_order_equal_one_build(spark: SparkSession, tmp_path: Path, seed: int) -> None:
    """Slices cut anywhere and built in any order, the first of them again at the end, have the values of one full build."""
    given_events, slices = events(spark, seed).persist(), cut(seed)
    expected = at_once(given_events, EVERYTHING)
    for time_slice in [*slices, slices[0]]:
        found, _ = by_tiles(given_events, time_slice, tmp_path / "tiles")
        first, end = (at.replace(tzinfo=None) for at in (time_slice.start_at, time_slice.end_at))
        within = expected[EVENT_AT].between(first, end, inclusive="left")
        pd.testing.assert_frame_equal(found, expected[within].reset_index(drop=True), rtol=1e-9, check_dtype=False)
        assert len(found) > 0


@each
def test_a_day_folds_no_events_but_its_own(spark: SparkSession, tmp_path: Path, windows: Windows) -> None:
    """After a build of everything before it, a day asks for the events of that day alone, reads coarse tiles, and is right."""
    given_events, last = events(spark, 3).persist(), TimeSlice(EVERYTHING.end_at - DAY, EVERYTHING.end_at)
    by_tiles(given_events, TimeSlice(START, last.start_at), tmp_path / "tiles", windows)
    found, plan = by_tiles(given_events, last, tmp_path / "tiles", windows)
    assert plan.lookback.events == (plan.rows,)
    assert plan.lookback.coarse
    pd.testing.assert_frame_equal(found, at_once(given_events, last, windows), rtol=1e-9, check_dtype=False)


@pytest.mark.slow
def test_a_correction_reaches_later_slices_through_its_tiles(spark: SparkSession, tmp_path: Path) -> None:
    """A middle slice built again from corrected events, and then the one after it, have the values of the corrected events."""
    before, middle = START + 10 * DAY, START + 12 * DAY + 5 * HOUR
    slices = [TimeSlice(START, before), TimeSlice(before, middle), TimeSlice(middle, EVERYTHING.end_at)]
    wrong = events(spark, 4).persist()
    for time_slice in slices:
        by_tiles(wrong, time_slice, tmp_path / "tiles", WINDOWS)
    is_corrected = (F.col(KNOWN_AT) >= F.lit(before)) & (F.col(KNOWN_AT) < F.lit(middle - HOUR))
    right = wrong.withColumn("delay", F.when(is_corrected, F.col("delay") + 7).otherwise(F.col("delay"))).persist()
    for time_slice in slices[1:]:
        found, _ = by_tiles(right, time_slice, tmp_path / "tiles", WINDOWS)
    pd.testing.assert_frame_equal(found, at_once(right, slices[2], WINDOWS), rtol=1e-9, check_dtype=False)


def test_tiles_of_another_definition_are_not_read(spark: SparkSession, tmp_path: Path) -> None:
    """With another operation over a column, what was kept covers nothing, and the next build replaces it."""
    given_events, uri = events(spark, 5), (tmp_path / "tiles").as_uri()
    by_tiles(given_events, EVERYTHING, tmp_path / "tiles", FEW)
    fewer = replace(FEW, features=FEW.features[:1])
    opened = TileStore.open(spark, table(fewer), uri)
    assert TileStore.open(spark, table(FEW), uri).coverage.units
    assert opened.coverage == Coverage()
    rows = row_tiles(EVERYTHING, HOUR)
    opened.publish(gathered(given_events, fewer), rows, built_from="here", run_id="another")
    again = TileStore.open(spark, table(fewer), uri)
    assert again.is_built(rows, "here")
    assert not again.is_built(rows, "elsewhere")
    assert TileStore.open(spark, table(FEW), uri).coverage == Coverage()


spans = st.lists(st.tuples(st.integers(-500, 500), st.integers(1, 300)), max_size=6).map(
    lambda pairs: tuple(Interval(start * 3600, (start + length) * 3600) for start, length in pairs)
)


@given(start=st.integers(-100, 100), length=st.integers(1, 100), fine=spans, days=st.frozensets(st.integers(-25, 25)))
def test_a_lookback_holds_every_second_once(
    start: int, length: int, fine: tuple[Interval, ...], days: frozenset[int]
) -> None:
    """Whatever is kept, events, fine and coarse tiles do not meet, and together they are the slice and its lookback."""
    unit, rows = kept_unit(WINDOWS), Interval(start * 3600, (start + length) * 3600)
    plan = look_back(WINDOWS, rows, Coverage(fine, frozenset(day * unit for day in days)))
    every = [*plan.events, *plan.fine, *plan.coarse]
    assert joined(every) == (Interval(rows.start - whole(WINDOWS.lookback), rows.end),)
    assert sum(span.end - span.start for span in every) == rows.end - rows.start + whole(WINDOWS.lookback)
    assert all(not rows.within(span) for span in (*plan.fine, *plan.coarse))
