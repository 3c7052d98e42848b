"""A declaration says what a feature is, once."""

from __future__ import annotations

from datetime import timedelta

import pytest
from feast.types import Array, Float64, Int64, String

from feature_repo import tables
from pedigree.features.table import Table
from pedigree.features.windows import DAY, HOUR, MINUTE, Aggregation, Kind, Operation, WindowError, Windows


@pytest.mark.parametrize(
    ("feature", "name"),
    [
        (Aggregation("arrival_delay", Operation.AVG, 7 * DAY), "arrival_delay_avg_7d"),
        (Aggregation("arrival_delay", Operation.PERCENTILE, 7 * DAY, argument=95), "arrival_delay_p95_7d"),
        (Aggregation("arrival_delay", Operation.PERCENTILE, 7 * DAY, argument=99.9), "arrival_delay_p99_9_7d"),
        (Aggregation("dest", Operation.TOP_K, 30 * DAY, argument=3), "dest_top3_30d"),
        (Aggregation("visibility", Operation.MIN, 6 * HOUR, of="visib"), "visibility_min_6h"),
        (Aggregation("dest", Operation.DISTINCT_COUNT, 90 * MINUTE), "dest_distinct_count_90m"),
        (Aggregation("flight", Operation.COUNT, timedelta(seconds=30)), "flight_count_30s"),
        (Aggregation("flight", Operation.COUNT, DAY, kind=Kind.TUMBLING), "flight_count_1d_tumbling"),
    ],
)
def test_a_feature_names_itself(feature: Aggregation, name: str) -> None:
    """A feature is named by what it is, how it is folded, and over how long."""
    assert feature.name == name


def test_a_feature_knows_its_type() -> None:
    """Counts are integers, top values lists of strings, all else doubles, unless the declaration says otherwise."""
    types = {operation: Aggregation("x", operation, DAY, argument=3).field.dtype for operation in Operation}
    assert types.pop(Operation.TOP_K) == Array(String)
    assert types.pop(Operation.COUNT) == types.pop(Operation.DISTINCT_COUNT) == Int64
    assert set(types.values()) == {Float64}
    assert Aggregation("x", Operation.LAST, DAY, dtype=String).field.dtype == String


@pytest.mark.parametrize(
    ("every", "feature", "said"),
    [
        (HOUR, Aggregation("x", Operation.SUM, 90 * MINUTE), "not over whole tiles"),
        (timedelta(milliseconds=10), Aggregation("x", Operation.SUM, HOUR), "whole seconds"),
        (7 * MINUTE, Aggregation("x", Operation.SUM, 70 * MINUTE, kind=Kind.TUMBLING), ""),
        (7 * MINUTE, Aggregation("x", Operation.SUM, 840 * MINUTE, kind=Kind.SAWTOOTH), "hops by 1h"),
    ],
)
def test_a_window_of_broken_tiles_is_refused(every: timedelta, feature: Aggregation, said: str) -> None:
    """Windows are made of whole tiles and hops; the message says what to write instead."""
    if not said:
        assert Windows(("key",), every, (feature,)).names == ("x_sum_70m_tumbling",)
        return
    with pytest.raises(WindowError, match=said):
        Windows(("key",), every, (feature,))


def test_an_operation_without_its_argument_is_refused() -> None:
    """A percentile needs a percentage, a top-k a number."""
    with pytest.raises(WindowError, match="argument=95"):
        Aggregation("x", Operation.PERCENTILE, DAY)
    with pytest.raises(WindowError, match="argument=3"):
        Aggregation("x", Operation.TOP_K, DAY)


def test_one_name_is_declared_once() -> None:
    """Two features of one name would be one column."""
    with pytest.raises(WindowError, match="x_sum_1d"):
        Windows(("key",), HOUR, (Aggregation("x", Operation.SUM, DAY), Aggregation("x", Operation.SUM, 24 * HOUR)))


def test_a_lookback_reaches_as_far_as_the_longest_window() -> None:
    """A tumbling window may start two spans before a row, a sawtooth one a hop earlier than a sliding one."""
    reach = {kind: Aggregation("x", Operation.SUM, 30 * DAY, kind=kind).lookback(HOUR) for kind in Kind}
    assert reach == {Kind.SLIDING: 30 * DAY, Kind.TUMBLING: 60 * DAY, Kind.SAWTOOTH: 31 * DAY}


@pytest.mark.parametrize(
    "table",
    [tables.carrier_delays, tables.origin_weather, tables.plane_usage, tables.route_delays],
    ids=lambda table: table.name,
)
def test_every_column_of_a_view_has_its_source_columns(table: Table) -> None:
    """Keys, event time, windows and added columns of each table lead to columns of its sources."""
    columns = table.columns
    view = table.view
    assert set(columns) == {*(field.name for field in view.schema), "event_at"}
    known = {source.name: source.schema for source in table.sources}
    assert all(f"{column} " in known[source] for origins in columns.values() for source, column in origins)
