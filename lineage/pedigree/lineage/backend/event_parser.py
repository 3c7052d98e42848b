"""An OpenLineage event as it came in, checked and made into records. Pure."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Literal
from uuid import NAMESPACE_URL, UUID, uuid5

from pedigree.lineage.backend.event_facets import Facets, external_version
from pedigree.lineage.backend.names import long_names
from pedigree.lineage.errors import LineageError

EVENT_TYPES = frozenset({"START", "RUNNING", "COMPLETE", "ABORT", "FAIL", "OTHER"})
MOST_PROBLEMS = 20


class MalformedEventError(LineageError):
    """The body is not an object."""


class InvalidEventError(LineageError):
    """The body is JSON, but not an OpenLineage event; `problems` names every reason."""

    def __init__(self, problems: list[str]) -> None:
        self.problems = tuple(problems)
        super().__init__(f"Not an OpenLineage event: {'; '.join(problems)}. Nothing was stored.")


@dataclass(frozen=True, slots=True)
class IncomingDataset:
    """A dataset of an event; `io_facets` are what the event calls inputFacets or outputFacets."""

    namespace: str
    name: str
    facets: Facets
    io_facets: Facets

    @property
    def key(self) -> tuple[str, str]:
        """Namespace and name."""
        return self.namespace, self.name

    @property
    def external_version(self) -> str | None:
        """The version as the dataset's own system counts."""
        return external_version(self.facets)


@dataclass(frozen=True, slots=True)
class IncomingJob:
    """The job of an event."""

    namespace: str
    name: str
    facets: Facets


@dataclass(frozen=True, slots=True)
class Incoming:
    """An event. A run event has a run and a job, a job event a job, a dataset event one output and neither.

    Attributes:
        key: equal for two deliveries of one event.
        at: when it happened, ISO text in UTC.
    """

    kind: Literal["run", "job", "dataset"]
    key: str
    type: str
    at: str
    run_id: str | None
    run_facets: Facets
    job: IncomingJob | None
    inputs: tuple[IncomingDataset, ...]
    outputs: tuple[IncomingDataset, ...]
    body: Mapping[str, Any]


def read_event(body: Any, raw: bytes) -> Incoming:
    """The event in a request's body, `raw` as it came and parsed.

    Raises:
        MalformedEventError: it is no JSON object.
        InvalidEventError: it is no OpenLineage event, or one with a name that is longer than any index takes.
    """
    if not isinstance(body, dict):
        raise MalformedEventError("The body is not a JSON object. Nothing was stored.")
    found = problems(body) or long_names(body)
    if found:
        raise InvalidEventError(found[:MOST_PROBLEMS])
    return to_incoming(body, raw)


def to_incoming(body: dict[str, Any], raw: bytes) -> Incoming:
    """A body that was checked, as a record."""
    kind: Literal["run", "job", "dataset"] = "run" if "run" in body else "job" if "job" in body else "dataset"
    at, type_ = instant(body["eventTime"]), str(body.get("eventType") or "OTHER").upper()
    run_id = run_uuid(body["run"]["runId"]) if kind == "run" else None
    job, single = body.get("job"), [body["dataset"]] if kind == "dataset" else []
    return Incoming(
        kind=kind,
        key=f"{run_id}|{type_}|{at}" if run_id else hashlib.sha256(raw).hexdigest(),
        type=type_,
        at=at,
        run_id=run_id,
        run_facets=(body.get("run") or {}).get("facets") or {},
        job=IncomingJob(job["namespace"], job["name"], job.get("facets") or {}) if job and kind != "dataset" else None,
        inputs=tuple(to_dataset(each, "inputFacets") for each in body.get("inputs") or []),
        outputs=tuple(to_dataset(each, "outputFacets") for each in [*(body.get("outputs") or []), *single]),
        body=body,
    )


def to_dataset(body: Mapping[str, Any], io_facets: str) -> IncomingDataset:
    """One dataset of an event."""
    return IncomingDataset(body["namespace"], body["name"], body.get("facets") or {}, body.get(io_facets) or {})


def problems(body: Mapping[str, Any]) -> list[str]:
    """Everything that keeps a body from being an event."""
    found = []
    if not any(part in body for part in ("run", "job", "dataset")):
        found.append("it has neither run nor job nor dataset")
    try:
        instant(body.get("eventTime"))
    except (TypeError, ValueError):
        found.append(f"eventTime is {str(body.get('eventTime'))[:100]!r}, not a date-time such as 2026-01-31T08:00:00Z")
    type_ = body.get("eventType")
    if type_ is not None and str(type_).upper() not in EVENT_TYPES:
        found.append(f"eventType is {str(type_)[:100]!r}, not one of {', '.join(sorted(EVENT_TYPES))}")
    if "run" in body:
        found += [*texts_missing(body["run"], "run", "runId"), *facets_problems(body["run"], "run", "facets")]
    if "run" in body or "job" in body:
        found += texts_missing(body.get("job"), "job", "namespace", "name")
        found += facets_problems(body.get("job"), "job", "facets")
    elif "dataset" in body:
        found += texts_missing(body["dataset"], "dataset", "namespace", "name")
        found += facets_problems(body["dataset"], "dataset", "facets")
    for side in ("inputs", "outputs"):
        found += side_problems(body.get(side), side)
    return found


def side_problems(datasets: object, side: str) -> list[str]:
    """What is wrong with an event's inputs or outputs."""
    if datasets is None:
        return []
    if not isinstance(datasets, list):
        return [f"{side} is not a list"]
    found = []
    for number, each in enumerate(datasets):
        where = f"{side}[{number}]"
        found += texts_missing(each, where, "namespace", "name")
        found += facets_problems(each, where, "facets", f"{side[:-1]}Facets")
    return found


def texts_missing(part: object, where: str, *names: str) -> list[str]:
    """The names under which `part` has no text."""
    if not isinstance(part, dict):
        return [f"{where} is not an object"]
    return [f"{where}.{name} is missing" for name in names if not isinstance(part.get(name), str) or not part[name]]


def facets_problems(part: object, where: str, *names: str) -> list[str]:
    """The names under which `part` has something other than facets."""
    if not isinstance(part, dict):
        return []
    return [f"{where}.{name} is not an object" for name in names if not isinstance(part.get(name) or {}, dict)]


def instant(text: Any) -> str:
    """An ISO date-time as ISO text in UTC with microseconds; without a zone it is taken as UTC.

    Raises:
        ValueError: it is none, or in UTC not within the years 1 to 9999.
    """
    at = datetime.fromisoformat(text)
    if "T" not in text.upper() and " " not in text:
        raise ValueError(text)
    try:
        return iso(at.replace(tzinfo=UTC) if at.tzinfo is None else at)
    except OverflowError as error:
        raise ValueError(text) from error


def iso(at: datetime) -> str:
    """An aware instant as every instant is written here."""
    return at.astimezone(UTC).replace(tzinfo=None).isoformat(timespec="microseconds") + "Z"


def run_uuid(run_id: str) -> str:
    """A run's id as UUID text; what is not a UUID gets one that is always the same."""
    try:
        return str(UUID(run_id))
    except ValueError:
        return str(uuid5(NAMESPACE_URL, f"run/{run_id}"))
