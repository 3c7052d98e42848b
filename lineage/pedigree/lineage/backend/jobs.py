"""Jobs, in Marquez's shape."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from typing import Any

import sqlalchemy as sa

from pedigree.lineage.backend.datasets import require_namespace
from pedigree.lineage.backend.errors import NotFoundError
from pedigree.lineage.backend.event_facets import facet
from pedigree.lineage.backend.runs import Json, latest_runs, load_runs
from pedigree.lineage.backend.tables import among, datasets, job_io, job_versions, jobs, runs
from pedigree.lineage.backend.tagging import Tagged, load_tags

RUNS_SHOWN = 10


def require_job(connection: sa.Connection, namespace: str, name: str) -> str:
    """The id of a job that was not deleted."""
    require_namespace(connection, namespace)
    j = jobs.c
    found: str | None = connection.scalar(
        sa.select(j.id).where(j.namespace == namespace, j.name == name, j.deleted.is_(False))
    )
    if found is None:
        raise NotFoundError("Job", name)
    return found


def load_jobs(connection: sa.Connection, ids: Iterable[str], *, runs_shown: int = RUNS_SHOWN) -> dict[str, Json]:
    """The jobs of these ids, by id."""
    wanted = list(ids)
    parent = jobs.alias("parent")
    query = (
        sa.select(jobs, parent.c.name.label("parent_name"))
        .outerjoin(parent, parent.c.id == jobs.c.parent_id)
        .where(among(connection, jobs.c.id, wanted))
    )
    touched, tagged = load_job_io(connection, wanted), load_tags(connection, wanted)
    latest = latest_runs(connection, wanted, runs_shown)
    return {row.id: job_shape(row, touched, tagged, latest.get(row.id, [])) for row in connection.execute(query)}


def load_job_io(connection: sa.Connection, ids: Sequence[str]) -> dict[tuple[str, str], list[Json]]:
    """What jobs read and write, by job and direction."""
    query = (
        sa.select(job_io.c.job_id, job_io.c.direction, datasets.c.namespace, datasets.c.name)
        .join(datasets, datasets.c.id == job_io.c.dataset_id)
        .where(among(connection, job_io.c.job_id, ids))
        .order_by(datasets.c.namespace, datasets.c.name)
    )
    found: dict[tuple[str, str], list[Json]] = defaultdict(list)
    for row in connection.execute(query):
        found[row.job_id, row.direction].append({"namespace": row.namespace, "name": row.name})
    return found


def job_shape(row: Any, touched: dict[tuple[str, str], list[Json]], tagged: Tagged, latest: list[Json]) -> Json:
    """One job, as it is now."""
    simple = row.name.removeprefix(f"{row.parent_name}.") if row.parent_name else row.name
    return {
        "id": {"namespace": row.namespace, "name": row.name},
        "type": row.type,
        "name": row.name,
        "simpleName": simple,
        "parentJobName": row.parent_name,
        "parentJobUuid": row.parent_id,
        "createdAt": row.created_at,
        "updatedAt": row.updated_at,
        "namespace": row.namespace,
        "inputs": touched.get((row.id, "INPUT"), []),
        "outputs": touched.get((row.id, "OUTPUT"), []),
        "location": facet(row.facets, "sourceCodeLocation").get("url"),
        "description": facet(row.facets, "documentation").get("description"),
        "latestRun": latest[0] if latest else None,
        "latestRuns": latest,
        "facets": row.facets,
        "currentVersion": row.current_version,
        "labels": [],
        "tags": tagged.get((row.id, ""), []),
    }


def list_jobs(
    connection: sa.Connection, *, namespace: str | None, states: Sequence[str], limit: int, offset: int
) -> Json:
    """A page of jobs, the one heard of last first; `states` keeps those whose last run is in one of them."""
    j, started = jobs.c, sa.func.coalesce(runs.c.started_at, runs.c.created_at)
    last_state = (
        sa.select(runs.c.state).where(runs.c.job_id == j.id).order_by(started.desc()).limit(1).scalar_subquery()
    )
    here = [
        j.deleted.is_(False),
        *([j.namespace == namespace] if namespace is not None else []),
        *([last_state.in_(list(states))] if states else []),
    ]
    page = sa.select(j.id).where(*here).order_by(j.updated_at.desc(), j.namespace, j.name).limit(limit).offset(offset)
    ids = list(connection.scalars(page))
    found = load_jobs(connection, ids)
    total = connection.scalar(sa.select(sa.func.count()).select_from(jobs).where(*here))
    return {"jobs": [found[id_] for id_ in ids], "totalCount": total}


def list_job_versions(connection: sa.Connection, job_id: str, *, limit: int, offset: int) -> Json:
    """A page of a job's versions, the newest first: a version is a set of inputs and outputs."""
    v = job_versions.c
    query = sa.select(job_versions).where(v.job_id == job_id).order_by(v.created_at.desc(), v.id)
    rows = connection.execute(query.limit(limit).offset(offset)).all()
    return {"versions": [job_version_shape(connection, row) for row in rows]}


def job_version(connection: sa.Connection, job_id: str, id_: str) -> Json:
    """One version of a job."""
    v = job_versions.c
    row = connection.execute(sa.select(job_versions).where(v.id == id_, v.job_id == job_id)).first()
    if row is None:
        raise NotFoundError("Job version", id_)
    return job_version_shape(connection, row)


def job_version_shape(connection: sa.Connection, row: Any) -> Json:
    """One version of a job."""
    job = load_jobs(connection, [row.job_id], runs_shown=1)[row.job_id]
    query = sa.select(datasets.c.id, datasets.c.namespace, datasets.c.name)
    known = connection.execute(query.where(among(connection, datasets.c.id, [*row.inputs, *row.outputs])))
    names = {each.id: {"namespace": each.namespace, "name": each.name} for each in known}
    return {
        "id": {"namespace": job["namespace"], "name": job["name"], "version": row.id},
        "name": job["name"],
        "createdAt": row.created_at,
        "version": row.id,
        "namespace": job["namespace"],
        "location": job["location"],
        "inputs": [names[id_] for id_ in row.inputs],
        "outputs": [names[id_] for id_ in row.outputs],
        "latestRun": load_runs(connection, [row.latest_run]).get(row.latest_run) if row.latest_run else None,
    }


def delete_job(connection: sa.Connection, job_id: str) -> Json:
    """Hide a job until the next event speaks of it."""
    connection.execute(sa.update(jobs).where(jobs.c.id == job_id).values(deleted=True))
    return load_jobs(connection, [job_id])[job_id]
