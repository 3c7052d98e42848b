"""Counts over the last day by hour and the last week by day, for the first page of Marquez's web UI."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import sqlalchemy as sa

from pedigree.lineage.backend.errors import BadRequestError
from pedigree.lineage.backend.event_parser import iso
from pedigree.lineage.backend.runs import Json
from pedigree.lineage.backend.tables import datasets, events, jobs, sources

ASSETS = {"jobs": jobs, "datasets": datasets, "sources": sources}


def intervals(period: str, timezone: str, now: datetime) -> Iterator[tuple[str, str]]:
    """Start and end of each hour of the last 24 (`DAY`), or of each day of the last 7 in a time zone (`WEEK`)."""
    if period.upper() == "DAY":
        hour = now.astimezone(UTC).replace(minute=0, second=0, microsecond=0)
        starts = [hour - timedelta(hours=back) for back in range(23, -1, -1)]
        ends = [start + timedelta(hours=1) for start in starts]
    elif period.upper() == "WEEK":
        today = now.astimezone(zone(timezone)).replace(hour=0, minute=0, second=0, microsecond=0)
        starts = [today - timedelta(days=back) for back in range(6, -1, -1)]
        ends = [start + timedelta(days=1) for start in starts]
    else:
        raise BadRequestError("Invalid period: it is DAY or WEEK")
    for start, end in zip(starts, ends, strict=True):
        yield iso(start), iso(end)


def zone(name: str) -> ZoneInfo:
    """A time zone by its name."""
    try:
        return ZoneInfo(name or "UTC")
    except (ZoneInfoNotFoundError, ValueError, OSError) as error:
        raise BadRequestError(f"{name[:100]!r} is no time zone such as Europe/Berlin") from error


def event_counts(connection: sa.Connection, *, period: str, timezone: str, now: datetime) -> list[Json]:
    """How many events of each kind came in each interval."""
    e = events.c
    found = []
    for start, end in intervals(period, timezone, now):
        query = sa.select(e.event_type, sa.func.count()).where(e.event_at >= start, e.event_at < end)
        counts = {row[0]: row[1] for row in connection.execute(query.group_by(e.event_type))}
        kinds = {kind.lower(): counts.get(kind, 0) for kind in ("FAIL", "START", "COMPLETE", "ABORT")}
        found.append({"startInterval": start, "endInterval": end, **kinds})
    return found


def asset_counts(connection: sa.Connection, asset: str, *, period: str, timezone: str, now: datetime) -> list[Json]:
    """How many jobs, datasets or sources there were at the end of each interval."""
    table = ASSETS[asset]
    found = []
    for start, end in intervals(period, timezone, now):
        count = connection.scalar(sa.select(sa.func.count()).where(table.c.created_at < end))
        found.append({"startInterval": start, "endInterval": end, "count": count})
    return found
