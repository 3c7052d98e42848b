"""The column lineage of a dataset, a field or a job as a graph, in Marquez's shape."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable
from typing import Any

import sqlalchemy as sa

from pedigree.lineage.backend.columns import ColumnEdges, FieldKey, edges_from, edges_into, said_edges
from pedigree.lineage.backend.dataset_rows import find_datasets
from pedigree.lineage.backend.datasets import load_datasets
from pedigree.lineage.backend.errors import BadRequestError, NotFoundError
from pedigree.lineage.backend.event_facets import facet
from pedigree.lineage.backend.nodes import NodeRef
from pedigree.lineage.backend.runs import Json
from pedigree.lineage.backend.tables import among, column_edges, dataset_versions, job_io, run_io
from pedigree.lineage.naming import node_id

Versions = dict[str, str]
"""The version of each dataset that a graph of versions is about, by dataset id."""


def column_lineage(connection: sa.Connection, node: NodeRef, *, depth: int, downstream: bool) -> Json:
    """The fields that the node's fields are made of, and with `downstream` those made of them, up to `depth` steps."""
    if node.version is not None and downstream:
        raise BadRequestError("Node version cannot be specified when withDownstream is true")
    if node.version is not None:
        made, versions = walk_versions(connection, node, node.version, depth=depth)
        return graph(connection, made, versions)
    start = start_fields(connection, node)
    edges = walk(start, depth, lambda fields: edges_into(connection, fields), lambda edge: edge.origin)
    if downstream:
        edges |= walk(start, depth, lambda fields: edges_from(connection, fields), lambda edge: edge.to)
    return graph(connection, edges.values(), {})


def start_fields(connection: sa.Connection, node: NodeRef) -> set[FieldKey]:
    """The fields a walk starts from."""
    e = column_edges.c
    if node.kind == "datasetField":
        return {(node.id, known_field(connection, node.id, node.field or ""))}
    ids = [node.id]
    if node.kind == "job":
        written = sa.select(job_io.c.dataset_id).where(job_io.c.job_id == node.id, job_io.c.direction == "OUTPUT")
        ids = list(connection.scalars(written))
    into = sa.select(e.dataset_id, e.field).where(among(connection, e.dataset_id, ids))
    out_of = sa.select(e.from_dataset_id, e.from_field).where(among(connection, e.from_dataset_id, ids))
    return {(row[0], row[1]) for row in connection.execute(sa.union(into, out_of))}


def known_field(connection: sa.Connection, dataset_id: str, field: str) -> str:
    """The field, if the dataset has it."""
    e, key = column_edges.c, (dataset_id, field)
    ends = sa.or_(sa.tuple_(e.dataset_id, e.field) == key, sa.tuple_(e.from_dataset_id, e.from_field) == key)
    shape = load_datasets(connection, [dataset_id], brief=True)[dataset_id]
    in_schema = any(each["name"] == field for each in shape["fields"])
    if not in_schema and connection.execute(sa.select(e.field).where(ends).limit(1)).first() is None:
        raise NotFoundError("Field", field)
    return field


def walk(
    start: Iterable[FieldKey],
    depth: int,
    step: Callable[[Iterable[FieldKey]], list[ColumnEdges]],
    far_end: Callable[[ColumnEdges], FieldKey],
) -> dict[tuple[FieldKey, FieldKey], ColumnEdges]:
    """Every edge that is reached in `depth` steps; each field is visited once, so cycles end."""
    edges: dict[tuple[FieldKey, FieldKey], ColumnEdges] = {}
    seen = frontier = set(start)
    for _ in range(max(depth, 1)):
        found = step(frontier)
        edges |= {(edge.to, edge.origin): edge for edge in found}
        frontier = {far_end(edge) for edge in found} - seen
        if not frontier:
            break
        seen = seen | frontier
    return edges


def walk_versions(
    connection: sa.Connection, node: NodeRef, version: str, *, depth: int
) -> tuple[list[ColumnEdges], Versions]:
    """What one version of a dataset was made of, from the versions that its run read, and theirs, and so on."""
    versions: Versions = {node.id: version}
    frontier: dict[str, set[str] | None] = {node.id: None if node.field is None else {node.field}}
    edges: list[ColumnEdges] = []
    for _ in range(max(depth, 1)):
        following: dict[str, set[str]] = defaultdict(set)
        for dataset_id, fields in frontier.items():
            read, made = made_of(connection, dataset_id, versions[dataset_id], fields)
            edges += made
            for edge in made:
                origin = edge.origin[0]
                if origin in read and versions.setdefault(origin, read[origin]) == read[origin]:
                    following[origin].add(edge.origin[1])
        if not following:
            break
        frontier = {**following}
    return edges, versions


def made_of(
    connection: sa.Connection, dataset_id: str, version: str, fields: set[str] | None
) -> tuple[Versions, list[ColumnEdges]]:
    """The versions that the writer of a version read, and what its fields (all of them for None) were made of."""
    v = dataset_versions.c
    row = connection.execute(sa.select(v.facets, v.run_id).where(v.id == version, v.dataset_id == dataset_id)).first()
    if row is None:
        raise NotFoundError("Dataset version", version)
    read = sa.select(v.dataset_id, v.id).join(run_io, run_io.c.version_id == v.id)
    inputs = connection.execute(read.where(run_io.c.run_id == row.run_id, run_io.c.direction == "INPUT"))
    said = list(said_edges(facet(row.facets, "columnLineage")))
    origins = find_datasets(connection, ((namespace, name) for _, namespace, name, _ in said))
    made = []
    for field, namespace, name, edge in said:
        origin = origins.get((namespace, name))
        if origin and (fields is None or field in fields):
            made.append(
                ColumnEdges((dataset_id, field), (origin, edge["from_field"]), edge["kind"], edge["description"])
            )
    return {each.dataset_id: each.id for each in inputs}, made


def graph(connection: sa.Connection, edges: Iterable[ColumnEdges], versions: Versions) -> Json:
    """Nodes and edges as Marquez sends them: every edge starts at the node that lists it."""
    into: dict[FieldKey, list[ColumnEdges]] = defaultdict(list)
    out_of: dict[FieldKey, list[ColumnEdges]] = defaultdict(list)
    for edge in edges:
        into[edge.to].append(edge)
        out_of[edge.origin].append(edge)
    keys = into.keys() | out_of.keys()
    shapes = load_datasets(connection, {dataset_id for dataset_id, _ in keys}, brief=True)
    ids = {key: field_node_id(shapes[key[0]], key, versions) for key in keys}
    nodes = [
        {
            "id": ids[key],
            "type": "DATASET_FIELD",
            "data": field_data(shapes, key, into[key], versions),
            "inEdges": [{"origin": ids[key], "destination": ids[edge.origin]} for edge in into[key]],
            "outEdges": [{"origin": ids[key], "destination": ids[edge.to]} for edge in out_of[key]],
        }
        for key in keys
    ]
    return {"graph": sorted(nodes, key=lambda node: str(node["id"]))}


def field_node_id(shape: Json, key: FieldKey, versions: Versions) -> str:
    """The node id of a field, with its dataset's version in a graph of versions."""
    id_ = node_id("datasetField", shape["namespace"], shape["name"], key[1])
    return f"{id_}#{versions[key[0]]}" if key[0] in versions else id_


def field_data(shapes: dict[str, Json], key: FieldKey, made_of: list[ColumnEdges], versions: Versions) -> Json:
    """What a field's node says of it."""
    shape = shapes[key[0]]
    types: dict[str, Any] = {each["name"]: each["type"] for each in shape["fields"]}
    first = made_of[0] if made_of else None
    return {
        "namespace": shape["namespace"],
        "dataset": shape["name"],
        "datasetVersion": versions.get(key[0]),
        "field": key[1],
        "fieldType": types.get(key[1]),
        "transformationDescription": first.description if first else None,
        "transformationType": first.kind if first else None,
        "inputFields": [input_field(shapes[edge.origin[0]], edge, versions) for edge in made_of],
    }


def input_field(shape: Json, edge: ColumnEdges, versions: Versions) -> Json:
    """One origin of a field."""
    return {
        "namespace": shape["namespace"],
        "dataset": shape["name"],
        "datasetVersion": versions.get(edge.origin[0]),
        "field": edge.origin[1],
        "transformationDescription": edge.description,
        "transformationType": edge.kind,
        "transformations": list(edge.transformations),
    }
