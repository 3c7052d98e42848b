"""Serving with its provenance: says once, at the start, which views each feature service is served from."""

from __future__ import annotations

import sys
from collections.abc import Mapping

from pedigree.cli.serving_plan import current_plan
from pedigree.lineage.dataset import Dataset, Field, Origin
from pedigree.lineage.errors import LineageError
from pedigree.lineage.naming import feature_service, redis_view
from pedigree.lineage.recorder import Recorder
from pedigree.lineage.redaction import redact_tracebacks
from pedigree.lineage.settings import lineage_settings
from pedigree.online.errors import OnlineError
from pedigree.online.plans.plan import Plan, Service, View
from pedigree.serving.errors import ServingError
from pedigree.serving.feature_store_yaml import read_repo
from pedigree.serving.server import main as serve_main
from pedigree.serving.server import refused
from pedigree.serving.settings import serving_settings


def main() -> int:
    """Record what is served, then serve until stopped; the exit code is the server's."""
    redact_tracebacks()
    try:
        settings = serving_settings()
        repo = read_repo(settings.feature_store_yaml)
        declare(current_plan(repo), str(repo.address))
    except (ServingError, OnlineError, LineageError) as error:
        return refused(error)
    return serve_main()


def declare(plan: Plan, connection: str) -> None:
    """One finished run `serve.<service>` per feature service: its views in Redis → its vectors."""
    with Recorder.open(lineage_settings()) as recorder:
        for service in plan.services.values():
            with recorder.run("serve", service.name, description=f"Serves the vectors of {service.name}") as run:
                views = [stored(view, plan.project, connection) for view in service.views]
                sources = sources_of(service, plan.project, connection)
                for view in {view.name: view for view in (*sources.values(), *views)}.values():
                    run.reads(view)
                run.writes(vectors(plan.project, service, views, sources))


def stored(view: View, project: str, connection: str) -> Dataset:
    """A view as it stands in the online store."""
    columns = [(key.stored_as, key.value_type) for key in view.keys]
    columns += [(feature.name, feature.value_type) for feature in view.features]
    name = redis_view(connection, project=project, view=view.stored_as)
    return Dataset(name=name, fields=tuple(Field(column, kind) for column, kind in columns))


def sources_of(service: Service, project: str, connection: str) -> dict[View, Dataset]:
    """The views that a service's on-demand features are computed from, as they stand in the online store."""
    return {source: stored(source, project, connection) for view in service.on_demand for source in view.sources}


def vectors(project: str, service: Service, stored_views: list[Dataset], sources: Mapping[View, Dataset]) -> Dataset:
    """The vectors of a service, each feature under its full name; on-demand features are made of several."""
    fields: list[Field] = []
    origins: dict[str, tuple[Origin, ...]] = {}
    for view, there in zip(service.views, stored_views, strict=True):
        for feature in view.features:
            name = f"{view.name}__{feature.name}"
            fields.append(Field(name, feature.value_type))
            origins[name] = (Origin(there.name, feature.name, "identity"),)
    for computed in service.on_demand:
        for feature in computed.features:
            name = f"{computed.name}__{feature.name}"
            fields.append(Field(name, feature.value_type))
            inputs = [computed.inputs[place] for place in computed.program.inputs_of(feature.name)]
            origins[name] = tuple(
                Origin(sources[computed.sources[one.source]].name, one.name) for one in inputs if one.kind == "feature"
            )
    return Dataset(name=feature_service(project, service.name), fields=tuple(fields), origins=origins)


if __name__ == "__main__":
    sys.exit(main())
