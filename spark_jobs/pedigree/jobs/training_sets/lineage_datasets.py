"""What the run that makes a training set tells lineage: the tables in their versions, and the set with its columns."""

from __future__ import annotations

from collections.abc import Mapping

import pyarrow as pa

from pedigree.jobs.training_sets.definitions import column_of
from pedigree.jobs.training_sets.manifest import Ingredients, Manifest, OnDemandView, ViewDefinition
from pedigree.lineage.dataset import Dataset, Field, Origin
from pedigree.lineage.naming import at_path, training_set


def tables_read(ingredients: Ingredients) -> list[Dataset]:
    """Each table in the version that is read, with the columns that are taken from it."""
    versions = {source.uri: source.version for source in ingredients.sources}
    columns: dict[str, dict[str, Field]] = {uri: {} for uri in versions}
    for view in ingredients.definitions.views:
        for name, kind in (*view.keys.items(), *view.features.items()):
            column = source_column(view, name)
            columns[view.source][column] = Field(column, kind.lower())
    return [
        Dataset(name=at_path(uri), fields=tuple(columns[uri].values()), version=str(version))
        for uri, version in versions.items()
    ]


def set_written(manifest: Manifest, schema: pa.Schema) -> Dataset:
    """The training set; its version is its id."""
    definitions = manifest.ingredients.definitions
    return Dataset(
        name=training_set(definitions.project, manifest.name),
        fields=tuple(Field(each.name, str(each.type)) for each in schema),
        version=manifest.id,
        rows=manifest.content.rows,
        origins=origins(manifest),
        description=f"{definitions.service} for {manifest.ingredients.entities.origin}, known by {manifest.ingredients.known_by}",
    )


def origins(manifest: Manifest) -> dict[str, tuple[Origin, ...]]:
    """The table columns behind each feature: the same values, or what an on-demand view computed from them."""
    definitions = manifest.ingredients.definitions
    found = {
        f"{view.shown_as}__{feature}": (Origin(at_path(view.source), source_column(view, feature), "identity"),)
        for view in definitions.views
        for feature in view.features
    }
    computed = {
        f"{view.name}__{feature}": transformed(view, found)
        for view in definitions.on_demand
        for feature in view.features
    }
    return {**found, **computed}


def transformed(view: OnDemandView, found: Mapping[str, tuple[Origin, ...]]) -> tuple[Origin, ...]:
    """The columns that an on-demand view reads."""
    inputs = [origin for feature in view.inputs for origin in found[column_of(feature)]]
    return tuple(Origin(origin.dataset, origin.field, "transformation") for origin in inputs)


def source_column(view: ViewDefinition, name: str) -> str:
    """The table's column behind a key or feature of a view."""
    return {feature: column for column, feature in view.columns.items()}.get(name, name)
