"""Declared windows as `docs/windows.md` defines them, asked of DuckDB over the events themselves: no tiles, no frames."""

from __future__ import annotations

from datetime import timedelta

import duckdb
import pandas as pd

from pedigree.features.windows import Aggregation, Kind, Operation, Windows

SECOND = timedelta(seconds=1)
NAN_IS_NO_VALUE = "CASE WHEN isnan({0}) THEN NULL ELSE {0} END"
SQL = {
    Operation.COUNT: "count({v})",
    Operation.SUM: "sum({v})",
    Operation.AVG: "avg({v})",
    Operation.SHARE: "avg({v})",
    Operation.MIN: "min({v})",
    Operation.MAX: "max({v})",
    Operation.STDDEV: "stddev_samp({v})",
    Operation.FIRST: "first({v} ORDER BY f.known_at, {v}) FILTER ({v} IS NOT NULL)",
    Operation.LAST: "last({v} ORDER BY f.known_at, {v}) FILTER ({v} IS NOT NULL)",
    Operation.DISTINCT_COUNT: "count(DISTINCT {v})",
    Operation.PERCENTILE: "quantile_cont({v}, {share})",
}


def answers(events: pd.DataFrame, windows: Windows) -> pd.DataFrame:
    """One row per key and tile with events, with each feature, ordered by key and event time.

    Args:
        events: the keys, `known_at` (naive, UTC) and the columns that the windows are of.
    """
    database = duckdb.connect()
    database.register("events_given", events)
    length = windows.every // SECOND
    seconds = "epoch_us(known_at) // 1000000"
    database.execute(f"CREATE TABLE events AS SELECT *, {seconds} AS second FROM events_given")
    keys = ", ".join(windows.keys)
    database.execute(
        f"CREATE TABLE rows_at AS SELECT DISTINCT {keys}, (second // {length} + 1) * {length} AS t FROM events ORDER BY ALL"
    )
    columns = ", ".join(f"({subquery(feature, windows)}) AS {feature.name}" for feature in windows.features)
    found: pd.DataFrame = database.sql(
        f"SELECT {keys}, make_timestamp(t * 1000000) AS event_at, {columns} FROM rows_at r ORDER BY {keys}, t"
    ).df()
    return found


def subquery(feature: Aggregation, windows: Windows) -> str:
    """The feature of the row `r`."""
    start, end = bounds(feature, windows.every)
    same = " AND ".join(f"f.{key} = r.{key}" for key in windows.keys)
    within = f"{same} AND f.second >= {start} AND f.second < {end}"
    column = f"f.{feature.column}"
    if feature.operation is Operation.TOP_K:
        counts = (
            f"SELECT {column} AS v, count(*) AS n FROM events f WHERE {within} AND {column} IS NOT NULL GROUP BY ALL"
        )
        best = f"SELECT v, n FROM ({counts}) ORDER BY n DESC, v LIMIT {feature.argument:g}"
        return f"SELECT list(v ORDER BY n DESC, v) FROM ({best})"
    value = NAN_IS_NO_VALUE.format(column) if feature.column == "amount" else column
    sql = SQL[feature.operation].format(v=value, share=(feature.argument or 0) / 100)
    return f"SELECT {sql} FROM events f WHERE {within}"


def bounds(feature: Aggregation, every: timedelta) -> tuple[str, str]:
    """The first second of the window of a row at `r.t`, and the first after it."""
    over = feature.over // SECOND
    if feature.kind is Kind.TUMBLING:
        end = f"r.t // {over} * {over}"
        return f"{end} - {over}", end
    if feature.kind is Kind.SAWTOOTH:
        hop = hop_of(feature.over, every) // SECOND
        return f"(r.t - {over}) // {hop} * {hop}", "r.t"
    return f"r.t - {over}", "r.t"


def hop_of(over: timedelta, every: timedelta) -> timedelta:
    """The hop of a sawtooth window, by the table in the docs."""
    if over >= timedelta(days=12):
        hop = timedelta(days=1)
    elif over >= timedelta(hours=12):
        hop = timedelta(hours=1)
    else:
        hop = timedelta(minutes=5)
    return max(hop, every)
