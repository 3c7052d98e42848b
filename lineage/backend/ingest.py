"""From an event to rows. Events may come twice and in any order: the rows end up the same."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from lineage.backend.columns import replace_edges
from lineage.backend.incoming import Incoming, IncomingJob, facet, to_incoming
from lineage.backend.places import (
    ensure_namespace,
    hear_of_dataset,
    read_version,
    refresh_current,
    settle_versions,
    stable_id,
    written_version,
)
from lineage.backend.tables import (
    dataset_versions,
    events,
    insert_new,
    job_io,
    job_versions,
    jobs,
    run_io,
    runs,
    take_turn,
)

STATES = {"START": "RUNNING", "RUNNING": "RUNNING", "COMPLETE": "COMPLETED", "FAIL": "FAILED", "ABORT": "ABORTED"}
ENDED = frozenset({"COMPLETED", "FAILED", "ABORTED"})
JOB_TYPES = {"STREAMING": "STREAM", "STREAM": "STREAM", "SERVICE": "SERVICE"}


@dataclass(frozen=True, slots=True)
class Touched:
    """A dataset that an event speaks of, with the version read or written and what held for this run only."""

    dataset_id: str
    version_id: str
    direction: str
    facets: dict[str, Any]


def ingest(connection: sa.Connection, event: Incoming) -> bool:
    """Store an event and everything it says; False if it was stored before."""
    take_turn(connection)
    namespace = event.job.namespace if event.job else None
    new = insert_new(
        connection,
        events,
        key=event.key,
        run_id=event.run_id,
        event_type=event.type,
        event_at=event.at,
        job_namespace=namespace,
        body=dict(event.body),
    )
    if not new:
        return False
    heard_at = connection.scalar(sa.select(runs.c.heard_at).where(runs.c.id == event.run_id))
    if heard_at is not None and event.at < heard_at:
        replay(connection, event)
    else:
        apply(connection, event)
    return True


def replay(connection: sa.Connection, late: Incoming) -> None:
    """An event came after a later one of its run: forget the run and hear all its events again, in order."""
    v, run_id = dataset_versions.c, late.run_id
    connection.execute(sa.delete(run_io).where(run_io.c.run_id == run_id))
    connection.execute(sa.delete(runs).where(runs.c.id == run_id))
    connection.execute(sa.update(dataset_versions).where(v.run_id == run_id).values(facets={}, heard_at=""))
    told = sa.select(events.c.body).where(events.c.run_id == run_id).order_by(events.c.event_at, events.c.id)
    for body in list(connection.scalars(told)):
        apply(connection, to_incoming(body, b""))


def apply(connection: sa.Connection, event: Incoming) -> None:
    """What an event says, that follows everything heard of its run."""
    job_id = hear_of_job(connection, event.job, event) if event.job else None
    state = hear_of_run(connection, event, job_id, event.run_id) if event.run_id and job_id else None
    touched = [*inputs(connection, event), *outputs(connection, event, job_id)]
    if event.run_id and job_id and state:
        add_run_io(connection, event.run_id, touched)
        settle_versions(connection, event.run_id, state, at=event.at)
        update_job_version(connection, job_id, event.run_id, state=state, at=event.at)
    elif job_id:
        adopt_version(connection, job_id, touched, run_id=None, rank=f"1{event.at}", at=event.at)
    for each in touched:
        refresh_current(connection, each.dataset_id)


def inputs(connection: sa.Connection, event: Incoming) -> list[Touched]:
    """The datasets an event reads."""
    found = []
    for said in event.inputs:
        id_ = hear_of_dataset(connection, said, event.at)
        version = read_version(connection, said, id_, at=event.at)
        found.append(Touched(id_, version, "INPUT", dict(said.io_facets)))
    return found


def outputs(connection: sa.Connection, event: Incoming, job_id: str | None) -> list[Touched]:
    """The datasets an event writes."""
    found = []
    for said in event.outputs:
        id_ = hear_of_dataset(connection, said, event.at)
        version = written_version(connection, said, id_, run_id=event.run_id, at=event.at)
        if is_newest(connection, event, job_id):
            replace_edges(connection, facet(said.facets, "columnLineage"), id_, job_id=job_id or "", at=event.at)
        found.append(Touched(id_, version, "OUTPUT", dict(said.io_facets)))
    return found


def is_newest(connection: sa.Connection, event: Incoming, job_id: str | None) -> bool:
    """True unless a later event of the same job came in before this one."""
    updated_at = connection.scalar(sa.select(jobs.c.updated_at).where(jobs.c.id == job_id))
    return updated_at is None or event.at >= updated_at


def hear_of_job(connection: sa.Connection, job: IncomingJob, event: Incoming) -> str:
    """What an event says of its job. Returns the job's id."""
    id_ = ensure_job(connection, job.namespace, job.name, event.at)
    row = connection.execute(sa.select(jobs.c.facets, jobs.c.updated_at).where(jobs.c.id == id_)).one()
    newer = event.at >= row.updated_at
    facets = {**row.facets, **job.facets} if newer else {**job.facets, **row.facets}
    values: dict[str, Any] = {"facets": facets, "updated_at": max(event.at, row.updated_at), "deleted": False}
    kind = facet(facets, "jobType").get("processingType")
    values["type"] = JOB_TYPES.get(str(kind).upper(), "BATCH")
    parent = facet(facet(event.run_facets, "parent") or facet(event.run_facets, "parentRun"), "job")
    if isinstance(parent.get("namespace"), str) and isinstance(parent.get("name"), str):
        values["parent_id"] = ensure_job(connection, parent["namespace"], parent["name"], event.at)
    connection.execute(sa.update(jobs).where(jobs.c.id == id_).values(**values))
    return id_


def ensure_job(connection: sa.Connection, namespace: str, name: str, at: str) -> str:
    """The id of a job, which is made if nobody spoke of it before."""
    ensure_namespace(connection, namespace, at)
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


def hear_of_run(connection: sa.Connection, event: Incoming, job_id: str, run_id: str) -> str:
    """What an event says of its run. Returns the state the run is in now."""
    r, at = runs.c, event.at
    insert_new(connection, runs, id=run_id, job_id=job_id, state="NEW", created_at=at, heard_at=at, facets={})
    row = connection.execute(sa.select(runs).where(r.id == run_id)).one()
    state = STATES.get(event.type)
    if state is None or (row.state in ENDED and state not in ENDED):
        state = row.state
    values: dict[str, Any] = {"facets": {**row.facets, **event.run_facets}, "state": state, "heard_at": at}
    if event.type == "START" and row.started_at is None:
        values["started_at"] = at
    if STATES.get(event.type) in ENDED:
        values["ended_at"] = at
    connection.execute(sa.update(runs).where(r.id == run_id).values(**values))
    return str(state)


def add_run_io(connection: sa.Connection, run_id: str, touched: list[Touched]) -> None:
    """Which versions a run read and wrote. The run's last word on a dataset says at which version it was."""
    now = {each.version_id for each in touched}
    for each in touched:
        mine = (run_io.c.run_id == run_id, run_io.c.direction == each.direction)
        others = sa.select(dataset_versions.c.id).where(
            dataset_versions.c.dataset_id == each.dataset_id, dataset_versions.c.id.not_in(now)
        )
        connection.execute(sa.delete(run_io).where(*mine, run_io.c.version_id.in_(others)))
        keys = {"run_id": run_id, "version_id": each.version_id, "direction": each.direction}
        if not insert_new(connection, run_io, **keys, facets=each.facets):
            here = (*mine, run_io.c.version_id == each.version_id)
            before = connection.scalar(sa.select(run_io.c.facets).where(*here)) or {}
            connection.execute(sa.update(run_io).where(*here).values(facets={**before, **each.facets}))


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
    connection: sa.Connection, job_id: str, touched: list[Touched], *, run_id: str | None, rank: str, at: str
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
        for direction, ids in (("INPUT", reads), ("OUTPUT", writes)):
            for dataset_id in ids:
                insert_new(connection, job_io, job_id=job_id, dataset_id=dataset_id, direction=direction)
    return version
