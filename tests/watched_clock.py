"""When a flight was over, found by watching the clock at its destination: the oracle of everything about event times."""

from __future__ import annotations

import io
from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pandas as pd

from feature_repo.flights import UNLISTED_AIRPORTS

NEW_YORK = ZoneInfo("America/New_York")


def zones(airports: bytes) -> dict[str, str]:
    """The time zone of each airport."""
    listed = pd.read_csv(io.BytesIO(airports)).set_index("faa")["tzone"]
    return {str(airport): str(zone) for airport, zone in listed.items()} | UNLISTED_AIRPORTS


def watched(flight: Any, zones: dict[str, str]) -> dict[str, Any]:
    """Step minute by minute from the end of the time in the air until the clock shows the arrival time."""
    hour, minute = divmod(flight.sched_dep_time, 100)
    local = datetime(flight.year, flight.month, flight.day, hour, minute, tzinfo=NEW_YORK)
    scheduled = local.astimezone(UTC)
    now = scheduled + timedelta(minutes=flight.dep_delay + flight.air_time)
    while not shows(now.astimezone(ZoneInfo(zones[flight.dest])), int(flight.arr_time) % 2400):
        now += timedelta(minutes=1)
    return {
        "carrier": flight.carrier,
        "tail_number": flight.tailnum,
        "scheduled_departure_at": scheduled.replace(tzinfo=None),
        "known_at": now.replace(tzinfo=None),
    }


def shows(local: datetime, hhmm: int) -> bool:
    """Whether a clock shows `hhmm`; within the hour after it was put forward, also one that was not."""
    late = local - timedelta(hours=1)
    was_skipped = late.astimezone(UTC).astimezone(local.tzinfo).hour != late.hour
    return local.hour * 100 + local.minute == hhmm or (was_skipped and late.hour * 100 + late.minute == hhmm)
