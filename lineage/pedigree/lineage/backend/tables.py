"""The tables of the store, and how a database is opened. Instants are ISO texts in UTC, so they sort as they are."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from sqlalchemy import event
from sqlalchemy.dialects import postgresql, sqlite

from pedigree.lineage import strict_json

JSON = sa.JSON().with_variant(postgresql.JSONB(), "postgresql")
PAIRS = 400
metadata = sa.MetaData()

events = sa.Table(
    "events",
    metadata,
    sa.Column("id", sa.Integer, primary_key=True, autoincrement=True),
    sa.Column("key", sa.Text, nullable=False, unique=True),
    sa.Column("run_id", sa.Text, index=True),
    sa.Column("event_type", sa.Text, nullable=False),
    sa.Column("event_at", sa.Text, nullable=False, index=True),
    sa.Column("job_namespace", sa.Text),
    sa.Column("body", JSON, nullable=False),
)
namespaces = sa.Table(
    "namespaces",
    metadata,
    sa.Column("name", sa.Text, primary_key=True),
    sa.Column("owner", sa.Text, nullable=False, server_default="anonymous"),
    sa.Column("description", sa.Text),
    sa.Column("created_at", sa.Text, nullable=False),
    sa.Column("updated_at", sa.Text, nullable=False),
    sa.Column("hidden", sa.Boolean, nullable=False, default=False),
)
sources = sa.Table(
    "sources",
    metadata,
    sa.Column("name", sa.Text, primary_key=True),
    sa.Column("type", sa.Text, nullable=False),
    sa.Column("url", sa.Text, nullable=False),
    sa.Column("description", sa.Text),
    sa.Column("created_at", sa.Text, nullable=False),
    sa.Column("updated_at", sa.Text, nullable=False),
)
datasets = sa.Table(
    "datasets",
    metadata,
    sa.Column("id", sa.Text, primary_key=True),
    sa.Column("namespace", sa.Text, nullable=False),
    sa.Column("name", sa.Text, nullable=False),
    sa.Column("source", sa.Text, nullable=False),
    sa.Column("description", sa.Text),
    sa.Column("created_at", sa.Text, nullable=False, index=True),
    sa.Column("updated_at", sa.Text, nullable=False),
    sa.Column("modified_at", sa.Text),
    sa.Column("current_version", sa.Text),
    sa.Column("deleted", sa.Boolean, nullable=False, default=False),
    sa.UniqueConstraint("namespace", "name"),
)
aliases = sa.Table(
    "dataset_aliases",
    metadata,
    sa.Column("namespace", sa.Text, primary_key=True),
    sa.Column("name", sa.Text, primary_key=True),
    sa.Column("dataset_id", sa.Text, sa.ForeignKey("datasets.id"), nullable=False),
)
dataset_versions = sa.Table(
    "dataset_versions",
    metadata,
    sa.Column("id", sa.Text, primary_key=True),
    sa.Column("dataset_id", sa.Text, sa.ForeignKey("datasets.id"), nullable=False),
    sa.Column("external", sa.Text),
    sa.Column("run_id", sa.Text, index=True),
    sa.Column("rank", sa.Integer, nullable=False),
    sa.Column("created_at", sa.Text, nullable=False),
    sa.Column("heard_at", sa.Text, nullable=False),
    sa.Column("facets", JSON, nullable=False),
    sa.Index("ix_dataset_versions_current", "dataset_id", "rank", "created_at"),
    sa.Index("ix_dataset_versions_external", "dataset_id", "external"),
)
jobs = sa.Table(
    "jobs",
    metadata,
    sa.Column("id", sa.Text, primary_key=True),
    sa.Column("namespace", sa.Text, nullable=False),
    sa.Column("name", sa.Text, nullable=False),
    sa.Column("type", sa.Text, nullable=False, default="BATCH"),
    sa.Column("parent_id", sa.Text),
    sa.Column("facets", JSON, nullable=False),
    sa.Column("created_at", sa.Text, nullable=False, index=True),
    sa.Column("updated_at", sa.Text, nullable=False, index=True),
    sa.Column("current_version", sa.Text),
    sa.Column("version_rank", sa.Text, nullable=False, default=""),
    sa.Column("deleted", sa.Boolean, nullable=False, default=False),
    sa.UniqueConstraint("namespace", "name"),
)
job_versions = sa.Table(
    "job_versions",
    metadata,
    sa.Column("id", sa.Text, primary_key=True),
    sa.Column("job_id", sa.Text, sa.ForeignKey("jobs.id"), nullable=False, index=True),
    sa.Column("inputs", JSON, nullable=False),
    sa.Column("outputs", JSON, nullable=False),
    sa.Column("latest_run", sa.Text),
    sa.Column("created_at", sa.Text, nullable=False),
)
job_io = sa.Table(
    "job_io",
    metadata,
    sa.Column("job_id", sa.Text, sa.ForeignKey("jobs.id"), primary_key=True),
    sa.Column("dataset_id", sa.Text, sa.ForeignKey("datasets.id"), primary_key=True, index=True),
    sa.Column("direction", sa.Text, primary_key=True),
)
runs = sa.Table(
    "runs",
    metadata,
    sa.Column("id", sa.Text, primary_key=True),
    sa.Column("job_id", sa.Text, sa.ForeignKey("jobs.id"), nullable=False),
    sa.Column("job_version", sa.Text),
    sa.Column("state", sa.Text, nullable=False),
    sa.Column("created_at", sa.Text, nullable=False),
    sa.Column("heard_at", sa.Text, nullable=False),
    sa.Column("started_at", sa.Text),
    sa.Column("ended_at", sa.Text),
    sa.Column("facets", JSON, nullable=False),
    sa.Index("ix_runs_job", "job_id", "created_at"),
)
run_io = sa.Table(
    "run_io",
    metadata,
    sa.Column("run_id", sa.Text, primary_key=True),
    sa.Column("version_id", sa.Text, sa.ForeignKey("dataset_versions.id"), primary_key=True),
    sa.Column("direction", sa.Text, primary_key=True),
    sa.Column("facets", JSON, nullable=False),
    sa.Index("ix_run_io_version", "version_id"),
)
column_edges = sa.Table(
    "column_edges",
    metadata,
    sa.Column("job_id", sa.Text, primary_key=True),
    sa.Column("dataset_id", sa.Text, sa.ForeignKey("datasets.id"), primary_key=True),
    sa.Column("field", sa.Text, primary_key=True),
    sa.Column("from_dataset_id", sa.Text, sa.ForeignKey("datasets.id"), primary_key=True),
    sa.Column("from_field", sa.Text, primary_key=True),
    sa.Column("kind", sa.Text),
    sa.Column("description", sa.Text),
    sa.Column("transformations", JSON),
    sa.Index("ix_column_edges_to", "dataset_id", "field"),
    sa.Index("ix_column_edges_from", "from_dataset_id", "from_field"),
)
tags = sa.Table(
    "tags",
    metadata,
    sa.Column("name", sa.Text, primary_key=True),
    sa.Column("description", sa.Text),
)
taggings = sa.Table(
    "taggings",
    metadata,
    sa.Column("subject_id", sa.Text, primary_key=True),
    sa.Column("field", sa.Text, primary_key=True, default=""),
    sa.Column("tag", sa.Text, sa.ForeignKey("tags.name"), primary_key=True),
)


def open_database(url: str) -> sa.Engine:
    """The database at an SQLAlchemy URL, with its tables; SQLite gets a write-ahead log, so that readers never wait."""
    address, formats = sa.make_url(url), {"json_serializer": strict_text, "json_deserializer": strict_json.tolerant}
    if address.get_backend_name() != "sqlite":
        engine = sa.create_engine(address, pool_pre_ping=True, **formats)
    else:
        if address.database and address.database != ":memory:":
            Path(address.database).parent.mkdir(parents=True, exist_ok=True)
        engine = sa.create_engine(address, connect_args={"timeout": 30}, **formats)
        event.listen(engine, "connect", prepare_sqlite)
        event.listen(engine, "begin", begin_sqlite)
    if is_incomplete(engine):
        complete(engine)
    return engine


def is_incomplete(engine: sa.Engine) -> bool:
    """True for a database that lacks a table, or an index that has come since an earlier release made it."""
    inspector = sa.inspect(engine)
    if not set(metadata.tables) <= set(inspector.get_table_names()):
        return True
    known = {index["name"] for table in metadata.tables for index in inspector.get_indexes(table)}
    return not {index.name for table in metadata.tables.values() for index in table.indexes} <= known


def complete(engine: sa.Engine) -> None:
    """Make the tables and indexes that are not there; backends that start at once take turns."""
    with engine.execution_options(writes=True).begin() as connection:
        take_turn(connection)
        metadata.create_all(connection)
        for table in metadata.tables.values():
            for index in table.indexes:
                connection.execute(sa.schema.CreateIndex(index, if_not_exists=True))


def strict_text(value: Any) -> str:
    """A value as JSON text.

    Raises:
        ValueError: it holds a number that JSON does not have.
    """
    return json.dumps(value, allow_nan=False)


def prepare_sqlite(connection: Any, _: object) -> None:
    """Let SQLAlchemy, not the driver, say when a transaction begins."""
    connection.isolation_level = None
    for setting in ("journal_mode=WAL", "synchronous=NORMAL", "foreign_keys=ON", "busy_timeout=30000"):
        connection.execute(f"PRAGMA {setting}")


def begin_sqlite(connection: sa.Connection) -> None:
    """A writer takes its turn at once, instead of failing half-way."""
    writes = connection.get_execution_options().get("writes", False)
    connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")


def take_turn(connection: sa.Connection) -> None:
    """One writer at a time on PostgreSQL too; the turn ends with the transaction."""
    if connection.dialect.name == "postgresql":
        connection.execute(sa.text("SELECT pg_advisory_xact_lock(7033)"))


def insert_new(connection: sa.Connection, table: sa.Table, **values: Any) -> bool:
    """Insert a row unless it is there already; True if it was new."""
    insert = postgresql.insert if connection.dialect.name == "postgresql" else sqlite.insert
    key = table.primary_key.columns[0]
    added = connection.execute(insert(table).values(**values).on_conflict_do_nothing().returning(key))
    return added.first() is not None


def insert_all(connection: sa.Connection, table: sa.Table, rows: Sequence[dict[str, Any]]) -> None:
    """Insert those rows that are not there already, all at once."""
    insert = postgresql.insert if connection.dialect.name == "postgresql" else sqlite.insert
    if rows:
        connection.execute(insert(table).on_conflict_do_nothing(), rows)


def among(connection: sa.Connection, column: Any, texts: Iterable[str]) -> sa.ColumnElement[bool]:
    """True for a column that holds one of `texts`: one parameter, however many they are."""
    listed = sa.literal(json.dumps(list(texts)), sa.Text)
    if connection.dialect.name == "postgresql":
        rows = sa.func.jsonb_array_elements_text(sa.cast(listed, postgresql.JSONB)).table_valued("value")
    else:
        rows = sa.func.json_each(listed).table_valued("value")
    found: sa.ColumnElement[bool] = column.in_(sa.select(rows.c.value))
    return found


def parts(pairs: Iterable[tuple[str, str]]) -> Iterable[list[tuple[str, str]]]:
    """Pairs in parts that fit into the parameters of one statement."""
    whole = list(pairs)
    return (whole[start : start + PAIRS] for start in range(0, len(whole), PAIRS))
