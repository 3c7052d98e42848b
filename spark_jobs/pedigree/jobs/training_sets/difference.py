"""What changed between two training sets: sources, definitions, code, columns, rows. DuckDB compares the stored rows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import duckdb
import pyarrow.dataset as ds

from pedigree.jobs.training_sets.fingerprint import canonical
from pedigree.jobs.training_sets.manifest import Definitions, Manifest, TableVersion
from pedigree.jobs.training_sets.store import TrainingSetStore

EXAMPLES = 3
"""How many changed rows are shown for each column."""

TWIN = "__twin"
"""Rows with the same keys and instant are numbered, and compared one by one."""


@dataclass(frozen=True, slots=True)
class SourceChange:
    """A table that the two sets read in different versions; None where only one reads it."""

    uri: str
    before: TableVersion | None
    after: TableVersion | None


@dataclass(frozen=True, slots=True)
class Example:
    """A value that changed, with the keys and the instant of its row."""

    row: tuple[tuple[str, object], ...]
    before: object
    after: object


@dataclass(frozen=True, slots=True)
class ColumnChange:
    """A column that both have, with the number of rows whose value changed, and some of them."""

    column: str
    rows: int
    examples: tuple[Example, ...]


@dataclass(frozen=True, slots=True)
class RowChanges:
    """How many rows only the later set has, only the earlier, both with another value, and both as they were."""

    added: int
    removed: int
    changed: int
    same: int


@dataclass(frozen=True, slots=True)
class Difference:
    """Everything that is not the same in two sets.

    Attributes:
        sources: tables in different versions.
        definitions, code: what was declared or programmed otherwise, by its name.
        entities: whether the two are for different entity sets.
        known_by: both knowledge-time cuts, where they are not the same.
        columns_added, columns_removed: by name; a column that changed its type counts as both.
        rows: by keys and instant, over the columns that both have.
        columns: those of them whose values changed.
    """

    before: Manifest
    after: Manifest
    sources: tuple[SourceChange, ...]
    definitions: tuple[str, ...]
    code: tuple[str, ...]
    entities: bool
    known_by: tuple[str, str] | None
    columns_added: tuple[str, ...]
    columns_removed: tuple[str, ...]
    rows: RowChanges
    columns: tuple[ColumnChange, ...]

    @property
    def is_empty(self) -> bool:
        """True where both hold the same rows and columns."""
        return self.before.content == self.after.content


def difference(before: Manifest, after: Manifest, set_store: TrainingSetStore) -> Difference:
    """Compare two sets that are kept.

    Raises:
        RowsMissingError: the rows of one are gone.
    """
    was, now = before.ingredients, after.ingredients
    kinds = [
        {each.name: canonical(each.type) for each in set_store.schema(manifest.id, "rows")}
        for manifest in (before, after)
    ]
    shared = [name for name, kind in kinds[0].items() if kinds[1].get(name) == kind]
    rows, columns = compared(before, after, set_store, shared)
    cuts = (was.known_by.isoformat(), now.known_by.isoformat())
    return Difference(
        before=before,
        after=after,
        sources=changed_sources(was.sources, now.sources),
        definitions=changed_definitions(was.definitions, now.definitions),
        code=was.code.differing(now.code),
        entities=was.entities.content.hash != now.entities.content.hash,
        known_by=cuts if cuts[0] != cuts[1] else None,
        columns_added=tuple(name for name in kinds[1] if name not in shared),
        columns_removed=tuple(name for name in kinds[0] if name not in shared),
        rows=rows,
        columns=columns,
    )


def changed_sources(before: Sequence[TableVersion], after: Sequence[TableVersion]) -> tuple[SourceChange, ...]:
    """The tables that are not read in the same version."""
    was, now = ({source.uri: source for source in sources} for sources in (before, after))
    changes = (SourceChange(uri, was.get(uri), now.get(uri)) for uri in dict.fromkeys((*was, *now)))
    return tuple(change for change in changes if change.before != change.after)


def changed_definitions(before: Definitions, after: Definitions) -> tuple[str, ...]:
    """What is declared otherwise: `service`, `view.attribute`, a view that only one has."""
    was, now = asdict(before), asdict(after)
    plain = [name for name in ("project", "service", "features", "knowledge_time") if was[name] != now[name]]
    views = [{view.shown_as: asdict(view) for view in each.views} for each in (before, after)]
    on_demand = [{view.name: asdict(view) for view in each.on_demand} for each in (before, after)]
    return (*plain, *changed_views(*views), *changed_views(*on_demand))


def changed_views(before: dict[str, dict[str, Any]], after: dict[str, dict[str, Any]]) -> list[str]:
    """The attributes of views that are not the same, and the views that only one side has."""
    found = []
    for name in dict.fromkeys((*before, *after)):
        was, now = before.get(name), after.get(name)
        if was is None or now is None:
            found.append(f"{name} ({'added' if was is None else 'removed'})")
        else:
            found += [f"{name}.{attribute}" for attribute in was if was[attribute] != now[attribute]]
    return found


def compared(
    before: Manifest, after: Manifest, set_store: TrainingSetStore, shared: Sequence[str]
) -> tuple[RowChanges, tuple[ColumnChange, ...]]:
    """The rows of both, matched by keys and instant."""
    wanted = dict.fromkeys((*before.ingredients.entities.keys, before.ingredients.entities.instant))
    keys = [name for name in wanted if name in shared]
    values = [name for name in shared if name not in keys]
    with duckdb.connect() as database:
        database.execute("SET TimeZone = 'UTC'")
        for side, manifest in (("before", before), ("after", after)):
            database.register(f"{side}_rows", stored(manifest, set_store))
            twin = f"row_number() OVER ({f'PARTITION BY {listed(keys)}' if keys else ''}) AS {TWIN}"
            database.execute(f"CREATE TEMP TABLE {side} AS SELECT {listed(shared)}, {twin} FROM {side}_rows")  # noqa: S608 - quoted
        return row_changes(database, keys, values), column_changes(database, keys, values)


def stored(manifest: Manifest, set_store: TrainingSetStore) -> ds.Dataset:
    """The rows of a set as a dataset that DuckDB scans."""
    files, path = set_store.file(manifest.id, "rows")
    return ds.dataset(path, filesystem=files, format="parquet")


def row_changes(database: duckdb.DuckDBPyConnection, keys: Sequence[str], values: Sequence[str]) -> RowChanges:
    """How many rows are where."""
    differs = " OR ".join(differing(name) for name in values) or "false"
    in_both = f"a.{TWIN} IS NOT NULL AND b.{TWIN} IS NOT NULL"
    places = (f"b.{TWIN} IS NULL", f"a.{TWIN} IS NULL", f"{in_both} AND ({differs})", f"{in_both} AND NOT ({differs})")
    counted = ", ".join(f"count(*) FILTER ({place})" for place in places)
    counts = database.execute(f"SELECT {counted} FROM {matched(keys)}").fetchone()  # noqa: S608 - quoted
    return RowChanges(*(counts or (0, 0, 0, 0)))


def column_changes(
    database: duckdb.DuckDBPyConnection, keys: Sequence[str], values: Sequence[str]
) -> tuple[ColumnChange, ...]:
    """The columns with other values, in the order of the columns."""
    if not values:
        return ()
    inner = matched(keys, kind="JOIN")
    counted = ", ".join(f"count(*) FILTER ({differing(name)})" for name in values)
    counts = database.execute(f"SELECT {counted} FROM {inner}").fetchone() or ()  # noqa: S608 - quoted
    changed = [(name, count) for name, count in zip(values, counts, strict=True) if count]
    return tuple(ColumnChange(name, count, examples(database, keys, name)) for name, count in changed)


def examples(database: duckdb.DuckDBPyConnection, keys: Sequence[str], name: str) -> tuple[Example, ...]:
    """The first changed values of a column, by instant and keys."""
    shown = [f"b.{quoted(key)}" for key in keys]
    columns = ", ".join([*shown, f"b.{quoted(name)}", f"a.{quoted(name)}"])
    order = ", ".join([*reversed(shown), f"b.{TWIN}"])
    where = f"{matched(keys, kind='JOIN')} WHERE {differing(name)}"
    query = f"SELECT {columns} FROM {where} ORDER BY {order} LIMIT {EXAMPLES}"  # noqa: S608 - quoted
    found = database.execute(query).fetchall()
    return tuple(Example(tuple(zip(keys, row[:-2], strict=True)), row[-2], row[-1]) for row in found)


def matched(keys: Sequence[str], kind: str = "FULL JOIN") -> str:
    """Both sides, row by row: `b` is before, `a` is after."""
    equal = [f"b.{quoted(key)} IS NOT DISTINCT FROM a.{quoted(key)}" for key in (*keys, TWIN)]
    return f"before b {kind} after a ON {' AND '.join(equal)}"


def differing(name: str) -> str:
    """The condition that a column's value changed."""
    return f"(b.{quoted(name)} IS DISTINCT FROM a.{quoted(name)})"


def listed(names: Sequence[str]) -> str:
    """Columns in SQL."""
    return ", ".join(quoted(name) for name in names)


def quoted(name: str) -> str:
    """A column in SQL."""
    escaped = name.replace('"', '""')
    return f'"{escaped}"'
