"""`Explain`: one served value and, from the lineage backend, where it came from."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from pedigree.online.plans.plan import View
from pedigree.online.records.record import head_of
from pedigree.online.store.load_state import Load
from pedigree.serving.auth.permissions import Asked, has
from pedigree.serving.catalog import taking
from pedigree.serving.codec.response_encoder import ResponseEncoder, status_of
from pedigree.serving.data_plane.data_plane import DataPlane
from pedigree.serving.data_plane.plan_cache import CurrentPlan
from pedigree.serving.data_plane.selection import Selection, columns_of
from pedigree.serving.errors import InvalidRequestError, LineageAwayError, NotServedError
from pedigree.serving.v1 import pedigree_pb2 as messages
from pedigree.serving.v1.serving_pb2 import NOT_FOUND
from pedigree.serving.v1.value_pb2 import RepeatedValue, Value

if TYPE_CHECKING:  # lineage's client is loaded only once something is explained
    from pedigree.lineage.client.client import LineageClient
    from pedigree.lineage.client.records import DatasetVersionRef, RunRecord
    from pedigree.lineage.client.trace import Trace
    from pedigree.lineage.dataset import Assertion

EPOCH = datetime.fromtimestamp(0, UTC)
MOST_LISTED = 20
"""Features that a message lists at most."""


def asked_of(request: messages.ExplainRequest) -> Asked:
    """What a request asks about: one feature of a service, written `view:feature` or `view__feature`.

    Raises:
        InvalidRequestError: it names no service, or no feature in one of these forms.
    """
    view, _, feature = request.feature.replace("__", ":", 1).partition(":")
    if not request.feature_service or not view or not feature:
        raise InvalidRequestError("Set feature_service, and feature to one of its features, written view:feature.")
    return Asked(request.feature_service, feature=(view, feature))


def selection_of(current: CurrentPlan, asked: Asked, may_read: Callable[[Asked], bool]) -> Selection:
    """The one feature that is asked about, as a selection of its service.

    Args:
        may_read: whether the caller may read something; messages name nothing that it may not.
    Raises:
        InvalidRequestError: the service has no such feature.
        NotServedError: the feature is computed on demand.
        UnknownNameError: there is no such service.
    """
    assert asked.feature is not None  # noqa: S101 - for the type checker
    name, feature = asked.feature
    service = current.selection(asked.service, (), full_names=True)
    refuse_computed(service, asked, may_read)
    candidates = [view for view in (*service.views, *service.sources) if view.name == name]
    holding = [view for view in candidates if any(one.name == feature for one in view.features)]
    if not holding:
        raise InvalidRequestError(
            f"{name}:{feature} is no feature of {asked.service}. {instead_of(candidates, service, asked, may_read)}"
        )
    return Selection(current.plan.project, asked.service, (taking(holding[0], [feature]),), full_names=True)


def instead_of(candidates: Sequence[View], service: Selection, asked: Asked, may_read: Callable[[Asked], bool]) -> str:
    """What could be asked about instead: the features of the views of that name, or the views of the service."""
    named = dict.fromkeys((view.name, one.name) for view in candidates for one in view.features)
    readable = [":".join(one) for one in named if may_read(Asked(asked.service, feature=one))]
    if readable:
        return f"Features: {', '.join(readable[:MOST_LISTED])}{', …' if len(readable) > MOST_LISTED else ''}."
    return f"Write view:feature; views: {', '.join(view.name for view in service.asked)}."


def refuse_computed(service: Selection, asked: Asked, may_read: Callable[[Asked], bool]) -> None:
    """Raise where a feature is computed on demand, and name those of its inputs that the caller may have explained.

    Raises:
        NotServedError: it is.
    """
    for computation in service.computations:
        view = computation.view
        if asked.feature is None or view.name != asked.feature[0] or not has(view, asked.feature[1]):
            continue
        inputs = [view.inputs[place] for place in view.program.inputs_of(asked.feature[1])]
        features = [(view.sources[one.source].name, one.name) for one in inputs if one.kind == "feature"]
        stored = [":".join(one) for one in features if may_read(Asked(asked.service, feature=one))]
        sent = [one.name for one in inputs if one.kind == "request"]
        nothing = "no stored feature is in it" if not features else "you may not read what it is computed from"
        made_of = f"explain {', '.join(stored)} of the same service" if stored else nothing
        beside = f" (from request data, too: {', '.join(sent)})" if sent else ""
        raise NotServedError(
            ":".join(asked.feature), f"it is computed on demand, so no stored row has it{beside}; {made_of}"
        )


async def explained(
    plane: DataPlane,
    request: messages.ExplainRequest,
    selection: Selection,
    current: CurrentPlan,
    *,
    remaining: float | None,
) -> bytes:
    """A serialized `ExplainResponse`: what is served now, which run loaded it, and where that came from.

    Raises:
        ServingError: the request cannot be answered.
        LineageAwayError: the lineage backend does not answer.
    """
    entity = {name: RepeatedValue(val=[request.entity[name]]) for name in selection.keys if name in request.entity}
    columns, rows = columns_of(entity, selection, current.plan)
    read = await plane.read(selection, columns, rows, remaining=remaining)
    [encoder], [[[record]]] = selection.encoders, read
    reply = messages.ExplainResponse(feature=selection.columns[-1], status=NOT_FOUND)
    if record is not None:
        await plane.with_layouts(lambda: tell_value(reply, encoder, record, plane), selection, read, remaining)
        number = head_of(record).load
        loads = await plane.reader.learn_loads({number})
        if number in loads:
            tell_load(reply, number, loads[number])
            event_at = EPOCH + timedelta(microseconds=head_of(record).event_us)
            seconds = plane.settings.deadline.total_seconds() if remaining is None else remaining
            column = selection.views[0].features[0].name
            await in_lineage(plane, lambda: tell_origin(reply, loads[number], column, event_at, seconds), seconds)
    return bytes(reply.SerializeToString())


def tell_value(reply: messages.ExplainResponse, encoder: ResponseEncoder, record: bytes, plane: DataPlane) -> None:
    """Add what is served, and the times of its row.

    Raises:
        DamagedRecordError: the record is damaged.
    """
    oldest_us = encoder.oldest_us(plane.now_us())
    found = encoder.found(record, oldest_us=oldest_us, schemas=plane.reader.schemas, alone=True)
    head = head_of(record)
    reply.event_time.FromMicroseconds(head.event_us)
    if head.created_us is not None:
        reply.created_time.FromMicroseconds(head.created_us)
    if isinstance(found, int):
        reply.status = found
        return
    [value] = found
    reply.status = status_of(value)
    if value:
        reply.value.CopyFrom(Value.FromString(value))


def tell_load(reply: messages.ExplainResponse, number: int, load: Load) -> None:
    """Add the load that wrote the row."""
    reply.load.number, reply.load.run_id = number, load.run_id
    reply.load.table, reply.load.version = load.table, load.version


async def in_lineage(plane: DataPlane, ask: Callable[[], None], seconds: float) -> None:
    """Ask the lineage backend, in one of the threads that are kept for it.

    Raises:
        LineageAwayError: it does not answer, or not in time.
    """
    try:
        await plane.lineage.run(ask, seconds=seconds)
    except TimeoutError as error:
        raise LineageAwayError from error


def tell_origin(reply: messages.ExplainResponse, load: Load, column: str, event_at: datetime, seconds: float) -> None:
    """Add what lineage knows of the row: the runs that loaded and built it, the verdict, the sources. Blocks while it asks."""
    from pedigree.lineage.client.client import LineageClient
    from pedigree.lineage.client.records import DatasetVersionRef
    from pedigree.lineage.client.trace import way_back
    from pedigree.lineage.errors import LineageError
    from pedigree.lineage.naming import at_path
    from pedigree.lineage.settings import lineage_settings

    try:
        with LineageClient(lineage_settings(), seconds=seconds) as lineage:
            tell_loading(reply, load, lineage)
            table = DatasetVersionRef(at_path(load.table), str(load.version))
            trace = way_back(table, column, event_at, lineage)
            audit = () if trace is not None else lineage.verdict_on(table.name, str(load.version))
    except LineageError as error:
        raise LineageAwayError from error
    if trace is not None:
        tell_build(reply, trace)
    elif audit:
        reply.verdict.CopyFrom(verdict_of(audit, {}))


def tell_loading(reply: messages.ExplainResponse, load: Load, lineage: LineageClient) -> None:
    """Add the run that wrote the row to the online store, if lineage knows it, and where it wrote it."""
    from pedigree.lineage.errors import LineageUnknownError

    try:
        run = lineage.run(load.run_id)
    except LineageUnknownError:
        return
    reply.loaded.CopyFrom(run_of(run))
    for output in run.outputs:
        if output.name.name.endswith(f".{load.view}"):
            reply.stored_in.CopyFrom(dataset_of(output))


def tell_build(reply: messages.ExplainResponse, trace: Trace) -> None:
    """Add the run that built the row's slice of the table, its verdict and its sources."""
    reply.built_by, reply.built_version = trace.built.id, trace.built_version
    reply.built.CopyFrom(run_of(trace.built))
    reply.verdict.CopyFrom(verdict_of(trace.built.assertions, trace.built.notes.get("rows", {})))
    for source in trace.built.inputs:
        landing = trace.landed.get(source.name)
        reply.sources.add(
            namespace=source.name.namespace,
            name=source.name.name,
            version=source.version or "",
            columns=trace.made_of.get(source.name, ()),
            landed=None if landing is None else run_of(landing),
            landed_from=() if landing is None else map(dataset_of, landing.inputs),
        )


def verdict_of(assertions: Sequence[Assertion], rows: Mapping[str, int]) -> messages.Verdict:
    """What the quality gate found, and how many rows became what, where that was counted."""
    return messages.Verdict(
        rules=len(assertions),
        held=sum(rule.held for rule in assertions),
        rows_published=rows.get("published", 0),
        rows_quarantined=rows.get("quarantined", 0),
        broken_rows=sum(rule.broken_rows for rule in assertions),
        results=[messages.RuleResult(rule=one.rule, held=one.held, broken_rows=one.broken_rows) for one in assertions],
    )


def run_of(run: RunRecord) -> messages.Run:
    """A run as a message."""
    message = messages.Run(id=run.id, job=run.job, state=run.state)
    if run.ended_at is not None:
        message.ended_at.FromDatetime(run.ended_at)
    return message


def dataset_of(dataset: DatasetVersionRef) -> messages.Dataset:
    """A dataset at a version as a message."""
    return messages.Dataset(namespace=dataset.name.namespace, name=dataset.name.name, version=dataset.version or "")
