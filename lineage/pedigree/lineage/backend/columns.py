"""Which column is made of which, kept as edges between fields and walked layer by layer."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from pedigree.lineage.backend.dataset_rows import Name
from pedigree.lineage.backend.event_facets import Facets, column_origins, facet, objects, text
from pedigree.lineage.backend.event_parser import IncomingDataset
from pedigree.lineage.backend.tables import among, column_edges, datasets, insert_all, parts

Json = dict[str, Any]
FieldKey = tuple[str, str]
"""A dataset's id and the name of one of its fields."""


@dataclass(frozen=True, slots=True)
class ColumnEdges:
    """One field of `to` is made of one field of `origin`. `kind` and `description` are what the facet says of it."""

    to: FieldKey
    origin: FieldKey
    kind: str | None
    description: str | None
    transformations: tuple[Mapping[str, Any], ...] = ()


def edges_said(
    said: IncomingDataset, dataset_id: str, *, job_id: str, id_of: Callable[[Name], str]
) -> list[Json] | None:
    """The rows for what an event says a dataset's columns are made of; None if it says nothing of it."""
    lineage = facet(said.facets, "columnLineage")
    if not isinstance(lineage.get("fields"), dict):
        return None
    rows = {}
    for field, namespace, name, edge in said_edges(lineage):
        origin = id_of((namespace, name))
        keys = {"job_id": job_id, "dataset_id": dataset_id, "field": field, "from_dataset_id": origin}
        rows[field, origin, edge["from_field"]] = {**keys, **edge}
    return list(rows.values())


def replace_edges(connection: sa.Connection, edges: Mapping[str, list[Json]], *, job_id: str) -> None:
    """The columns of these datasets are made of what their job says now; of others it changes nothing."""
    e = column_edges.c
    connection.execute(sa.delete(column_edges).where(e.job_id == job_id, among(connection, e.dataset_id, edges)))
    insert_all(connection, column_edges, [row for rows in edges.values() for row in rows])


def said_edges(column_lineage: Facets) -> Iterable[tuple[str, str, str, Json]]:
    """The edges that a columnLineage facet lists: field, the origin's namespace and name, and the rest of the row."""
    for field, made, origin in column_origins(column_lineage):
        steps = objects(origin.get("transformations"))
        kinds = [str(each.get("subtype") or each.get("type")) for each in steps]
        texts = [str(each["description"]) for each in steps if each.get("description")]
        row = {
            "from_field": origin["field"],
            "kind": text(made.get("transformationType")) or "|".join(kinds) or None,
            "description": text(made.get("transformationDescription")) or "; ".join(texts) or None,
            "transformations": steps,
        }
        yield field, origin["namespace"], origin["name"], row


def edges_into(connection: sa.Connection, fields: Iterable[FieldKey]) -> list[ColumnEdges]:
    """What these fields are made of."""
    e = column_edges.c
    return load_edges(connection, sa.tuple_(e.dataset_id, e.field), fields)


def edges_from(connection: sa.Connection, fields: Iterable[FieldKey]) -> list[ColumnEdges]:
    """What is made of these fields."""
    e = column_edges.c
    return load_edges(connection, sa.tuple_(e.from_dataset_id, e.from_field), fields)


def load_edges(connection: sa.Connection, end: Any, fields: Iterable[FieldKey]) -> list[ColumnEdges]:
    """The edges one end of which is among `fields`."""
    found = []
    for some in parts(fields):
        query = sa.select(column_edges).where(end.in_(some))
        found += [to_made(row) for row in connection.execute(query)]
    return found


def to_made(row: Any) -> ColumnEdges:
    """A row as a record."""
    to, origin = (row.dataset_id, row.field), (row.from_dataset_id, row.from_field)
    return ColumnEdges(to, origin, row.kind, row.description, tuple(row.transformations or ()))


def origins_of(connection: sa.Connection, dataset_ids: Iterable[str]) -> dict[str, list[Json]]:
    """What the columns of datasets are made of, in the shape of Marquez's `columnLineage`, by dataset."""
    e = column_edges.c
    query = (
        sa.select(column_edges, datasets.c.namespace, datasets.c.name)
        .join(datasets, datasets.c.id == e.from_dataset_id)
        .where(among(connection, e.dataset_id, dataset_ids))
        .order_by(e.field, datasets.c.namespace, datasets.c.name, e.from_field, e.job_id)
    )
    by_field: dict[str, dict[str, list[Json]]] = defaultdict(lambda: defaultdict(list))
    for row in connection.execute(query):
        by_field[row.dataset_id][row.field].append(
            {
                "namespace": row.namespace,
                "dataset": row.name,
                "field": row.from_field,
                "transformationDescription": row.description,
                "transformationType": row.kind,
                "transformations": row.transformations or [],
            }
        )
    return {id_: [field_origins(name, made) for name, made in fields.items()] for id_, fields in by_field.items()}


def field_origins(name: str, made_of: list[Json]) -> Json:
    """One column and what it is made of."""
    first = made_of[0]
    return {
        "name": name,
        "inputFields": made_of,
        "transformationDescription": first["transformationDescription"],
        "transformationType": first["transformationType"],
    }
