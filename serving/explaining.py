"""`Explain`: one served value and, from the lineage backend, the way back from it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime, timedelta

from online.marks import Load
from online.plan import View
from online.record import head_of
from serving.catalog import taking
from serving.errors import InvalidRequestError, LineageAwayError, NotServedError
from serving.plane import Plane
from serving.plans import Current
from serving.question import Selection, columns_of
from serving.splice import Splicer
from serving.v1 import pedigree_pb2 as messages
from serving.v1.serving_pb2 import NOT_FOUND, NULL_VALUE, OUTSIDE_MAX_AGE, PRESENT
from serving.v1.value_pb2 import RepeatedValue, Value

EPOCH = datetime.fromtimestamp(0, UTC)


def selection_of(current: Current, request: messages.ExplainRequest) -> Selection:
    """The one feature that is asked about, as its service has it.

    Raises:
        InvalidRequestError: it is not written `view:feature`, or the service has no such view.
        UnknownNameError: there is no such service or feature.
    """
    name, _, feature = request.feature.replace("__", ":", 1).partition(":")
    service = current.selection(request.feature_service, (), full_names=True)
    refuse_computed(service, name, feature)
    views = [view for view in (*service.views, *whole_sources(service)) if view.name == name]
    if not views or not feature:
        known = ", ".join(view.name for view in service.read)
        raise InvalidRequestError(
            f"{request.feature!r} is no feature of {request.feature_service}. Write view:feature; views: {known}."
        )
    return Selection(current.plan.project, request.feature_service, (taking(views[0], [feature]),), full_names=True)


def whole_sources(service: Selection) -> Iterator[View]:
    """What the service's on-demand views are computed from, which can be explained too."""
    for view in service.on_demand:
        yield from view.sources


def refuse_computed(service: Selection, name: str, feature: str) -> None:
    """Raise where a feature is computed when it is asked for, and name what can be explained of it."""
    for computation in service.computations:
        view = computation.view
        if view.name != name or feature not in {one.name for one in view.features}:
            continue
        inputs = [view.inputs[place] for place in view.program.inputs_of(feature)]
        stored = [f"{view.sources[one.source].name}:{one.name}" for one in inputs if one.kind == "feature"]
        sent = [one.name for one in inputs if one.kind == "request"]
        made_of = f"explain {', '.join(stored)} of the same service" if stored else "no stored feature is in it"
        beside = f" (and of what a request sends: {', '.join(sent)})" if sent else ""
        raise NotServedError(
            f"{name}:{feature}", f"it is computed when it is asked for, so that no row has it{beside}; {made_of}"
        )


async def explained(
    plane: Plane, request: messages.ExplainRequest, selection: Selection, current: Current, *, remaining: float | None
) -> bytes:
    """A serialized `ExplainResponse`: what is served now, who loaded it, and where that came from.

    Raises:
        ServingError: the request cannot be answered.
        LineageAwayError: the lineage backend does not answer.
    """
    entity = {name: RepeatedValue(val=[request.entity[name]]) for name in selection.keys if name in request.entity}
    columns, rows = columns_of(entity, selection, current.plan)
    read = await plane.read(selection, columns, rows, remaining=remaining)
    [splicer], [[[record]]] = selection.splicers, read
    reply = messages.ExplainResponse(feature=selection.columns[-1], status=NOT_FOUND)
    if record is not None:
        await plane.with_layouts(lambda: tell_value(reply, splicer, record, plane), read, remaining)
        number = head_of(record).load
        loads = await plane.reader.learn_loads({number})
        if number in loads:
            tell_load(reply, number, loads[number])
            event_at = EPOCH + timedelta(microseconds=head_of(record).event_us)
            seconds = plane.settings.deadline.total_seconds() if remaining is None else remaining
            column = selection.views[0].features[0].name
            await in_lineage(plane, lambda: tell_way_back(reply, loads[number], column, event_at, seconds), seconds)
    return bytes(reply.SerializeToString())


def tell_value(reply: messages.ExplainResponse, splicer: Splicer, record: bytes, plane: Plane) -> None:
    """What is served, and the times of its row."""
    head = head_of(record)
    [value] = splicer.values(record, plane.reader.schemas)
    reply.event_time.FromMicroseconds(head.event_us)
    if head.created_us is not None:
        reply.created_time.FromMicroseconds(head.created_us)
    is_old = head.event_us < splicer.oldest_us(plane.now_us())
    reply.status = OUTSIDE_MAX_AGE if is_old else PRESENT if value else NULL_VALUE
    if value and not is_old:
        reply.value.CopyFrom(Value.FromString(value))


def tell_load(reply: messages.ExplainResponse, number: int, load: Load) -> None:
    """Who wrote the row."""
    reply.load.number, reply.load.run_id = number, load.run_id
    reply.load.table, reply.load.version = load.table, load.version


async def in_lineage(plane: Plane, ask: Callable[[], None], seconds: float) -> None:
    """Ask the lineage backend, in one of the threads for that.

    Raises:
        LineageAwayError: it does not answer, or not in time.
    """
    try:
        await plane.lineage.run(ask, seconds=seconds)
    except TimeoutError as error:
        raise LineageAwayError from error


def tell_way_back(reply: messages.ExplainResponse, load: Load, column: str, event_at: datetime, seconds: float) -> None:
    """What lineage knows of the row: the run that built it, the verdict, the sources. Not for the event loop."""
    from lineage.client import LineageClient
    from lineage.errors import LineageError
    from lineage.naming import at_path
    from lineage.record import DatasetVersionRef
    from lineage.settings import lineage_settings
    from lineage.wayback import way_back

    try:
        with LineageClient(lineage_settings(), seconds=seconds) as lineage:
            found = way_back(DatasetVersionRef(at_path(load.table), str(load.version)), column, event_at, lineage)
    except LineageError as error:
        raise LineageAwayError from error
    if found is None:
        return
    reply.built_by, reply.built_version = found.built.id, found.built_version
    facts = found.built.assertions
    reply.verdict.facts, reply.verdict.held = len(facts), sum(fact.held for fact in facts)
    rows: Mapping[str, int] = found.built.notes.get("rows", {})
    reply.verdict.rows_published, reply.verdict.rows_quarantined = rows.get("published", 0), rows.get("quarantined", 0)
    for source in found.built.inputs:
        reply.sources.add(
            namespace=source.name.namespace,
            name=source.name.name,
            version=source.version or "",
            columns=found.made_of.get(source.name, ()),
        )
