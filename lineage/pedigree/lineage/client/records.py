"""What the lineage backend tells about datasets, runs and jobs, as readers get it."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from pedigree.lineage.dataset import Assertion, Field
from pedigree.lineage.naming import DatasetName


@dataclass(frozen=True, slots=True)
class DatasetVersionRef:
    """A dataset at a version, as its own system counts; None if nobody said which."""

    name: DatasetName
    version: str | None = None


@dataclass(frozen=True, slots=True)
class RunRecord:
    """One run.

    Attributes:
        job: the job's name, `build.orders`, in `namespace`.
        state: NEW, RUNNING, COMPLETED, FAILED or ABORTED.
        error: why it failed; `trace` is where.
        inputs: what it read, `outputs` what it wrote, with versions.
        rows: how many rows it wrote (or read), where it said so.
        notes: what the job noted, by the name it gave.
        assertions: what the quality gate found on the table version that `written_by` was asked about.
    """

    id: str
    namespace: str
    job: str
    state: str
    started_at: datetime | None
    ended_at: datetime | None
    nominal: tuple[datetime, datetime] | None = None
    error: str | None = None
    trace: str | None = None
    inputs: tuple[DatasetVersionRef, ...] = ()
    outputs: tuple[DatasetVersionRef, ...] = ()
    rows: Mapping[DatasetName, int] = field(default_factory=dict)
    notes: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    assertions: tuple[Assertion, ...] = ()


@dataclass(frozen=True, slots=True)
class VersionRecord:
    """One version of a dataset; `version` as its own system counts, `id` as the backend does.

    `run_id` is the run that wrote it and `run_state` that run's state; both None if it was only ever read.
    """

    id: str
    name: DatasetName
    version: str | None
    created_at: datetime
    run_id: str | None
    run_state: str | None
    fields: tuple[Field, ...] = ()
    assertions: tuple[Assertion, ...] = ()


@dataclass(frozen=True, slots=True)
class DatasetRecord:
    """A dataset as it is now; `current` is the backend's id of the version it is at."""

    name: DatasetName
    description: str
    updated_at: datetime
    current: str | None
    version: str | None
    fields: tuple[Field, ...] = ()
    assertions: tuple[Assertion, ...] = ()
    tags: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class JobRecord:
    """A job: what it reads and writes, and its last run."""

    namespace: str
    name: str
    description: str
    inputs: tuple[DatasetName, ...] = ()
    outputs: tuple[DatasetName, ...] = ()
    latest_run: RunRecord | None = None


@dataclass(frozen=True, slots=True)
class GraphNode:
    """A dataset, a job or a column in a graph. `column` is empty but for columns."""

    id: str
    kind: str
    namespace: str
    name: str
    column: str = ""


@dataclass(frozen=True, slots=True)
class Edge:
    """Data flows from `origin` to `destination`, both node ids."""

    origin: str
    destination: str


@dataclass(frozen=True, slots=True)
class LineageGraph:
    """Nodes by their ids, and the edges between them."""

    nodes: Mapping[str, GraphNode]
    edges: frozenset[Edge]

    def upstream(self, node_id: str) -> frozenset[str]:
        """Every node that data reaches this one from."""
        return reached(node_id, {(edge.destination, edge.origin) for edge in self.edges})

    def downstream(self, node_id: str) -> frozenset[str]:
        """Every node that data of this one reaches."""
        return reached(node_id, {(edge.origin, edge.destination) for edge in self.edges})


def reached(start: str, steps: set[tuple[str, str]]) -> frozenset[str]:
    """Every node that steps lead to from `start`, without it unless a cycle leads back."""
    following: dict[str, set[str]] = defaultdict(set)
    for here, there in steps:
        following[here].add(there)
    seen: set[str] = set()
    frontier = {start}
    while frontier:
        frontier = {there for here in frontier for there in following[here]} - seen
        seen |= frontier
    return frozenset(seen)
