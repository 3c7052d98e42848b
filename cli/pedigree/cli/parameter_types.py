"""Instants and lengths of time, as commands take them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

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


class Length(click.ParamType[timedelta]):
    """A number of days or hours: `30d`, `12h`."""

    name = "length"

    def convert(self, value: str | timedelta, param: click.Parameter | None, ctx: click.Context | None) -> timedelta:
        """The span of time, which is longer than none."""
        if isinstance(value, timedelta):
            return value
        unit = {"d": timedelta(days=1), "h": timedelta(hours=1)}.get(value[-1:])
        if unit is None or not value[:-1].isdecimal() or int(value[:-1]) < 1:
            self.fail(f"{value!r} is no length of time. Write 30d or 12h.", param, ctx)
        return int(value[:-1]) * unit
