"""What events say of jobs: their facets, their parents, and what they read and write."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from pedigree.lineage.backend.dataset_rows import stable_id
from pedigree.lineage.backend.event_facets import facet, parent_job
from pedigree.lineage.backend.event_parser import Incoming, IncomingJob
from pedigree.lineage.backend.tables import (
    dataset_versions,
    insert_all,
    insert_new,
    job_io,
    job_versions,
    jobs,
    namespaces,
    run_io,
    runs,
)

JOB_TYPES = {"STREAMING": "STREAM", "STREAM": "STREAM", "SERVICE": "SERVICE"}


@dataclass(frozen=True, slots=True)
class Touched:
    """A dataset that an event speaks of, with the version read or written and what held for this run only."""

    dataset_id: str
    version_id: str
    direction: str
    facets: dict[str, Any]


def hear_of_job(connection: sa.Connection, job: IncomingJob, event: Incoming) -> str:
    """What an event says of its job. Returns the job's id."""
    id_ = ensure_job(connection, job.namespace, job.name, event.at)
    row = connection.execute(sa.select(jobs.c.facets, jobs.c.updated_at).where(jobs.c.id == id_)).one()
    newer = event.at >= row.updated_at
    facets = {**row.facets, **job.facets} if newer else {**job.facets, **row.facets}
    values: dict[str, Any] = {"facets": facets, "updated_at": max(event.at, row.updated_at), "deleted": False}
    kind = facet(facets, "jobType").get("processingType")
    values["type"] = JOB_TYPES.get(str(kind).upper(), "BATCH")
    parent = parent_job(event.run_facets)
    if parent:
        values["parent_id"] = ensure_job(connection, *parent, event.at)
    connection.execute(sa.update(jobs).where(jobs.c.id == id_).values(**values))
    return id_


def ensure_job(connection: sa.Connection, namespace: str, name: str, at: str) -> str:
    """The id of a job, which is made if nobody spoke of it before."""
    insert_new(connection, namespaces, name=namespace, created_at=at, updated_at=at)
    id_ = stable_id("job", namespace, name)
    insert_new(
        connection,
        jobs,
        id=id_,
        namespace=namespace,
        name=name,
        type="BATCH",
        facets={},
        created_at=at,
        updated_at=at,
        version_rank="",
        deleted=False,
    )
    return id_


def update_job_version(connection: sa.Connection, job_id: str, run_id: str, *, state: str, at: str) -> None:
    """What a job reads and writes is what its last completed run did; before there is one, what its last run did."""
    query = (
        sa.select(dataset_versions.c.dataset_id, dataset_versions.c.id, run_io.c.direction)
        .join(run_io, run_io.c.version_id == dataset_versions.c.id)
        .where(run_io.c.run_id == run_id)
    )
    touched = [Touched(row.dataset_id, row.id, row.direction, {}) for row in connection.execute(query)]
    rank = f"{1 if state == 'COMPLETED' else 0}{at}"
    version = adopt_version(connection, job_id, touched, run_id=run_id, rank=rank, at=at)
    connection.execute(sa.update(runs).where(runs.c.id == run_id).values(job_version=version))


def adopt_version(
    connection: sa.Connection, job_id: str, touched: Sequence[Touched], *, run_id: str | None, rank: str, at: str
) -> str:
    """The job's version for what it touches; the job is at it from now on, unless a weightier or newer one is known."""
    reads = sorted({each.dataset_id for each in touched if each.direction == "INPUT"})
    writes = sorted({each.dataset_id for each in touched if each.direction == "OUTPUT"})
    version = stable_id("job version", job_id, *reads, "", *writes)
    insert_new(connection, job_versions, id=version, job_id=job_id, inputs=reads, outputs=writes, created_at=at)
    connection.execute(sa.update(job_versions).where(job_versions.c.id == version).values(latest_run=run_id))
    row = connection.execute(sa.select(jobs.c.version_rank, jobs.c.current_version).where(jobs.c.id == job_id)).one()
    if rank < row.version_rank:
        return version
    connection.execute(sa.update(jobs).where(jobs.c.id == job_id).values(current_version=version, version_rank=rank))
    if version != row.current_version:
        connection.execute(sa.delete(job_io).where(job_io.c.job_id == job_id))
        sides = (("INPUT", reads), ("OUTPUT", writes))
        rows = [{"job_id": job_id, "dataset_id": id_, "direction": side} for side, ids in sides for id_ in ids]
        insert_all(connection, job_io, rows)
    return version
