"""Datasets and their versions, as events speak of them.

A version is written by one run, or only ever read. Which of its versions a dataset is at: the newest that was written
and whose run has not failed; for a dataset nobody writes, the newest that was read.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from uuid import NAMESPACE_URL, uuid5

import sqlalchemy as sa

from lineage.backend.incoming import IncomingDataset, facet, objects
from lineage.backend.tables import aliases, dataset_versions, datasets, insert_new, namespaces, run_io, sources

WRITTEN, READ, FAILED = 2, 1, 0


def stable_id(*parts: str) -> str:
    """The same UUID for the same parts, always."""
    return str(uuid5(NAMESPACE_URL, "\0".join(parts)))


def ensure_namespace(connection: sa.Connection, name: str, at: str) -> None:
    """A namespace exists once something speaks of it."""
    insert_new(connection, namespaces, name=name, created_at=at, updated_at=at)


def find_dataset(connection: sa.Connection, namespace: str, name: str) -> str | None:
    """The id of a dataset, by its own name or another name of the same place."""
    own = sa.select(datasets.c.id).where(datasets.c.namespace == namespace, datasets.c.name == name)
    other = sa.select(aliases.c.dataset_id).where(aliases.c.namespace == namespace, aliases.c.name == name)
    found: str | None = connection.scalar(own) or connection.scalar(other)
    return found


def ensure_dataset(connection: sa.Connection, namespace: str, name: str, *, at: str) -> str:
    """The id of a dataset, which is made if nobody spoke of it before."""
    found = find_dataset(connection, namespace, name)
    if found:
        return found
    ensure_namespace(connection, namespace, at)
    id_ = stable_id("dataset", namespace, name)
    insert_new(connection, sources, name=namespace, type="UNKNOWN", url=namespace, created_at=at, updated_at=at)
    insert_new(
        connection,
        datasets,
        id=id_,
        namespace=namespace,
        name=name,
        source=namespace,
        created_at=at,
        updated_at=at,
        deleted=False,
    )
    return id_


def hear_of_dataset(connection: sa.Connection, said: IncomingDataset, at: str) -> str:
    """What an event says of a dataset itself: description, source, other names. Returns its id."""
    id_ = ensure_dataset(connection, said.namespace, said.name, at=at)
    changes: dict[str, Any] = {"deleted": False}
    description = facet(said.facets, "documentation").get("description") or said.facets.get("description")
    if isinstance(description, str):
        changes["description"] = description
    source = facet(said.facets, "dataSource")
    if isinstance(source.get("name"), str):
        url = str(source.get("uri") or source["name"])
        insert_new(connection, sources, name=source["name"], type="UNKNOWN", url=url, created_at=at, updated_at=at)
        changes["source"] = source["name"]
    connection.execute(sa.update(datasets).where(datasets.c.id == id_).values(**changes))
    connection.execute(
        sa.update(datasets).where(datasets.c.id == id_, datasets.c.updated_at < at).values(updated_at=at)
    )
    add_aliases(connection, said, id_, at=at)
    return id_


def add_aliases(connection: sa.Connection, said: IncomingDataset, id_: str, *, at: str) -> None:
    """Other names that an event gives to the same place."""
    for each in objects(facet(said.facets, "symlinks").get("identifiers")):
        namespace, name = each.get("namespace"), each.get("name")
        if namespace and name and (namespace, name) != (said.namespace, said.name):
            ensure_namespace(connection, namespace, at)
            insert_new(connection, aliases, namespace=namespace, name=name, dataset_id=id_)


def written_version(connection: sa.Connection, said: IncomingDataset, id_: str, *, run_id: str | None, at: str) -> str:
    """The version that a run writes: one per run, however many events it takes. Returns the version's id."""
    v, external = dataset_versions.c, said.external_version
    mine = sa.select(v.id).where(v.dataset_id == id_, v.run_id == run_id)
    known = connection.scalar(mine) if run_id else None
    if known is None:
        known = stable_id("version", id_, run_id or external or at)
        add_version(connection, known, id_, external=external, run_id=run_id, rank=WRITTEN, at=at)
    merge_facets(connection, known, said.facets, external=external, at=at, mine=True)
    if external is not None:
        absorb_read(connection, known, id_, external=external)
    return known


def absorb_read(connection: sa.Connection, written: str, dataset_id: str, *, external: str) -> None:
    """Somebody read this version before its writer was heard of: those who read it read the written one."""
    v = dataset_versions.c
    same = (v.dataset_id == dataset_id, v.external == external, v.run_id.is_(None), v.id != written)
    for read in list(connection.scalars(sa.select(v.id).where(*same))):
        readers = sa.select(run_io.c.run_id).where(run_io.c.version_id == written, run_io.c.direction == "INPUT")
        known = set(connection.scalars(readers))
        moved = sa.update(run_io).where(run_io.c.version_id == read, run_io.c.run_id.not_in(known))
        connection.execute(moved.values(version_id=written))
        connection.execute(sa.delete(run_io).where(run_io.c.version_id == read))
        at_it = sa.update(datasets).where(datasets.c.current_version == read)
        connection.execute(at_it.values(current_version=written))
        connection.execute(sa.delete(dataset_versions).where(v.id == read))


def read_version(connection: sa.Connection, said: IncomingDataset, id_: str, *, at: str) -> str:
    """The version that a run reads: the one it names, else the one the dataset is at. Returns the version's id."""
    v, external = dataset_versions.c, said.external_version
    choice = sa.select(v.id).where(v.dataset_id == id_).order_by(v.rank.desc(), v.created_at.desc()).limit(1)
    known: str | None = connection.scalar(choice if external is None else choice.where(v.external == external))
    if known is None:
        known = stable_id("version", id_, "read", external or "")
        add_version(connection, known, id_, external=external, run_id=None, rank=READ, at=at)
    merge_facets(connection, known, said.facets, external=external, at=at, mine=False)
    return known


def add_version(
    connection: sa.Connection,
    version: str,
    dataset_id: str,
    *,
    external: str | None,
    run_id: str | None,
    rank: int,
    at: str,
) -> None:
    """A version that nobody spoke of before."""
    insert_new(
        connection,
        dataset_versions,
        id=version,
        dataset_id=dataset_id,
        external=external,
        run_id=run_id,
        rank=rank,
        created_at=at,
        heard_at=at,
        facets={},
    )


def merge_facets(
    connection: sa.Connection, version: str, facets: Mapping[str, Any], *, external: str | None, at: str, mine: bool
) -> None:
    """Add facets to a version. A reader never overrules the writer, an older event never a newer."""
    v = dataset_versions.c
    row = connection.execute(
        sa.select(v.facets, v.heard_at, v.external, v.rank, v.created_at).where(v.id == version)
    ).one()
    newer = (mine or row.rank == READ) and at >= row.heard_at
    values: dict[str, Any] = {
        "facets": {**row.facets, **facets} if newer else {**facets, **row.facets},
        "external": (external if newer else row.external) or row.external or external,
        "heard_at": max(at, row.heard_at) if mine or row.rank == READ else row.heard_at,
        "created_at": min(at, row.created_at) if mine else row.created_at,
    }
    connection.execute(sa.update(dataset_versions).where(v.id == version).values(**values))


def settle_versions(connection: sa.Connection, run_id: str, state: str, *, at: str) -> None:
    """After an event of a run: its versions count if it has not failed, and its datasets are at their newest."""
    v = dataset_versions.c
    rank = FAILED if state in {"FAILED", "ABORTED"} else WRITTEN
    written = list(connection.scalars(sa.select(v.dataset_id).where(v.run_id == run_id)))
    connection.execute(sa.update(dataset_versions).where(v.run_id == run_id).values(rank=rank))
    if state == "COMPLETED" and written:
        d = datasets.c
        older = sa.or_(d.modified_at.is_(None), d.modified_at < at)
        connection.execute(sa.update(datasets).where(d.id.in_(written), older).values(modified_at=at))
    for dataset_id in written:
        refresh_current(connection, dataset_id)


def refresh_current(connection: sa.Connection, dataset_id: str) -> None:
    """Note which version a dataset is at."""
    v = dataset_versions.c
    newest = sa.select(v.id).where(v.dataset_id == dataset_id).order_by(v.rank.desc(), v.created_at.desc()).limit(1)
    current = newest.scalar_subquery()
    connection.execute(sa.update(datasets).where(datasets.c.id == dataset_id).values(current_version=current))
