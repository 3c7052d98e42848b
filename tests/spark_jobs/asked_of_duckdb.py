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


def answers(events: pd.DataFrame, windows: Windows, *, at: pd.DataFrame | None = None) -> pd.DataFrame:
    """One row per key and tile with events, or at whose end a window holds other events, ordered by key and event time.

    Args:
        events: the keys, `known_at` (naive, UTC) and the columns that the windows are of.
        at: keys and instants `asked_at`, for rows at the last end of a tile before these and nowhere else.
    """
    database = duckdb.connect()
    database.register("events_given", events)
    seconds = "epoch_us(known_at) // 1000000"
    database.execute(f"CREATE TABLE events AS SELECT *, {seconds} AS second FROM events_given")
    keys = ", ".join(windows.keys)
    length = windows.every // SECOND
    if at is None:
        database.execute(f"CREATE TABLE rows_at AS SELECT *, NULL AS asked_at FROM ({places(windows)}) ORDER BY ALL")
    else:
        database.register("asked_of", at)
        database.execute(
            f"CREATE TABLE rows_at AS SELECT *, epoch_us(asked_at) // 1000000 // {length} * {length} AS t FROM asked_of"
        )
    columns = ", ".join(f"({subquery(feature, windows)}) AS {feature.name}" for feature in windows.features)
    instant, asked = "make_timestamp(t * 1000000)", "" if at is None else "asked_at, "
    found: pd.DataFrame = database.sql(
        f"SELECT {keys}, {instant} AS event_at, {asked}{columns} FROM rows_at r ORDER BY {keys}, t"
    ).df()
    return found


def places(windows: Windows) -> str:
    """Keys and instants of rows: every tile's end is tried, from each event on, until no window can hold the event any more."""
    keys, length = ", ".join(windows.keys), windows.every // SECOND
    reach = windows.lookback // SECOND + 2 * length
    tried = f"SELECT *, unnest(generate_series((second // {length} + 1) * {length}, second + {reach}, {length})) AS t FROM events"
    shapes = sorted({bounds(feature, windows.every) for feature in windows.features})
    other = [f"({holds(shape, 'r.t')}) <> ({holds(shape, f'(r.t - {length})')})" for shape in shapes]
    comes = f"r.t = (r.second // {length} + 1) * {length}"
    return f"SELECT DISTINCT {keys}, t FROM ({tried}) r WHERE {' OR '.join([comes, *other])}"


def holds(shape: tuple[str, str], instant: str) -> str:
    """Whether a window of a row at an instant holds the event of the row `r`."""
    start, end = (part.replace("r.t", instant) for part in shape)
    return f"r.second >= {start} AND r.second < {end}"


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
