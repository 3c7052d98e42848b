"""From Feast's definitions to what a manifest says of them, and back to Feast's views over pinned table versions."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import replace
from datetime import timedelta

from feast import Entity, FeatureStore, FeatureView, Field, OnDemandFeatureView, ValueType
from feast.feature_view_projection import FeatureViewProjection
from feast.infra.offline_stores.contrib.spark_offline_store.spark_source import SparkSource
from feast.table_format import DeltaFormat
from feast.types import from_value_type

from pedigree.jobs.errors import UnsupportedSourceError
from pedigree.jobs.historical.offline_store import transforms
from pedigree.jobs.materialize.compute_engine import delta_source, pin
from pedigree.jobs.training_sets.errors import UnknownServiceError
from pedigree.jobs.training_sets.manifest import Definitions, OnDemandView, ViewDefinition


def definitions_of(store: FeatureStore, service: str) -> Definitions:
    """Everything in the registry that decides what `service` yields.

    Raises:
        UnknownServiceError: the registry has no such service.
        UnsupportedSourceError: one of its views is not read from a Delta path.
    """
    services = {each.name: each for each in store.list_feature_services()}
    if service not in services:
        raise UnknownServiceError(service, sorted(services))
    views: dict[str, ViewDefinition] = {}
    on_demand, features = [], []
    for projection in services[service].feature_view_projections:
        features += [f"{projection.name_to_use()}:{feature.name}" for feature in projection.features]
        declared = view_declared(store, projection)
        if isinstance(declared, OnDemandFeatureView):
            on_demand.append(on_demand_view(declared, projection))
            for source in declared.source_feature_view_projections.values():
                add(views, view_of(view_declared(store, source), source))
        else:
            add(views, view_of(declared, projection))
    return Definitions(
        project=store.project,
        service=service,
        features=tuple(features),
        views=tuple(views.values()),
        on_demand=tuple(on_demand),
        knowledge_time=bool(getattr(store.config.offline_store, "knowledge_time", False)),
    )


def view_declared(store: FeatureStore, projection: FeatureViewProjection) -> FeatureView | OnDemandFeatureView:
    """The view behind a projection, in the version that the projection pins."""
    if projection.version_tag is not None:
        return store.registry.get_feature_view_by_version(projection.name, store.project, projection.version_tag)
    return store.registry.get_any_feature_view(projection.name, store.project)


def add(views: dict[str, ViewDefinition], view: ViewDefinition) -> None:
    """Add a view; features that an on-demand view takes from one that is there already join it."""
    former = views.get(view.shown_as)
    features = {**former.features, **view.features} if former else view.features
    views[view.shown_as] = replace(view, features=features)


def view_of(view: FeatureView, projection: FeatureViewProjection) -> ViewDefinition:
    """What of a view decides the values."""
    source = pinnable(view)
    return ViewDefinition(
        name=view.name,
        alias=projection.name_alias,
        version_tag=projection.version_tag,
        keys={column.name: column.dtype.to_value_type().name for column in view.entity_columns},
        labels=dict(projection.join_key_map),
        features={feature.name: feature.dtype.to_value_type().name for feature in projection.features},
        ttl_seconds=view.ttl.total_seconds() if view.ttl else 0.0,
        source=source.path,
        columns=dict(source.field_mapping or {}),
        event_at=source.timestamp_field,
        created_at=source.created_timestamp_column or None,
    )


def pinnable(view: FeatureView) -> SparkSource:
    """The view's source.

    Raises:
        UnsupportedSourceError: it is no Delta table with a path, or the view transforms what it reads.
    """
    if transforms(view):
        raise UnsupportedSourceError(
            view.name, "it transforms its rows when they are read", "Publish the transformed rows to a table."
        )
    return delta_source(view)


def on_demand_view(view: OnDemandFeatureView, projection: FeatureViewProjection) -> OnDemandView:
    """What of an on-demand view decides the values; its code is hashed as the registry keeps it."""
    transformation = view.feature_transformation.to_proto()
    return OnDemandView(
        name=projection.name_to_use(),
        features={feature.name: feature.dtype.to_value_type().name for feature in projection.features},
        inputs=tuple(
            f"{source.name_to_use()}:{feature.name}"
            for source in view.source_feature_view_projections.values()
            for feature in source.features
        ),
        requested=tuple(view.get_request_data_schema()),
        code=hashlib.sha256(
            getattr(transformation, "body_text", "").encode() or repr(transformation).encode()
        ).hexdigest(),
    )


def references(definitions: Definitions) -> list[str]:
    """The features to ask an offline store for: the service's, and those that its on-demand views read."""
    inputs = [feature for view in definitions.on_demand for feature in view.inputs]
    return list(dict.fromkeys((*definitions.features, *inputs)))


def column_of(feature: str) -> str:
    """The column of a feature, `view:feature`, in a training set."""
    return feature.replace(":", "__", 1)


def pinned_views(definitions: Definitions, versions: Mapping[str, int]) -> list[FeatureView]:
    """Feast's views as the definitions have them, each over one version of its table; `versions` by URI."""
    return [pinned_view(view, versions[view.source]) for view in definitions.views]


def pinned_view(view: ViewDefinition, version: int) -> FeatureView:
    """One view over one version of its table, as a service projects it."""
    columns = {name: from_value_type(ValueType[kind]) for name, kind in (*view.keys.items(), *view.features.items())}
    source = SparkSource(
        name=view.name,
        path=view.source,
        table_format=DeltaFormat(),
        timestamp_field=view.event_at,
        created_timestamp_column=view.created_at or "",
        field_mapping=dict(view.columns),
    )
    made = FeatureView(
        name=view.name,
        entities=[Entity(name=key, join_keys=[key], value_type=ValueType[kind]) for key, kind in view.keys.items()],
        schema=[Field(name=name, dtype=dtype) for name, dtype in columns.items()],
        ttl=timedelta(seconds=view.ttl_seconds),
        source=source,
    )
    projection = FeatureViewProjection(
        name=view.name,
        name_alias=view.alias,
        desired_features=[],
        features=made.features,
        join_key_map=dict(view.labels),
        version_tag=view.version_tag,
    )
    return pin(made.with_projection(projection), source, version)
