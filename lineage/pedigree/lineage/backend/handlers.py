"""What each endpoint answers: take the call apart, ask, hand back."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import sqlalchemy as sa
from starlette.responses import Response

from pedigree.lineage.backend import (
    catalog,
    columngraph,
    datasets,
    eventlog,
    graph,
    jobs,
    runs,
    search,
    stats,
    tagging,
)
from pedigree.lineage.backend.errors import BadRequestError, NotFoundError, SupersededError
from pedigree.lineage.backend.event_parser import instant, iso, read_event, run_uuid
from pedigree.lineage.backend.ingest import ingest
from pedigree.lineage.backend.nodes import find_node
from pedigree.lineage.backend.request import Call
from pedigree.lineage.backend.runs import Json


def post_event(connection: sa.Connection, call: Call) -> Response:
    """Store an event; an event that was stored before changes nothing."""
    ingest(connection, read_event(call.document, call.body))
    return Response(status_code=201)


def get_events(connection: sa.Connection, call: Call) -> Json:
    """The raw events."""
    return eventlog.list_events(
        connection,
        before=moment(call, "before"),
        after=moment(call, "after"),
        ascending=call.query.get("sortDirection", "desc").lower() == "asc",
        namespace=call.path.get("namespace"),
        **call.page(),
    )


def moment(call: Call, name: str) -> str | None:
    """An instant of the query."""
    text = call.query.get(name, "").replace(" ", "+")
    try:
        return instant(text) if text else None
    except ValueError as error:
        raise BadRequestError(f"{name} is {text!r}, not a date-time such as 2026-01-31T08:00:00Z") from error


def get_namespaces(connection: sa.Connection, call: Call) -> Json:
    """Every namespace."""
    return catalog.list_namespaces(connection, **call.page())


def get_namespace(connection: sa.Connection, call: Call) -> Json:
    """One namespace."""
    return catalog.namespace(connection, call.path["namespace"])


def put_namespace(connection: sa.Connection, call: Call) -> Json:
    """Make or change a namespace."""
    body = call.json()
    owner, at = str(body.get("ownerName") or "anonymous"), iso(datetime.now(UTC))
    namespace, description = call.path["namespace"], call.described()
    return catalog.put_namespace(connection, namespace, owner=owner, description=description, at=at)


def delete_namespace(connection: sa.Connection, call: Call) -> Json:
    """Hide a namespace."""
    return catalog.delete_namespace(connection, call.path["namespace"])


def get_sources(connection: sa.Connection, call: Call) -> Json:
    """Every source."""
    return catalog.list_sources(connection, **call.page())


def get_source(connection: sa.Connection, call: Call) -> Json:
    """One source."""
    return catalog.source(connection, call.path["source"])


def put_source(connection: sa.Connection, call: Call) -> Json:
    """Make or change a source."""
    body, at = call.json(), iso(datetime.now(UTC))
    kind, url, description = str(body.get("type", "UNKNOWN")), str(body.get("connectionUrl", "")), call.described()
    return catalog.put_source(connection, call.path["source"], kind=kind, url=url, description=description, at=at)


def get_tags(connection: sa.Connection, call: Call) -> Json:
    """Every tag."""
    return {"tags": tagging.list_tags(connection, **call.page())}


def put_tag(connection: sa.Connection, call: Call) -> Json:
    """Make or describe a tag."""
    return tagging.put_tag(connection, call.path["tag"], call.described())


def dataset_id(connection: sa.Connection, call: Call) -> str:
    """The dataset that the path names."""
    return datasets.require_dataset(connection, call.path["namespace"], call.path["dataset"])


def get_datasets(connection: sa.Connection, call: Call) -> Json:
    """A namespace's datasets."""
    return datasets.list_datasets(connection, call.path["namespace"], **call.page())


def get_dataset(connection: sa.Connection, call: Call) -> Json:
    """One dataset."""
    id_ = dataset_id(connection, call)
    return datasets.load_datasets(connection, [id_])[id_]


def delete_dataset(connection: sa.Connection, call: Call) -> Json:
    """Hide a dataset."""
    return datasets.delete_dataset(connection, dataset_id(connection, call))


def get_versions(connection: sa.Connection, call: Call) -> Json:
    """A dataset's versions."""
    return datasets.list_versions(connection, dataset_id(connection, call), **call.page())


def get_version(connection: sa.Connection, call: Call) -> Json:
    """One version of a dataset."""
    return datasets.version(connection, dataset_id(connection, call), call.path["version"])


def tag_dataset(connection: sa.Connection, call: Call) -> Json:
    """Tag a dataset or a field of it."""
    id_ = dataset_id(connection, call)
    tagging.tag(connection, id_, call.path["tag"], field=known_field(connection, call, id_))
    return datasets.load_datasets(connection, [id_])[id_]


def untag_dataset(connection: sa.Connection, call: Call) -> Json:
    """Take a tag off a dataset or a field of it."""
    id_ = dataset_id(connection, call)
    tagging.untag(connection, id_, call.path["tag"], field=known_field(connection, call, id_))
    return datasets.load_datasets(connection, [id_])[id_]


def known_field(connection: sa.Connection, call: Call, id_: str) -> str:
    """The field that the path names; empty if it names none."""
    field = call.path.get("field", "")
    shape = datasets.load_datasets(connection, [id_], brief=True)[id_]
    if field and field not in {each["name"] for each in shape["fields"]}:
        raise NotFoundError("Field", field)
    return field


def job_id(connection: sa.Connection, call: Call) -> str:
    """The job that the path names."""
    return jobs.require_job(connection, call.path["namespace"], call.path["job"])


def get_jobs(connection: sa.Connection, call: Call) -> Json:
    """The jobs, of one namespace or all."""
    states = [state.upper() for state in call.query.getlist("lastRunStates") if state]
    return jobs.list_jobs(connection, namespace=call.path.get("namespace"), states=states, **call.page())


def get_job(connection: sa.Connection, call: Call) -> Json:
    """One job."""
    id_ = job_id(connection, call)
    return jobs.load_jobs(connection, [id_])[id_]


def delete_job(connection: sa.Connection, call: Call) -> Json:
    """Hide a job."""
    return jobs.delete_job(connection, job_id(connection, call))


def get_job_versions(connection: sa.Connection, call: Call) -> Json:
    """A job's versions."""
    return jobs.list_job_versions(connection, job_id(connection, call), **call.page())


def get_job_version(connection: sa.Connection, call: Call) -> Json:
    """One version of a job."""
    return jobs.job_version(connection, job_id(connection, call), call.path["version"])


def get_job_runs(connection: sa.Connection, call: Call) -> Json:
    """A job's runs."""
    id_ = job_id(connection, call)
    found = runs.runs_of_job(connection, id_, **call.page())
    return {"runs": found, "totalCount": runs.count_runs(connection, id_)}


def tag_job(connection: sa.Connection, call: Call) -> Json:
    """Tag a job."""
    id_ = job_id(connection, call)
    tagging.tag(connection, id_, call.path["tag"])
    return jobs.load_jobs(connection, [id_])[id_]


def untag_job(connection: sa.Connection, call: Call) -> Json:
    """Take a tag off a job."""
    id_ = job_id(connection, call)
    tagging.untag(connection, id_, call.path["tag"])
    return jobs.load_jobs(connection, [id_])[id_]


def get_run(connection: sa.Connection, call: Call) -> Json:
    """One run."""
    return runs.run(connection, run_uuid(call.path["run"]))


def get_run_facets(connection: sa.Connection, call: Call) -> Json:
    """The facets of a run or of its job."""
    kind = call.required("type").lower()
    if kind not in {"run", "job"}:
        raise BadRequestError("type is 'run' or 'job'")
    return runs.run_facets(connection, run_uuid(call.path["run"]), of_job=kind == "job")


def get_lineage(connection: sa.Connection, call: Call) -> Json:
    """The graph around a dataset or a job."""
    node = find_node(connection, call.required("nodeId"))
    return graph.lineage(connection, node, depth=call.number("depth", 20))


def get_column_lineage(connection: sa.Connection, call: Call) -> Json:
    """The graph of fields around a dataset, a field or a job."""
    node = find_node(connection, call.required("nodeId"))
    downstream = call.query.get("withDownstream", "false").lower() == "true"
    return columngraph.column_lineage(connection, node, depth=call.number("depth", 20), downstream=downstream)


def get_search(connection: sa.Connection, call: Call) -> Json:
    """Datasets and jobs by a part of their names."""
    wanted = search.Wanted(
        call.required("q"),
        kind=call.query.get("filter"),
        namespace=call.query.get("namespace"),
        before=call.query.get("before"),
        after=call.query.get("after"),
        sort=call.query.get("sort", "name"),
        limit=call.number("limit", 10),
    )
    return search.search(connection, wanted)


def search_jobs(connection: sa.Connection, call: Call) -> Json:
    """Jobs for the web UI's search box."""
    return search.search_jobs(connection, call.required("q"))


def search_datasets(connection: sa.Connection, call: Call) -> Json:
    """Datasets for the web UI's search box."""
    return search.search_datasets(connection, call.required("q"))


def get_event_stats(connection: sa.Connection, call: Call) -> list[Json]:
    """Events by interval."""
    return stats.event_counts(connection, **interval(call))


def get_asset_stats(connection: sa.Connection, call: Call) -> list[Json]:
    """Jobs, datasets or sources by interval."""
    if call.path["asset"] not in stats.ASSETS:
        raise NotFoundError("Statistic", call.path["asset"])
    return stats.asset_counts(connection, call.path["asset"], **interval(call))


def interval(call: Call) -> dict[str, Any]:
    """The period and time zone that the query asks for."""
    return {
        "period": call.required("period"),
        "timezone": call.query.get("timezone", ""),
        "now": datetime.now(UTC),
    }


def superseded(_: sa.Connection, __: Call) -> Json:
    """A way to write that Marquez has deprecated."""
    raise SupersededError()


def get_health(connection: sa.Connection, _: Call) -> Json:
    """Whether the database answers."""
    connection.execute(sa.text("SELECT 1"))
    return {"database": {"healthy": True}}
