"""The way back from a row of a table: the run that built its slice, the verdict on it, and the sources that it was made of."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from pedigree.lineage.client.client import LineageClient
from pedigree.lineage.client.records import DatasetVersionRef, RunRecord
from pedigree.lineage.errors import LineageUnknownError
from pedigree.lineage.naming import DatasetName


@dataclass(frozen=True, slots=True)
class Trace:
    """Where a row of a table came from.

    Attributes:
        built: the run that wrote the row's slice of the table, with the verdict on it, as version `built_version`.
        made_of: the source columns behind the column that was asked about.
        landed: for each source that the build read, the run that brought it, where one did.
    """

    built: RunRecord
    built_version: int
    made_of: Mapping[DatasetName, tuple[str, ...]]
    landed: Mapping[DatasetName, RunRecord]


def way_back(table: DatasetVersionRef, column: str, event_at: datetime, lineage: LineageClient) -> Trace | None:
    """Where a column's value of a row came from, as the table stood at a version; None where no recorded run built it.

    Raises:
        LineageUnavailableError: the lineage backend does not answer.
    """
    found = run_that_built(table, event_at, lineage)
    if found is None:
        return None
    built, version = found
    return Trace(built, version, source_columns(table.name, column, built, lineage), landings(built, lineage))


def run_that_built(
    table: DatasetVersionRef, event_at: datetime, lineage: LineageClient
) -> tuple[RunRecord, int] | None:
    """The run that wrote the slice with `event_at`, and the version it wrote, at a table's version; None: no run did."""
    for version in range(int(table.version or 0), -1, -1):
        try:
            run = lineage.written_by(table.name, str(version))
        except LineageUnknownError:
            continue  # a version that only rearranged files, such as OPTIMIZE's, was written by no run of ours
        if run.nominal and run.nominal[0] <= event_at < run.nominal[1]:
            return run, version
    return None


def source_columns(
    table: DatasetName, column: str, built: RunRecord, lineage: LineageClient
) -> dict[DatasetName, tuple[str, ...]]:
    """The columns of the build's inputs that a feature is made of."""
    nodes = lineage.columns(table, column).nodes.values()
    found: dict[DatasetName, tuple[str, ...]] = {}
    for source in built.inputs:
        columns = [
            node.column for node in nodes if (node.namespace, node.name) == (source.name.namespace, source.name.name)
        ]
        if columns:
            found[source.name] = tuple(sorted(columns))
    return found


def landings(built: RunRecord, lineage: LineageClient) -> dict[DatasetName, RunRecord]:
    """The runs that brought the build's inputs, in the versions it read."""
    found = {}
    for source in built.inputs:
        if source.version is not None:
            try:
                found[source.name] = lineage.written_by(source.name, source.version)
            except LineageUnknownError:
                continue  # a source that somebody else delivers has no run of ours
    return found
