"""The way back from one served value: view, materialize run, Delta version, verdict, build run, source files."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from rich.tree import Tree

from pedigree.cli.errors import UnexplainedError
from pedigree.cli.online_client import Served, ask, loaded_by
from pedigree.cli.serve import current_plan
from pedigree.lineage.client import LineageClient
from pedigree.lineage.naming import DatasetName, redis_view
from pedigree.lineage.records import DatasetVersionRef, RunRecord
from pedigree.lineage.trace import Trace, way_back
from pedigree.serving.feature_store_yaml import read_repo
from pedigree.serving.settings import ServingSettings


@dataclass(frozen=True, slots=True)
class Explanation:
    """Where one served value came from.

    Attributes:
        stored_in: the view in the online store.
        materialized: the run that wrote it there.
        table: the Delta table and the version that run read.
        way: from there on to the sources.
    """

    feature: str
    served: Served
    stored_in: DatasetName
    materialized: RunRecord
    table: DatasetVersionRef
    way: Trace


def explain(
    service: str, feature: str, entities: Mapping[str, object], *, settings: ServingSettings, lineage: LineageClient
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
        refuse_computed(service, view, column, settings)
        raise UnexplainedError(
            f"Nothing is served for {feature} ({value.status}): the store holds no row for {dict(entities)}."
        )
    stored_in = view_in_store(view, settings)
    materialized = lineage.run(loaded_by(settings.address, service, view, entities))
    table = materialized.inputs[0]
    way = way_back(table, column, value.event_at, lineage)
    if way is None:
        raise UnexplainedError(f"No recorded run built the slice of {table.name} that holds {value.event_at}.")
    return Explanation(
        feature=f"{view}__{column}",
        served=value,
        stored_in=stored_in,
        materialized=materialized,
        table=table,
        way=way,
    )


def refuse_computed(service: str, view: str, column: str, settings: ServingSettings) -> None:
    """Raise where a feature is computed when it is asked for, and name what can be explained of it.

    Raises:
        UnexplainedError: it is.
    """
    plan = current_plan(read_repo(settings.feature_store_yaml))
    for one in plan.services[service].on_demand if service in plan.services else ():
        if one.name == view and column in one.program.outputs:
            inputs = [one.inputs[place] for place in one.program.inputs_of(column)]
            made_of = [f"{one.sources[part.source].name}:{part.name}" for part in inputs if part.kind == "feature"]
            raise UnexplainedError(
                f"{view}:{column} is computed when it is asked for, so that no row has it. It is made of "
                f"{', '.join(made_of) or 'what is sent with a request'}; explain that by a service that has it."
            )


def view_in_store(view: str, settings: ServingSettings) -> DatasetName:
    """The name of a view's rows in the online store."""
    repo = read_repo(settings.feature_store_yaml)
    return redis_view(str(repo.address), project=repo.project, view=view)


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
    rules = found.way.built.assertions
    broken = sum(rule.broken_rows for rule in rules)
    verdict = table.add(
        f"verdict       {sum(rule.held for rule in rules)} of {len(rules)} rules held; rows that broke one: {broken}"
    )
    rows = found.way.built.notes.get("rows", {})
    counts = f"{rows.get('published', 0):,} rows published, {rows.get('quarantined', 0):,} quarantined"
    built = verdict.add(
        f"built         by run {found.way.built.id} ({found.way.built.job}, {ended(found.way.built)})"
        f" as version {found.way.built_version}: {counts}"
    )
    for source in found.way.built.inputs:
        columns = ", ".join(found.way.made_of.get(source.name, ()))
        landing = found.way.landed.get(source.name)
        kind = "tiles       " if landing and landing.job == found.way.built.job else "source file "
        branch = built.add(
            f"{kind}  {source.name.name} @ {source.version}" + (f"  columns: {columns}" if columns else "")
        )
        if landing:
            origin = ", ".join(f"{each.name.name} @ {each.version}" for each in landing.inputs)
            verb = "kept  " if landing.job == found.way.built.job else "landed"
            branch.add(f"{verb}        by run {landing.id} ({landing.job}) from {origin}")
    return tree


def ended(run: RunRecord) -> str:
    """When and how a run ended."""
    return f"{run.state.lower()} {stamp(run.ended_at)}"


def stamp(at: datetime | None) -> str:
    """An instant for people, in UTC."""
    return f"{at:%Y-%m-%d %H:%M:%S} UTC" if at else "unknown"
