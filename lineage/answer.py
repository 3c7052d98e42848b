"""From Marquez's JSON to records. Pure, and lenient: whatever an answer leaves out is left out of the record."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from typing import Any

from lineage.dataset import Assertion, Field
from lineage.naming import DatasetName, NodeKind, node_id
from lineage.record import (
    DatasetRecord,
    DatasetVersionRef,
    Edge,
    JobRecord,
    LineageGraph,
    Node,
    RunRecord,
    VersionRecord,
)

Json = Mapping[str, Any]
NOTE = "pedigree_"
IO = "pedigree_io"
MARKS = frozenset({"_producer", "_schemaURL"})


def facet(body: Json, name: str) -> Json:
    """One facet of a body; empty if it is not there."""
    found = (body.get("facets") or {}).get(name)
    return found if isinstance(found, Mapping) else {}


def instant(text: str) -> datetime:
    """An ISO date-time, aware, in UTC."""
    at = datetime.fromisoformat(text)
    return at.replace(tzinfo=UTC) if at.tzinfo is None else at.astimezone(UTC)


def instant_or_none(text: str | None) -> datetime | None:
    """An ISO date-time, if there is one."""
    return instant(text) if text else None


def dataset_name(body: Json) -> DatasetName:
    """What holds a namespace and a name, as a name."""
    return DatasetName(body["namespace"], body["name"])


def external_version(body: Json) -> str | None:
    """The version that a dataset's own system counts."""
    version = facet(body, "version").get("datasetVersion")
    return None if version is None else str(version)


def fields(body: Json) -> tuple[Field, ...]:
    """The columns of a dataset."""
    return tuple(
        Field(each["name"], each.get("type") or "", each.get("description") or "") for each in body.get("fields") or []
    )


def assertions(body: Json) -> tuple[Assertion, ...]:
    """What the quality gate found on a dataset."""
    return tuple(
        Assertion(
            fact=each["assertion"],
            held=bool(each["success"]),
            column=each.get("column"),
            broken_rows=int((each.get("params") or {}).get("broken_rows", 0)),
            detail=each.get("description") or "",
        )
        for each in facet(body, "dataQualityAssertions").get("assertions") or []
    )


def dataset(body: Json) -> DatasetRecord:
    """A dataset."""
    return DatasetRecord(
        name=dataset_name(body),
        description=body.get("description") or "",
        updated_at=instant(body["updatedAt"]),
        current=body.get("currentVersion"),
        version=external_version(body),
        fields=fields(body),
        assertions=assertions(body),
        tags=tuple(body.get("tags") or ()),
    )


def version(body: Json) -> VersionRecord:
    """A dataset's version."""
    writer = body.get("createdByRun") or {}
    return VersionRecord(
        id=body["version"],
        name=dataset_name(body),
        version=external_version(body),
        created_at=instant(body["createdAt"]),
        run_id=writer.get("id"),
        run_state=writer.get("state"),
        fields=fields(body),
        assertions=assertions(body),
    )


def run(body: Json) -> RunRecord:
    """A run. Versions of its inputs and outputs are those it listed itself, if it did."""
    job, error = body.get("jobVersion") or {}, facet(body, "errorMessage")
    return RunRecord(
        id=body["id"],
        namespace=job.get("namespace", ""),
        job=job.get("name", ""),
        state=body["state"],
        started_at=instant_or_none(body.get("startedAt")),
        ended_at=instant_or_none(body.get("endedAt")),
        nominal=nominal(body),
        error=error.get("message"),
        trace=error.get("stackTrace"),
        inputs=touched(body, "inputs", "inputDatasetVersions"),
        outputs=touched(body, "outputs", "outputDatasetVersions"),
        rows=rows(body),
        notes=notes(body),
    )


def nominal(body: Json) -> tuple[datetime, datetime] | None:
    """The slice of time a run is for."""
    start, end = body.get("nominalStartTime"), body.get("nominalEndTime")
    return (instant(start), instant(end)) if start and end else None


def touched(body: Json, listed: str, known: str) -> tuple[DatasetVersionRef, ...]:
    """What a run read or wrote: as it listed it, else as the backend knows it, without versions."""
    own = facet(body, IO).get(listed)
    if own is not None:
        return tuple(DatasetVersionRef(dataset_name(each), each.get("version")) for each in own)
    return tuple(DatasetVersionRef(dataset_name(each["datasetVersionId"])) for each in body.get(known) or [])


def rows(body: Json) -> Mapping[DatasetName, int]:
    """How many rows a run read and wrote, where it said so."""
    found = {}
    for known, name in (("inputDatasetVersions", "inputStatistics"), ("outputDatasetVersions", "outputStatistics")):
        for each in body.get(known) or []:
            count = facet(each, name).get("rowCount")
            if count is not None:
                found[dataset_name(each["datasetVersionId"])] = int(count)
    return found


def notes(body: Json) -> Mapping[str, Json]:
    """What a job noted about its run."""
    return {
        name.removeprefix(NOTE): {key: value for key, value in facts.items() if key not in MARKS}
        for name, facts in (body.get("facets") or {}).items()
        if name.startswith(NOTE) and name != IO
    }


def job(body: Json) -> JobRecord:
    """A job."""
    latest = body.get("latestRun")
    return JobRecord(
        namespace=body["namespace"],
        name=body["name"],
        description=body.get("description") or "",
        inputs=tuple(dataset_name(each) for each in body.get("inputs") or []),
        outputs=tuple(dataset_name(each) for each in body.get("outputs") or []),
        latest_run=run(latest) if latest else None,
    )


def graph(body: Json) -> LineageGraph:
    """A graph of datasets and jobs."""
    nodes, edges = {}, set()
    for each in body["graph"]:
        data = each.get("data") or {}
        nodes[each["id"]] = Node(each["id"], each["type"], data.get("namespace", ""), data.get("name", ""))
        edges |= {Edge(edge["origin"], edge["destination"]) for edge in (*each["inEdges"], *each["outEdges"])}
    return LineageGraph(nodes, frozenset(edge for edge in edges if {edge.origin, edge.destination} <= nodes.keys()))


def column_graph(body: Json) -> LineageGraph:
    """A graph of columns. Marquez lists an edge from the node it stands at; here edges point the way the data flows."""
    nodes, edges = {}, set()
    for each in body["graph"]:
        data = each.get("data") or {}
        where = (data.get("namespace", ""), data.get("dataset", ""), data.get("field", ""))
        nodes[each["id"]] = Node(each["id"], each["type"], *where)
        edges |= {Edge(origin, each["id"]) for origin in origins(data.get("inputFields") or [])}
    return LineageGraph(nodes, frozenset(edges))


def origins(input_fields: Iterable[Json]) -> Iterable[str]:
    """The node ids of the columns that a column is made of."""
    kind: NodeKind = "datasetField"
    for each in input_fields:
        yield node_id(kind, each["namespace"], each["dataset"], each["field"])
