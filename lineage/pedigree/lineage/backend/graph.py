"""The lineage of a dataset or a job as a graph of both, in Marquez's shape."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable

import sqlalchemy as sa

from pedigree.lineage.backend.datasets import load_datasets
from pedigree.lineage.backend.errors import BadRequestError
from pedigree.lineage.backend.jobs import load_jobs
from pedigree.lineage.backend.nodes import NodeRef
from pedigree.lineage.backend.runs import Json
from pedigree.lineage.backend.tables import among, datasets, job_io, jobs
from pedigree.lineage.naming import node_id

Touches = tuple[str, str, str]
"""A job's id, a dataset's id, and the direction."""


def lineage(connection: sa.Connection, node: NodeRef, *, depth: int) -> Json:
    """Everything connected to a node through at most `depth` further jobs, in both directions."""
    if node.kind == "datasetField":
        raise BadRequestError("A lineage graph starts at a dataset or a job; fields have /api/v1/column-lineage")
    first = {node.id} if node.kind == "job" else jobs_touching(connection, [node.id])
    touches = walk(connection, first, depth)
    dataset_ids = {dataset_id for _, dataset_id, _ in touches}
    if node.kind == "dataset":
        dataset_ids.add(node.id)
    job_ids = {job_id for job_id, _, _ in touches} | first
    return graph(connection, touches, job_ids, dataset_ids)


def walk(connection: sa.Connection, first: set[str], depth: int) -> set[Touches]:
    """Which job touches which dataset, from the first jobs on; each job is visited once, so cycles end."""
    touches: set[Touches] = set()
    seen = frontier = set(first)
    for step in range(depth + 1):
        found = touched_by(connection, frontier)
        touches |= found
        if step == depth:
            break
        frontier = jobs_touching(connection, {dataset_id for _, dataset_id, _ in found}) - seen
        if not frontier:
            break
        seen = seen | frontier
    return touches


def touched_by(connection: sa.Connection, job_ids: Iterable[str]) -> set[Touches]:
    """What jobs read and write now, without what was deleted."""
    query = (
        sa.select(job_io.c.job_id, job_io.c.dataset_id, job_io.c.direction)
        .join(datasets, datasets.c.id == job_io.c.dataset_id)
        .where(among(connection, job_io.c.job_id, job_ids), datasets.c.deleted.is_(False))
    )
    return {(row.job_id, row.dataset_id, row.direction) for row in connection.execute(query)}


def jobs_touching(connection: sa.Connection, dataset_ids: Iterable[str]) -> set[str]:
    """The jobs that read or write datasets now, without those that were deleted."""
    query = (
        sa.select(job_io.c.job_id)
        .join(jobs, jobs.c.id == job_io.c.job_id)
        .where(among(connection, job_io.c.dataset_id, dataset_ids), jobs.c.deleted.is_(False))
    )
    return set(connection.scalars(query))


def graph(connection: sa.Connection, touches: set[Touches], job_ids: set[str], dataset_ids: set[str]) -> Json:
    """The nodes and edges; an edge points the way the data flows."""
    job_shapes = load_jobs(connection, job_ids, runs_shown=1)
    dataset_shapes = load_datasets(connection, dataset_ids, brief=True)
    ids = {id_: node_id("job", shape["namespace"], shape["name"]) for id_, shape in job_shapes.items()}
    ids |= {id_: node_id("dataset", shape["namespace"], shape["name"]) for id_, shape in dataset_shapes.items()}
    into: dict[str, list[dict[str, str]]] = defaultdict(list)
    out_of: dict[str, list[dict[str, str]]] = defaultdict(list)
    for job_id, dataset_id, direction in sorted(touches):
        origin, destination = (dataset_id, job_id) if direction == "INPUT" else (job_id, dataset_id)
        edge = {"origin": ids[origin], "destination": ids[destination]}
        out_of[origin].append(edge)
        into[destination].append(edge)
    shapes = {**{id_: job_data(shape) for id_, shape in job_shapes.items()}, **dataset_shapes}
    nodes = [
        {
            "id": ids[id_],
            "type": "JOB" if id_ in job_shapes else "DATASET",
            "data": shape,
            "inEdges": into[id_],
            "outEdges": out_of[id_],
        }
        for id_, shape in shapes.items()
    ]
    return {"graph": sorted(nodes, key=lambda node: str(node["id"]))}


def job_data(shape: Json) -> Json:
    """What a job's node says of it."""
    left_out = {"latestRuns", "facets", "currentVersion", "labels", "tags"}
    return {key: value for key, value in shape.items() if key not in left_out}
