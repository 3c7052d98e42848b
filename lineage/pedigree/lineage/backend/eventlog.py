"""The events as they came in."""

from __future__ import annotations

import sqlalchemy as sa

from pedigree.lineage.backend.runs import Json
from pedigree.lineage.backend.tables import events


def list_events(
    connection: sa.Connection,
    *,
    before: str | None,
    after: str | None,
    ascending: bool,
    limit: int,
    offset: int,
    namespace: str | None = None,
) -> Json:
    """A page of the events from `after` (included) to `before` (excluded), by their time."""
    e = events.c
    here = [
        *([e.event_at >= after] if after else []),
        *([e.event_at < before] if before else []),
        *([e.job_namespace == namespace] if namespace else []),
    ]
    order = (e.event_at.asc(), e.id.asc()) if ascending else (e.event_at.desc(), e.id.desc())
    page = sa.select(e.body).where(*here).order_by(*order).limit(limit).offset(offset)
    total = connection.scalar(sa.select(sa.func.count()).select_from(events).where(*here))
    return {"events": list(connection.scalars(page)), "totalCount": total}
