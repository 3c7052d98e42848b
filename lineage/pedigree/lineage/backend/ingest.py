"""From an event to rows. Events may come twice and in any order: the rows end up the same."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa

from pedigree.lineage.backend.columns import edges_said, replace_edges
from pedigree.lineage.backend.dataset_rows import Places
from pedigree.lineage.backend.dataset_versions import Versions, refresh_current, settle_versions
from pedigree.lineage.backend.event_parser import Incoming, to_incoming
from pedigree.lineage.backend.ingest_jobs import Touched, adopt_version, hear_of_job, update_job_version
from pedigree.lineage.backend.tables import (
    dataset_versions,
    events,
    insert_all,
    insert_new,
    jobs,
    run_io,
    runs,
    take_turn,
)

STATES = {"START": "RUNNING", "RUNNING": "RUNNING", "COMPLETE": "COMPLETED", "FAIL": "FAILED", "ABORT": "ABORTED"}
ENDED = frozenset({"COMPLETED", "FAILED", "ABORTED"})


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
    touched = hear_of_datasets(connection, event, job_id)
    current = {each.dataset_id for each in touched}
    if event.run_id and job_id and state:
        add_run_io(connection, event.run_id, touched)
        current.update(settle_versions(connection, event.run_id, state, at=event.at))
        update_job_version(connection, job_id, event.run_id, state=state, at=event.at)
    elif job_id:
        adopt_version(connection, job_id, touched, run_id=None, rank=f"1{event.at}", at=event.at)
    refresh_current(connection, current)


def hear_of_datasets(connection: sa.Connection, event: Incoming, job_id: str | None) -> list[Touched]:
    """What an event says of datasets, their versions and their columns."""
    places = Places(connection, (*event.inputs, *event.outputs), event.at)
    read = [(places.hear(said), said) for said in event.inputs]
    written, edges = [], {}
    newest = is_newest(connection, event, job_id)
    for said in event.outputs:
        id_ = places.hear(said)
        written.append((id_, said))
        made = edges_said(said, id_, job_id=job_id or "", id_of=places.id_of) if newest else None
        if made is not None:
            edges[id_] = made
    places.write()
    replace_edges(connection, edges, job_id=job_id or "")
    versions = Versions(connection, run_id=event.run_id, at=event.at)
    versions.load(read, written)
    heard = [(id_, versions.read(id_, said), "INPUT", said) for id_, said in read]
    heard += [(id_, versions.written(id_, said), "OUTPUT", said) for id_, said in written]
    versions.write()
    return [Touched(id_, versions.standing_for(at), side, dict(said.io_facets)) for id_, at, side, said in heard]


def is_newest(connection: sa.Connection, event: Incoming, job_id: str | None) -> bool:
    """True unless a later event of the same job came in before this one."""
    updated_at = connection.scalar(sa.select(jobs.c.updated_at).where(jobs.c.id == job_id))
    return updated_at is None or event.at >= updated_at


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
    now: dict[tuple[str, str], dict[str, Any]] = {}
    for each in touched:
        now.setdefault((each.version_id, each.direction), {}).update(each.facets)
    spoken_of = {(each.dataset_id, each.direction) for each in touched}
    versions = {version_id for version_id, _ in now}
    replaced = []
    for row in touched_before(connection, run_id):
        key = row.version_id, row.direction
        if key in now:
            now[key] = {**row.facets, **now[key]}
        if key in now or ((row.dataset_id, row.direction) in spoken_of and row.version_id not in versions):
            replaced.append({"run": run_id, "version": row.version_id, "side": row.direction})
    if replaced:
        io, said = run_io.c, sa.bindparam
        mine = (io.run_id == said("run"), io.version_id == said("version"), io.direction == said("side"))
        connection.execute(sa.delete(run_io).where(*mine), replaced)
    keys = ("version_id", "direction")
    insert_all(
        connection, run_io, [{"run_id": run_id, **dict(zip(keys, key, strict=True)), "facets": now[key]} for key in now]
    )


def touched_before(connection: sa.Connection, run_id: str) -> list[Any]:
    """What a run was known to read and write, with the datasets."""
    query = (
        sa.select(run_io, dataset_versions.c.dataset_id)
        .join(dataset_versions, dataset_versions.c.id == run_io.c.version_id)
        .where(run_io.c.run_id == run_id)
    )
    return list(connection.execute(query))
