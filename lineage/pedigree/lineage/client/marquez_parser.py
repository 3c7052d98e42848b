"""From Marquez's JSON to records. Pure, and lenient: whatever an answer leaves out is left out of the record."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from typing import Any

from pedigree.lineage.client.records import (
    DatasetRecord,
    DatasetVersionRef,
    Edge,
    GraphNode,
    JobRecord,
    LineageGraph,
    RunRecord,
    VersionRecord,
)
from pedigree.lineage.dataset import Assertion, Field
from pedigree.lineage.naming import DatasetName, NodeKind, node_id

Json = Mapping[str, Any]
NOTE = "pedigree_"
IO = "pedigree_io"
MARKS = frozenset({"_producer", "_schemaURL"})


def facet(body: Json, name: str) -> Json:
    """One facet of a body; empty if it is not there."""
    found = (body.get("facets") or {}).get(name)
    return found if isinstance(found, Mapping) else {}


def instant(iso: str) -> datetime:
    """An ISO date-time, aware, in UTC."""
    at = datetime.fromisoformat(iso)
    return at.replace(tzinfo=UTC) if at.tzinfo is None else at.astimezone(UTC)


def instant_or_none(found: object) -> datetime | None:
    """An ISO date-time, if it is one; what others emit is not always."""
    try:
        return instant(found) if isinstance(found, str) and found else None
    except (ValueError, OverflowError):
        return None


def text(found: object) -> str:
    """A text; empty for anything else."""
    return found if isinstance(found, str) else ""


def listed(found: object, *names: str) -> list[Json]:
    """The objects of a list that have a text under each of `names`."""
    members = found if isinstance(found, list) else []
    return [each for each in members if isinstance(each, Mapping) and all(text(each.get(name)) for name in names)]


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
        Field(each["name"], text(each.get("type")), text(each.get("description")))
        for each in listed(body.get("fields"), "name")
    )


def assertions(body: Json) -> tuple[Assertion, ...]:
    """What the quality gate found on a dataset."""
    found = listed(facet(body, "dataQualityAssertions").get("assertions"), "assertion")
    return tuple(
        Assertion(
            rule=each["assertion"],
            held=each["success"],
            column=each.get("column"),
            broken_rows=broken_rows(each),
            detail=text(each.get("description")),
        )
        for each in found
        if isinstance(each.get("success"), bool)
    )


def broken_rows(assertion: Json) -> int:
    """How many rows broke what must hold, where the assertion says so."""
    params = assertion.get("params")
    found = params.get("broken_rows") if isinstance(params, Mapping) else None
    return found if isinstance(found, int) else 0


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
        error=text(error.get("message")) or None,
        trace=text(error.get("stackTrace")) or None,
        inputs=touched(body, "inputs", "inputDatasetVersions"),
        outputs=touched(body, "outputs", "outputDatasetVersions"),
        rows=rows(body),
        notes=notes(body),
    )


def nominal(body: Json) -> tuple[datetime, datetime] | None:
    """The slice of time a run is for."""
    start, end = instant_or_none(body.get("nominalStartTime")), instant_or_none(body.get("nominalEndTime"))
    return (start, end) if start and end else None


def touched(body: Json, side: str, known: str) -> tuple[DatasetVersionRef, ...]:
    """What a run read or wrote: as it listed it, else as the backend knows it, without versions."""
    own = facet(body, IO).get(side)
    if isinstance(own, list):
        named = listed(own, "namespace", "name")
        return tuple(DatasetVersionRef(dataset_name(each), text(each.get("version")) or None) for each in named)
    return tuple(DatasetVersionRef(dataset_name(each["datasetVersionId"])) for each in body.get(known) or [])


def rows(body: Json) -> Mapping[DatasetName, int]:
    """How many rows a run read and wrote, where it said so."""
    found = {}
    for known, name in (("inputDatasetVersions", "inputStatistics"), ("outputDatasetVersions", "outputStatistics")):
        for each in body.get(known) or []:
            count = facet(each, name).get("rowCount")
            if isinstance(count, int):
                found[dataset_name(each["datasetVersionId"])] = count
    return found


def notes(body: Json) -> Mapping[str, Json]:
    """What a job noted about its run."""
    return {
        name.removeprefix(NOTE): {key: value for key, value in values.items() if key not in MARKS}
        for name, values in (body.get("facets") or {}).items()
        if name.startswith(NOTE) and name != IO and isinstance(values, Mapping)
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
        nodes[each["id"]] = GraphNode(each["id"], each["type"], data.get("namespace", ""), data.get("name", ""))
        edges |= {Edge(edge["origin"], edge["destination"]) for edge in (*each["inEdges"], *each["outEdges"])}
    return LineageGraph(nodes, frozenset(edge for edge in edges if {edge.origin, edge.destination} <= nodes.keys()))


def column_graph(body: Json) -> LineageGraph:
    """A graph of columns. Marquez lists an edge from the node it stands at; here edges point the way the data flows."""
    nodes, edges = {}, set()
    for each in body["graph"]:
        data = each.get("data") or {}
        where = (data.get("namespace", ""), data.get("dataset", ""), data.get("field", ""))
        nodes[each["id"]] = GraphNode(each["id"], each["type"], *where)
        edges |= {Edge(origin, each["id"]) for origin in origins(data.get("inputFields") or [])}
    return LineageGraph(nodes, frozenset(edges))


def origins(input_fields: Iterable[Json]) -> Iterable[str]:
    """The node ids of the columns that a column is made of."""
    kind: NodeKind = "datasetField"
    for each in input_fields:
        yield node_id(kind, each["namespace"], each["dataset"], each["field"])
