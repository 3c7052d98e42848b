"""The point-in-time join by DuckDB, for frames that fit one machine; no session is started.

Row for row and type for type the answer is Spark's; tests hold the two against each other.
"""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import duckdb
import pyarrow as pa
import pyarrow.dataset as ds

from pedigree.jobs.errors import EntityFrameError
from pedigree.jobs.historical.arrow_files import Unreadable, dataset_of
from pedigree.jobs.historical.definitions import History, Retrieval
from pedigree.jobs.historical.entity_frame import POSITION, Labels, plain_type

INSTANT = "__instant"
VISIBLE_AT = "__visible_at"
EVENT_AT = "__event_at"
CREATED_AT = "__created_at"


@dataclass(frozen=True, slots=True)
class SizeLimits:
    """From where on Spark is the better engine: the number of labels, and the bytes on disk of one table."""

    labels: int
    table_bytes: int


def opened(asked: Retrieval, limits: SizeLimits) -> list[ds.Dataset] | Unreadable:
    """The files of every view that is asked for, or why Spark must answer."""
    labels = asked.labels.rows
    if not isinstance(labels, pa.Table):
        return Unreadable("the entity frame is Spark's")
    if len(labels) > limits.labels:
        return Unreadable(f"{len(labels):,} labels are more than {limits.labels:,}")
    found = []
    for history in asked.histories:
        files = dataset_of(history.source, history.columns, at_most_bytes=limits.table_bytes)
        if isinstance(files, Unreadable):
            return files
        found.append(files)
    return found


def answer(asked: Retrieval, files: Sequence[ds.Dataset]) -> pa.Table:
    """The labels in their order, each with the features of every view.

    Args:
        asked: labels as an Arrow table, and the views.
        files: what `opened` found for it.
    Raises:
        EntityFrameError: a key of the labels is of another kind than the rows'.
    """
    answered: pa.Table = asked.labels.rows
    with tempfile.TemporaryDirectory() as spill, duckdb.connect() as database:
        database.execute("SET TimeZone = 'UTC'")
        database.execute(f"SET temp_directory = '{spill}'")
        for history, rows in zip(asked.histories, files, strict=True):
            database.register("labels", keyed(asked.labels, history, rows.schema))
            database.register("files", rows)
            query = AsOfQuery(history, rows.schema).query(database)
            found = database.sql(query).to_arrow_table()
            for name, column in history.features.items():
                kind = plain_type(rows.schema.field(column).type)
                answered = answered.append_column(name, found[f"v_{name}"].cast(kind))
    return answered


def keyed(labels: Labels, history: History, rows: pa.Schema) -> pa.Table:
    """The labels' keys, instants and positions, after a look at whether the keys can be compared with the rows'."""
    for column, key in history.keys.items():
        found, wanted = labels.rows[key].type, plain_type(rows.field(column).type)
        if found != wanted and not pa.types.is_null(found) and not (is_number(found) and is_number(wanted)):
            raise EntityFrameError.of_another_kind(key, found=str(found), wanted=str(wanted))
    columns = {key_name(number): labels.rows[key] for number, key in enumerate(history.keys.values())}
    positions = pa.array(range(len(labels.rows)), pa.int64())
    return pa.table({**columns, INSTANT: labels.rows[labels.instant], POSITION: positions})


def is_number(kind: pa.DataType) -> bool:
    """True for whole, floating and decimal numbers."""
    return any(is_kind(kind) for is_kind in (pa.types.is_integer, pa.types.is_floating, pa.types.is_decimal))


def key_name(number: int) -> str:
    """What the number-th key is called within a query."""
    return f"k{number}"


@dataclass(frozen=True, slots=True)
class AsOfQuery:
    """The SQL that looks up one view for the tables `labels` and `files`."""

    history: History
    schema: pa.Schema

    def query(self, database: duckdb.DuckDBPyConnection) -> str:
        """One row per label, in the labels' order, with the features of the newest visible row.

        A row counts only if it is the newest when it becomes visible: what is outdone on arrival is outdone for good. Of
        those that are left the latest to become visible is the newest, which is what an ASOF join finds.
        """
        rows = self.visible_rows()
        tied = (
            f"SELECT count(*) > (SELECT count(*) FROM (SELECT DISTINCT {self.per_key(VISIBLE_AT)} FROM rows)) FROM rows"  # noqa: S608
        )
        [(has_ties,)] = database.execute(f"WITH rows AS ({rows}) {tied}").fetchall()
        steps = {"rows": rows}
        if has_ties:
            steps["untied"] = self.untied(list(steps)[-1])
        if self.history.knowledge_time and self.history.created_at:
            steps["in_order"] = self.in_order(list(steps)[-1])
        named = ", ".join(f"{name} AS ({query})" for name, query in steps.items())
        return f"WITH {named} {self.join(list(steps)[-1])}"

    def visible_rows(self) -> str:
        """The rows that some label may see, each at the instant from which it is visible."""
        history = self.history
        event_at = self.instant_in(history.event_at)
        created_at = self.instant_in(history.created_at) if history.created_at else "CAST(NULL AS TIMESTAMPTZ)"
        visible_at = f"greatest({event_at}, {created_at})" if self.history.knowledge_time else event_at
        keys = [f"{self.value_in(column)} AS {key_name(number)}" for number, column in enumerate(history.keys)]
        values = [f"{self.value_in(column)} AS {quoted(f'v_{name}')}" for name, column in history.features.items()]
        times = [f"{event_at} AS {EVENT_AT}", f"{created_at} AS {CREATED_AT}", f"{visible_at} AS {VISIBLE_AT}"]
        conditions = [f"{event_at} <= {instant(history.until)}", *map(self.is_comparable, history.keys)]
        if history.since is not None:
            conditions.append(f"{event_at} >= {instant(history.since)}")
        if history.created_at and history.known_by is not None:
            conditions.append(f"({created_at} IS NULL OR {created_at} <= {instant(history.known_by)})")
        return f"SELECT {', '.join([*keys, *times, *values])} FROM files WHERE {' AND '.join(conditions)}"  # noqa: S608

    def value_in(self, column: str) -> str:
        """A column as it is, but for times in nanoseconds."""
        return in_microseconds(column) if is_nanoseconds(self.schema.field(column).type) else quoted(column)

    def instant_in(self, column: str) -> str:
        """A column of times as an instant; a naive time is UTC."""
        return f"CAST({self.value_in(column)} AS TIMESTAMPTZ)"

    def untied(self, rows: str) -> str:
        """Of rows that become visible at one instant the newest: by event time, created time, then the features themselves."""
        newest = [EVENT_AT, CREATED_AT, *(quoted(f"v_{name}") for name in self.history.features)]
        order = ", ".join(f"{column} DESC NULLS LAST" for column in newest)
        return (
            f"SELECT * FROM {rows}"  # noqa: S608 - the name of a step
            f" QUALIFY row_number() OVER (PARTITION BY {self.per_key(VISIBLE_AT)} ORDER BY {order}) = 1"
        )

    def in_order(self, rows: str) -> str:
        """The rows that are the newest when they become visible."""
        keys = self.per_key()
        partition = f"PARTITION BY {keys} " if keys else ""
        so_far = f"{partition}ORDER BY {VISIBLE_AT} ROWS UNBOUNDED PRECEDING"
        return f"SELECT * FROM {rows} QUALIFY {EVENT_AT} >= max({EVENT_AT}) OVER ({so_far})"  # noqa: S608

    def join(self, rows: str) -> str:
        """Each label with the latest row of `rows`, if that is fresh."""
        ttl = self.history.ttl // timedelta(microseconds=1)
        fresh = f"r.{EVENT_AT} >= l.{INSTANT} - to_microseconds({ttl})" if ttl > 0 else "TRUE"
        names = [quoted(f"v_{name}") for name in self.history.features]
        values = ", ".join(f"CASE WHEN {fresh} THEN r.{name} END AS {name}" for name in names)
        on = [self.equals(number, column) for number, column in enumerate(self.history.keys)]
        on.append(f"l.{INSTANT} >= r.{VISIBLE_AT}")
        return f"SELECT {values} FROM labels l ASOF LEFT JOIN {rows} r ON {' AND '.join(on)} ORDER BY l.{POSITION}"  # noqa: S608

    def per_key(self, *columns: str) -> str:
        """The keys, and `columns`, as a list."""
        return ", ".join([*(key_name(number) for number in range(len(self.history.keys))), *columns])

    def is_comparable(self, column: str) -> str:
        """False for a key that equals nothing: null, or not a number."""
        is_float = pa.types.is_floating(self.schema.field(column).type)
        name = quoted(column)
        return f"({name} IS NOT NULL AND NOT isnan({name}))" if is_float else f"{name} IS NOT NULL"

    def equals(self, number: int, column: str) -> str:
        """The labels' key equals the rows'; in the rows' type, and never where that type cannot hold it."""
        name, kind = key_name(number), sql_type(self.schema.field(column).type)
        cast = f"TRY_CAST(l.{name} AS {kind})"
        return f"(CASE WHEN {cast} = l.{name} THEN {cast} END) = r.{name}"


def is_nanoseconds(kind: pa.DataType) -> bool:
    """True for times in nanoseconds."""
    return bool(pa.types.is_timestamp(kind) and kind.unit == "ns")


def in_microseconds(column: str) -> str:
    """A column of times in nanoseconds, rounded down as Spark does; DuckDB's own cast rounds to the nearest."""
    nanos = f"epoch_ns({quoted(column)})"
    return f"make_timestamptz(({nanos} - (({nanos} % 1000 + 1000) % 1000)) // 1000)"


def instant(at: datetime) -> str:
    """An instant as SQL."""
    return f"TIMESTAMPTZ '{at.astimezone(UTC).isoformat(sep=' ')}'"


def quoted(name: str) -> str:
    """A name as SQL."""
    return '"' + name.replace('"', '""') + '"'


def sql_type(kind: pa.DataType) -> str:
    """DuckDB's name of a type, as the query has it."""
    if is_nanoseconds(kind):
        return "TIMESTAMP WITH TIME ZONE"
    return str(duckdb.from_arrow(pa.table({"column": pa.array([], kind)})).types[0])
