"""Namespaces and sources, in Marquez's shape."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa

from pedigree.lineage.backend.errors import NotFoundError
from pedigree.lineage.backend.runs import Json
from pedigree.lineage.backend.tables import datasets, insert_new, jobs, namespaces, sources


def namespace_shape(row: Any) -> Json:
    """One namespace."""
    return {
        "name": row.name,
        "createdAt": row.created_at,
        "updatedAt": row.updated_at,
        "ownerName": row.owner,
        "description": row.description,
        "isHidden": row.hidden,
    }


def source_shape(row: Any) -> Json:
    """One source."""
    return {
        "type": row.type,
        "name": row.name,
        "createdAt": row.created_at,
        "updatedAt": row.updated_at,
        "connectionUrl": row.url,
        "description": row.description,
    }


def list_namespaces(connection: sa.Connection, *, limit: int, offset: int) -> Json:
    """A page of the namespaces, by name."""
    page = sa.select(namespaces).order_by(namespaces.c.name).limit(limit).offset(offset)
    total = connection.scalar(sa.select(sa.func.count()).select_from(namespaces))
    return {"namespaces": [namespace_shape(row) for row in connection.execute(page)], "totalCount": total}


def namespace(connection: sa.Connection, name: str) -> Json:
    """One namespace by its name."""
    row = connection.execute(sa.select(namespaces).where(namespaces.c.name == name)).first()
    if row is None:
        raise NotFoundError("Namespace", name)
    return namespace_shape(row)


def put_namespace(connection: sa.Connection, name: str, *, owner: str, description: str | None, at: str) -> Json:
    """Make a namespace, or give it another owner."""
    insert_new(connection, namespaces, name=name, created_at=at, updated_at=at)
    changes: dict[str, Any] = {"owner": owner, "updated_at": at, "hidden": False}
    if description is not None:
        changes["description"] = description
    connection.execute(sa.update(namespaces).where(namespaces.c.name == name).values(**changes))
    return namespace(connection, name)


def delete_namespace(connection: sa.Connection, name: str) -> Json:
    """Hide everything in a namespace until the next event speaks of it."""
    found = namespace(connection, name)
    for table in (datasets, jobs):
        connection.execute(sa.update(table).where(table.c.namespace == name).values(deleted=True))
    connection.execute(sa.update(namespaces).where(namespaces.c.name == name).values(hidden=True))
    return found


def list_sources(connection: sa.Connection, *, limit: int, offset: int) -> Json:
    """A page of the sources, by name."""
    page = sa.select(sources).order_by(sources.c.name).limit(limit).offset(offset)
    total = connection.scalar(sa.select(sa.func.count()).select_from(sources))
    return {"sources": [source_shape(row) for row in connection.execute(page)], "totalCount": total}


def source(connection: sa.Connection, name: str) -> Json:
    """One source by its name."""
    row = connection.execute(sa.select(sources).where(sources.c.name == name)).first()
    if row is None:
        raise NotFoundError("Source", name)
    return source_shape(row)


def put_source(connection: sa.Connection, name: str, *, kind: str, url: str, description: str | None, at: str) -> Json:
    """Make a source, or describe it anew."""
    insert_new(connection, sources, name=name, type=kind, url=url, created_at=at, updated_at=at)
    changes = {"type": kind, "url": url, "description": description, "updated_at": at}
    connection.execute(sa.update(sources).where(sources.c.name == name).values(**changes))
    return source(connection, name)
