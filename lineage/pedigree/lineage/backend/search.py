"""Finding datasets and jobs by a part of their names, in Marquez's shape."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from pedigree.lineage.backend.runs import Json, latest_runs
from pedigree.lineage.backend.tables import dataset_versions, datasets, jobs, runs
from pedigree.lineage.naming import node_id


@dataclass(frozen=True, slots=True)
class Wanted:
    """What to look for: a part of a name, whatever its case; `kind` is DATASET or JOB, days are YYYY-MM-DD."""

    text: str
    kind: str | None = None
    namespace: str | None = None
    before: str | None = None
    after: str | None = None
    sort: str = "name"
    limit: int = 10


def search(connection: sa.Connection, wanted: Wanted) -> Json:
    """The datasets and jobs that are wanted."""
    found = sa.union_all(*(matches(table, wanted) for table in tables_of(wanted.kind))).subquery()
    order = found.c.updated_at.desc() if wanted.sort.lower() == "updated_at" else sa.func.lower(found.c.name)
    query = sa.select(found).order_by(order, found.c.namespace, found.c.type).limit(wanted.limit)
    results = [result_shape(row) for row in connection.execute(query)]
    return {"totalCount": len(results), "results": results}


def tables_of(kind: str | None) -> list[sa.Table]:
    """Where to look for what."""
    return {"DATASET": [datasets], "JOB": [jobs]}.get((kind or "").upper(), [datasets, jobs])


def matches(table: sa.Table, wanted: Wanted) -> sa.Select[Any]:
    """The rows of one table that are wanted."""
    query = sa.select(
        sa.literal("JOB" if table is jobs else "DATASET").label("type"),
        table.c.name,
        table.c.updated_at,
        table.c.namespace,
    ).where(table.c.name.icontains(wanted.text, autoescape=True), table.c.deleted.is_(False))
    if wanted.namespace:
        query = query.where(table.c.namespace == wanted.namespace)
    if wanted.before:
        query = query.where(table.c.updated_at < wanted.before)
    if wanted.after:
        query = query.where(table.c.updated_at > wanted.after)
    return query


def result_shape(row: Any) -> Json:
    """One thing found."""
    return {
        "type": row.type,
        "name": row.name,
        "updatedAt": row.updated_at,
        "namespace": row.namespace,
        "nodeId": node_id("job" if row.type == "JOB" else "dataset", row.namespace, row.name),
    }


def search_jobs(connection: sa.Connection, text: str, *, limit: int = 10) -> Json:
    """Jobs as the web UI's search box wants them: each with its facets and the facets of a run."""
    found = jobs.c.name.icontains(text, autoescape=True), jobs.c.deleted.is_(False)
    rows = connection.execute(sa.select(jobs).where(*found).order_by(jobs.c.name).limit(limit)).all()
    latest = latest_runs(connection, [row.id for row in rows], each=1)
    hits = []
    for row in rows:
        run = latest[row.id][0] if latest.get(row.id) else {"id": None, "state": None, "facets": {}}
        told = {"type": row.type, "facets": row.facets, "runFacets": run["facets"]}
        hits.append({**hit_shape(row, run_id=run["id"], state=run["state"]), **told})
    return {"hits": hits, "highlights": [{"name": [hit["name"]]} for hit in hits]}


def search_datasets(connection: sa.Connection, text: str, *, limit: int = 10) -> Json:
    """Datasets as the web UI's search box wants them: each with the facets of its current version."""
    v = dataset_versions.c
    query = (
        sa.select(datasets, v.run_id, v.facets, runs.c.state)
        .outerjoin(dataset_versions, v.id == datasets.c.current_version)
        .outerjoin(runs, runs.c.id == v.run_id)
        .where(datasets.c.name.icontains(text, autoescape=True), datasets.c.deleted.is_(False))
    )
    rows = connection.execute(query.order_by(datasets.c.name).limit(limit))
    hits = [{**hit_shape(row, run_id=row.run_id, state=row.state), "facets": row.facets or {}} for row in rows]
    return {"hits": hits, "highlights": [{"name": [hit["name"]]} for hit in hits]}


def hit_shape(row: Any, *, run_id: str | None, state: str | None) -> Json:
    """What hits of both kinds hold."""
    types = {"COMPLETED": "COMPLETE", "FAILED": "FAIL", "ABORTED": "ABORT", "RUNNING": "RUNNING", "NEW": "START"}
    return {
        "run_id": run_id,
        "name": row.name,
        "namespace": row.namespace,
        "eventType": types.get(state or "", "OTHER"),
    }
