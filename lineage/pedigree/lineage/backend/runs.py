"""Runs, in Marquez's shape."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta
from typing import Any

import sqlalchemy as sa

from pedigree.lineage.backend.errors import NotFoundError
from pedigree.lineage.backend.event_facets import facet
from pedigree.lineage.backend.tables import among, dataset_versions, datasets, jobs, run_io, runs

Json = dict[str, Any]


def load_runs(connection: sa.Connection, ids: Iterable[str]) -> dict[str, Json]:
    """The runs of these ids, by id."""
    wanted = list(ids)
    query = (
        sa.select(runs, jobs.c.namespace.label("job_namespace"), jobs.c.name.label("job_name"))
        .join(jobs, jobs.c.id == runs.c.job_id)
        .where(among(connection, runs.c.id, wanted))
    )
    touched = load_run_io(connection, wanted)
    return {row.id: run_shape(row, touched) for row in connection.execute(query)}


def load_run_io(connection: sa.Connection, ids: Sequence[str]) -> dict[tuple[str, str], list[Json]]:
    """The dataset versions that runs read and wrote, by run and direction."""
    query = (
        sa.select(run_io, datasets.c.namespace, datasets.c.name)
        .join(dataset_versions, dataset_versions.c.id == run_io.c.version_id)
        .join(datasets, datasets.c.id == dataset_versions.c.dataset_id)
        .where(among(connection, run_io.c.run_id, ids))
        .order_by(datasets.c.namespace, datasets.c.name, run_io.c.version_id)
    )
    found: dict[tuple[str, str], list[Json]] = defaultdict(list)
    for row in connection.execute(query):
        version = {"namespace": row.namespace, "name": row.name, "version": row.version_id}
        found[row.run_id, row.direction].append({"datasetVersionId": version, "facets": row.facets})
    return found


def run_shape(row: Any, touched: dict[tuple[str, str], list[Json]]) -> Json:
    """One run."""
    nominal = facet(row.facets, "nominalTime")
    return {
        "id": row.id,
        "createdAt": row.created_at,
        "updatedAt": row.heard_at,
        "nominalStartTime": nominal.get("nominalStartTime"),
        "nominalEndTime": nominal.get("nominalEndTime"),
        "state": row.state,
        "startedAt": row.started_at,
        "endedAt": row.ended_at,
        "durationMs": duration_ms(row.started_at, row.ended_at),
        "args": {},
        "jobVersion": {"namespace": row.job_namespace, "name": row.job_name, "version": row.job_version},
        "inputDatasetVersions": touched.get((row.id, "INPUT"), []),
        "outputDatasetVersions": touched.get((row.id, "OUTPUT"), []),
        "facets": row.facets,
    }


def duration_ms(started_at: str | None, ended_at: str | None) -> int | None:
    """How long a run took, if it has started and ended."""
    if started_at is None or ended_at is None:
        return None
    span = datetime.fromisoformat(ended_at) - datetime.fromisoformat(started_at)
    return max(span // timedelta(milliseconds=1), 0)


def run(connection: sa.Connection, id_: str) -> Json:
    """One run by its id."""
    found = load_runs(connection, [id_])
    if id_ not in found:
        raise NotFoundError("Run", id_)
    return found[id_]


def run_facets(connection: sa.Connection, id_: str, *, of_job: bool) -> Json:
    """The facets of a run, or of its job."""
    column = jobs.c.facets if of_job else runs.c.facets
    query = sa.select(column).select_from(runs.join(jobs, jobs.c.id == runs.c.job_id)).where(runs.c.id == id_)
    row = connection.execute(query).first()
    if row is None:
        raise NotFoundError("Run", id_)
    return {"runId": id_, "facets": row[0]}


def runs_of_job(connection: sa.Connection, job_id: str, *, limit: int, offset: int) -> list[Json]:
    """A job's runs, the newest first."""
    started = sa.func.coalesce(runs.c.started_at, runs.c.created_at)
    query = sa.select(runs.c.id).where(runs.c.job_id == job_id).order_by(started.desc(), runs.c.id.desc())
    ids = list(connection.scalars(query.limit(limit).offset(offset)))
    found = load_runs(connection, ids)
    return [found[id_] for id_ in ids]


def latest_runs(connection: sa.Connection, job_ids: Sequence[str], each: int) -> dict[str, list[Json]]:
    """The newest runs of several jobs, `each` at most, by job."""
    started = sa.func.coalesce(runs.c.started_at, runs.c.created_at)
    place = sa.func.row_number().over(partition_by=runs.c.job_id, order_by=[started.desc(), runs.c.id.desc()])
    ranked = (
        sa.select(runs.c.id, runs.c.job_id, place.label("place"))
        .where(among(connection, runs.c.job_id, job_ids))
        .subquery()
    )
    query = sa.select(ranked.c.id, ranked.c.job_id).where(ranked.c.place <= each).order_by(ranked.c.place)
    rows = connection.execute(query).all()
    found = load_runs(connection, [row.id for row in rows])
    by_job: dict[str, list[Json]] = defaultdict(list)
    for row in rows:
        by_job[row.job_id].append(found[row.id])
    return by_job


def count_runs(connection: sa.Connection, job_id: str) -> int:
    """How many runs a job has had."""
    return connection.scalar(sa.select(sa.func.count()).where(runs.c.job_id == job_id)) or 0
