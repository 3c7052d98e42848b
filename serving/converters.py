"""Rows turned into Feast's response: a value, a status and an event time for each feature of each entity row. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from google.protobuf.timestamp_pb2 import Timestamp

from serving.plan import View
from serving.question import Question
from serving.row import Key, Row
from serving.v1.serving_pb2 import (
    NOT_FOUND,
    NULL_VALUE,
    OUTSIDE_MAX_AGE,
    PRESENT,
    FieldStatus,
    GetOnlineFeaturesResponse,
)
from serving.v1.value_pb2 import Value

FeatureVector = GetOnlineFeaturesResponse.FeatureVector

NULL = Value()
NO_TIME = Timestamp()


@dataclass(frozen=True, slots=True)
class Reading:
    """What must be read of one view: each key once, and for every entity row the place of its key."""

    view: View
    keys: tuple[Key, ...]
    places: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Cell:
    """One value of an answer."""

    value: Value
    status: FieldStatus
    event_at: Timestamp


def reading_of(view: View, keys: Iterable[Key]) -> Reading:
    """Each key of `keys` once, in the order of first mention."""
    place_of: dict[tuple[bytes, ...], int] = {}
    unique: list[Key] = []
    places: list[int] = []
    for key in keys:
        name = tuple(value.SerializeToString(deterministic=True) for value in key)
        if name not in place_of:
            place_of[name] = len(unique)
            unique.append(key)
        places.append(place_of[name])
    return Reading(view=view, keys=tuple(unique), places=tuple(places))


def response_of(
    question: Question, readings: Sequence[Reading], *, rows: Sequence[Sequence[Row | None]], now: datetime
) -> GetOnlineFeaturesResponse:
    """Feast's response: join keys as they were sent, then the features view by view.

    Args:
        question: what was asked.
        readings: what was read for it, one per view.
        rows: for each reading the row of each of its keys.
        now: the instant against which ages are judged.
    """
    response = GetOnlineFeaturesResponse()
    response.metadata.feature_names.val.extend(question.names())
    response.results.extend(echo(column) for column in question.columns.values())
    for reading, found in zip(readings, rows, strict=True):
        response.results.extend(feature_vectors(reading, found, now=now))
    if question.with_versions:
        for name, version in versions(question.views).items():
            response.metadata.feature_view_metadata.add(name=name, version=version)
    return response


def versions(views: Iterable[View]) -> Mapping[str, int]:
    """The current version of each view, by the name it was asked by."""
    return {view.name: view.version for view in views}


def echo(column: Sequence[Value]) -> FeatureVector:
    """The values of a join key as they were sent."""
    return FeatureVector(values=column, statuses=[PRESENT] * len(column), event_timestamps=[NO_TIME] * len(column))


def feature_vectors(reading: Reading, rows: Iterable[Row | None], *, now: datetime) -> list[FeatureVector]:
    """One vector per feature of a view, spread from the keys over the entity rows."""
    by_key = [cells_of(row, reading.view, now=now) for row in rows]
    return [vector(column, reading.places) for column in zip(*by_key, strict=True)]


def vector(cells: Sequence[Cell], places: Iterable[int]) -> FeatureVector:
    """The cells of the entity rows as Feast's parallel lists."""
    spread = [cells[place] for place in places]
    return FeatureVector(
        values=[cell.value for cell in spread],
        statuses=[cell.status for cell in spread],
        event_timestamps=[cell.event_at for cell in spread],
    )


def cells_of(row: Row | None, view: View, *, now: datetime) -> list[Cell]:
    """What is told of one row: a cell for each feature of `view`, with the status that is true of it."""
    if row is None:
        return [Cell(NULL, NOT_FOUND, NO_TIME)] * len(view.features)
    event_at = Timestamp()
    event_at.FromDatetime(row.event_at)
    if is_outside(row.event_at, view.ttl, now=now):
        return [Cell(NULL, OUTSIDE_MAX_AGE, event_at)] * len(view.features)
    return [
        Cell(NULL, NULL_VALUE, event_at) if stored is None else Cell(Value.FromString(stored), PRESENT, event_at)
        for stored in row.values
    ]


def is_outside(event_at: datetime, ttl: timedelta, *, now: datetime) -> bool:
    """Whether a value is older than `ttl`; exactly `ttl` old is not. A ttl of zero is no limit."""
    return bool(ttl) and now - event_at > ttl
