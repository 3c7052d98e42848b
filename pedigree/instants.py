"""Instants as they are typed."""

from __future__ import annotations

from datetime import UTC, datetime

import click


class Instant(click.ParamType[datetime]):
    """A day or an ISO 8601 instant; without a time zone it is UTC."""

    name = "instant"

    def convert(self, value: str | datetime, param: click.Parameter | None, ctx: click.Context | None) -> datetime:
        """The aware instant."""
        if isinstance(value, datetime):
            return value
        try:
            at = datetime.fromisoformat(value)
        except ValueError:
            self.fail(f"{value!r} is no instant. Write 2013-11-01 or 2013-11-01T12:00+00:00.", param, ctx)
        return at if at.tzinfo else at.replace(tzinfo=UTC)
