"""Where one served value came from, as the server explains it: view, load, Delta version, verdict, build, sources."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

import grpc
from rich.tree import Tree

from pedigree.cli.errors import UnexplainedError
from pedigree.cli.online.entity_row import as_value
from pedigree.cli.online.online_client import DEADLINE_SECONDS, plain, refusal, shown
from pedigree.serving.client import Client
from pedigree.serving.v1.pedigree_pb2 import Dataset, ExplainResponse, Run, Source
from pedigree.serving.v1.serving_pb2 import FieldStatus


def explain(address: str, service: str, feature: str, entities: Mapping[str, object]) -> ExplainResponse:
    """Ask the server at `address` for a value and where it came from.

    Args:
        feature: one of the service's, written `view:feature` or `view__feature`.
        entities: the entity row, by join key; request data of the service may be among it.
    Raises:
        AskedInVainError: the server refused, or is not there.
        UnexplainedError: no row is stored, or lineage does not know the run that loaded or built it.
    """
    entity = {name: as_value(value) for name, value in entities.items()}
    try:
        with Client(address, timeout=timedelta(seconds=DEADLINE_SECONDS)) as client:
            reply = client.explain(service, feature, entity)
    except grpc.RpcError as error:
        raise refusal(error, address) from error
    refuse_unexplained(reply, entities)
    return reply


def refuse_unexplained(reply: ExplainResponse, entities: Mapping[str, object]) -> None:
    """Raise where lineage breaks off before the sources.

    Raises:
        UnexplainedError: it does.
    """
    if not reply.HasField("event_time"):
        row = ", ".join(f"{name}={shown(plain(as_value(value)))}" for name, value in entities.items())
        raise UnexplainedError(
            f"Nothing is served for {reply.feature} ({FieldStatus.Name(reply.status)}): the online store has no row"
            f"{f' for {row}' if row else ''}. Check the key, or load the view with `feast materialize`."
        )
    if not reply.HasField("load"):
        raise UnexplainedError(
            f"The row of {reply.feature} was pushed to the online store, so no run loaded it from a table."
        )
    if not reply.HasField("built") and not reply.verdict.rules:
        raise UnexplainedError(
            f"Run {reply.load.run_id} loaded {reply.feature} from {reply.load.table} @ version {reply.load.version}, but the "
            f"lineage backend knows no run that built the rows of {stamp(reply.event_time)}. If lineage waits on disk, "
            "`pedigree up` delivers it; a table that somebody else writes is explained once `pedigree build` has audited it."
        )


def drawn(reply: ExplainResponse) -> Tree:
    """An explanation as a tree: each line came from the one below it."""
    status, at = FieldStatus.Name(reply.status), stamp(reply.event_time)
    tree = Tree(f"[bold]{reply.feature} = {value_of(reply)}[/bold]  ({status}, as of {at})")
    node = tree
    if reply.HasField("stored_in"):
        node = node.add(f"view          {reply.stored_in.name} in {reply.stored_in.namespace}")
    node = node.add(f"materialized  by run {reply.load.run_id}{ending(reply.loaded)}")
    node = node.add(f"Delta table   {reply.load.table.removeprefix('file://')} @ version {reply.load.version}")
    verdict = reply.verdict
    node = node.add(
        f"verdict       {verdict.held} of {verdict.rules} rules held; rows that broke one: {verdict.broken_rows}"
    )
    if not reply.HasField("built"):
        node.add("written       by somebody else; this version was audited as a whole")
        return tree
    counts = f"{verdict.rows_published:,} rows published, {verdict.rows_quarantined:,} quarantined"
    node = node.add(
        f"built         by run {reply.built.id}{ending(reply.built)} as version {reply.built_version}: {counts}"
    )
    for source in reply.sources:
        add_source(node, source, built=reply.built)
    return tree


def add_source(node: Tree, source: Source, *, built: Run) -> None:
    """Add a source of a build, and what it was landed from. What the build itself kept for the next one are its tiles."""
    is_kept = source.HasField("landed") and source.landed.job == built.job
    columns = f"  columns: {', '.join(source.columns)}" if source.columns else ""
    branch = node.add(f"{'tiles      ' if is_kept else 'source file'}   {named(source)}{columns}")
    if source.HasField("landed"):
        origin = ", ".join(map(named, source.landed_from))
        verb = "kept  " if is_kept else "landed"
        branch.add(f"{verb}        by run {source.landed.id} ({source.landed.job}) from {origin}")


def named(dataset: Dataset | Source) -> str:
    """A dataset's name at its version."""
    return f"{dataset.name} @ {dataset.version or 'unknown version'}"


def value_of(reply: ExplainResponse) -> str:
    """The explained value for people."""
    return str(plain(reply.value)) if reply.HasField("value") else "null"


def ending(run: Run) -> str:
    """A run's job, and when and how it ended; nothing where lineage does not know the run."""
    return f" ({run.job}, {run.state.lower()} {stamp(run.ended_at)})" if run.job else ""


def stamp(at: Any) -> str:
    """A protobuf timestamp for people, in UTC."""
    instant: datetime = at.ToDatetime(tzinfo=UTC)
    return f"{instant:%Y-%m-%d %H:%M:%S} UTC" if at.seconds else "unknown"
