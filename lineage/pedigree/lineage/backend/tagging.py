"""Tags, on datasets, their fields, and jobs."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from typing import Any

import sqlalchemy as sa

from pedigree.lineage.backend.tables import among, insert_new, taggings, tags

Tagged = dict[tuple[str, str], list[str]]


def load_tags(connection: sa.Connection, subjects: Iterable[str]) -> Tagged:
    """The tags of datasets or jobs, by subject and field; the field is empty for the subject itself."""
    query = sa.select(taggings).where(among(connection, taggings.c.subject_id, subjects)).order_by(taggings.c.tag)
    found: Tagged = defaultdict(list)
    for row in connection.execute(query):
        found[row.subject_id, row.field].append(row.tag)
    return found


def tag(connection: sa.Connection, subject: str, name: str, *, field: str = "") -> None:
    """Put a tag on a subject; the tag is made if it is not there."""
    insert_new(connection, tags, name=name)
    insert_new(connection, taggings, subject_id=subject, field=field, tag=name)


def untag(connection: sa.Connection, subject: str, name: str, *, field: str = "") -> None:
    """Take a tag off a subject."""
    t = taggings.c
    connection.execute(sa.delete(taggings).where(t.subject_id == subject, t.field == field, t.tag == name))


def put_tag(connection: sa.Connection, name: str, description: str | None) -> dict[str, Any]:
    """Make a tag, or describe it anew."""
    insert_new(connection, tags, name=name)
    connection.execute(sa.update(tags).where(tags.c.name == name).values(description=description))
    return {"name": name, "description": description}


def list_tags(connection: sa.Connection, *, limit: int, offset: int) -> list[dict[str, Any]]:
    """Every tag, by name."""
    query = sa.select(tags).order_by(tags.c.name).limit(limit).offset(offset)
    return [{"name": row.name, "description": row.description} for row in connection.execute(query)]
