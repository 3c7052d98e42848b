"""The way back from one served value: view, materialize run, Delta version, verdict, build run, source files."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from rich.tree import Tree

from lineage.client import LineageClient
from lineage.errors import LineageUnknownError
from lineage.naming import DatasetName, redis_view
from lineage.record import DatasetVersionRef, RunRecord
from pedigree.asking import Served, ask, loaded_by
from pedigree.errors import UnexplainedError
from serving.repo import read_repo
from serving.settings import ServingSettings


@dataclass(frozen=True, slots=True)
class Explanation:
    """Where one served value came from.

    Attributes:
        stored_in: the view in the online store.
        materialized: the run that wrote it there.
        table: the Delta table and the version that run read.
        built: the run that wrote the value's slice of the table, with the verdict on it, as version `built_version`.
        made_of: the source columns behind the feature.
        landed: for each source that the build read, the run that brought it, where one did.
    """

    feature: str
    served: Served
    stored_in: DatasetName
    materialized: RunRecord
    table: DatasetVersionRef
    built: RunRecord
    built_version: int
    made_of: Mapping[DatasetName, tuple[str, ...]]
    landed: Mapping[DatasetName, RunRecord]


def explain(
    service: str, feature: str, entities: Mapping[str, str], *, settings: ServingSettings, lineage: LineageClient
) -> Explanation:
    """Ask the server for a vector and walk back from one of its values.

    Args:
        feature: by its full name, `view__feature` or `view:feature`.
        entities: the entity row, by join key.
    Raises:
        AskedInVainError: the server refused.
        UnexplainedError: the vector has no such feature, no value is served, or lineage knows no run that made it.
        LineageUnavailableError: the lineage backend does not answer.
    """
    view, _, column = feature.replace(":", "__", 1).partition("__")
    vector = ask(settings.address, service, entities)
    value = vector.get(f"{view}__{column}")
    if value is None:
        raise UnexplainedError(f"{service} has no feature {feature!r}. It has: {', '.join(vector)}.")
    if value.event_at is None:
        raise UnexplainedError(
            f"Nothing is served for {feature} ({value.status}): the store holds no row for {dict(entities)}."
        )
    stored_in = view_in_store(view, settings)
    materialized = lineage.run(loaded_by(settings.address, service, view, entities))
    table = materialized.inputs[0]
    built, version = run_that_built(table, value.event_at, lineage)
    return Explanation(
        feature=f"{view}__{column}",
        served=value,
        stored_in=stored_in,
        materialized=materialized,
        table=table,
        built=built,
        built_version=version,
        made_of=source_columns(table.name, column, built, lineage),
        landed=landings(built, lineage),
    )


def view_in_store(view: str, settings: ServingSettings) -> DatasetName:
    """The name of a view's rows in the online store."""
    repo = read_repo(settings.feature_store_yaml)
    return redis_view(str(repo.address), project=repo.project, view=view)


def run_that_built(table: DatasetVersionRef, event_at: datetime, lineage: LineageClient) -> tuple[RunRecord, int]:
    """The run that wrote the slice with `event_at`, as the table stood at a version; and the version that it wrote."""
    for version in range(int(table.version or 0), -1, -1):
        try:
            run = lineage.written_by(table.name, str(version))
        except LineageUnknownError:
            continue  # a version that only rearranged files, such as OPTIMIZE's, was written by no run of ours
        if run.nominal and run.nominal[0] <= event_at < run.nominal[1]:
            return run, version
    raise UnexplainedError(f"No recorded run built the slice of {table.name} that holds {event_at}.")


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


def drawn(found: Explanation) -> Tree:
    """The way back as a tree: each line came from the one below it."""
    tree = Tree(
        f"[bold]{found.feature} = {found.served.value}[/bold]  ({found.served.status}, as of {stamp(found.served.event_at)})"
    )
    stored = tree.add(f"view          {found.stored_in.name} in {found.stored_in.namespace}")
    materialized = stored.add(
        f"materialized  by run {found.materialized.id} ({found.materialized.job}, {ended(found.materialized)})"
    )
    table = materialized.add(f"Delta table   {found.table.name.name} @ version {found.table.version}")
    facts = found.built.assertions
    broken = sum(fact.broken_rows for fact in facts)
    verdict = table.add(
        f"verdict       {sum(fact.held for fact in facts)} of {len(facts)} facts held; rows that broke one: {broken}"
    )
    rows = found.built.notes.get("rows", {})
    counts = f"{rows.get('published', 0):,} rows published, {rows.get('quarantined', 0):,} quarantined"
    built = verdict.add(
        f"built         by run {found.built.id} ({found.built.job}, {ended(found.built)})"
        f" as version {found.built_version}: {counts}"
    )
    for source in found.built.inputs:
        columns = ", ".join(found.made_of.get(source.name, ()))
        landing = found.landed.get(source.name)
        kind = "tiles       " if landing and landing.job == found.built.job else "source file "
        branch = built.add(
            f"{kind}  {source.name.name} @ {source.version}" + (f"  columns: {columns}" if columns else "")
        )
        if landing:
            origin = ", ".join(f"{each.name.name} @ {each.version}" for each in landing.inputs)
            verb = "kept  " if landing.job == found.built.job else "landed"
            branch.add(f"{verb}        by run {landing.id} ({landing.job}) from {origin}")
    return tree


def ended(run: RunRecord) -> str:
    """When and how a run ended."""
    return f"{run.state.lower()} {stamp(run.ended_at)}"


def stamp(at: datetime | None) -> str:
    """An instant for people, in UTC."""
    return f"{at:%Y-%m-%d %H:%M:%S} UTC" if at else "unknown"
