"""Feast's registry, compiled to a plan. Registry entries are read as data: no code in them is ever loaded."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from feast.feature_view import DUMMY_ENTITY_ID
from feast.protos.feast.core.FeatureService_pb2 import FeatureServiceSpec
from feast.protos.feast.core.FeatureView_pb2 import FeatureView as FeatureViewProto
from feast.protos.feast.core.FeatureView_pb2 import FeatureViewSpec
from feast.protos.feast.core.FeatureViewProjection_pb2 import FeatureViewProjection
from feast.protos.feast.core.Permission_pb2 import Permission as PermissionProto
from feast.protos.feast.core.Permission_pb2 import PermissionSpec
from feast.protos.feast.core.Registry_pb2 import Registry as RegistryProto
from feast.protos.feast.core.StreamFeatureView_pb2 import StreamFeatureView as StreamFeatureViewProto

from pedigree.online.plans import plan as plans
from pedigree.online.plans.on_demand import on_demand_views
from pedigree.online.plans.plan import (
    Feature,
    JoinKey,
    OnDemand,
    Permission,
    Plan,
    Refusal,
    Resource,
    Service,
    View,
    ViewKind,
)
from pedigree.online.plans.projection import part_of, type_of
from pedigree.online.plans.storable import unstorable_views

READ_ONLINE = PermissionSpec.AuthzedAction.READ_ONLINE


def compile_plan(registry: RegistryProto, project: str) -> Plan:
    """What `project` serves according to `registry`."""
    entities = {
        entity.spec.name: entity.spec.join_key for entity in registry.entities if entity.spec.project == project
    }
    stored = stored_views(registry, project)
    every = [view_of(view) for view in stored]
    unstorable = unstorable_views(every)
    views = {view.name: view for view in every if view.name not in unstorable}
    computed = [view for view in registry.on_demand_feature_views if view.spec.project == project]
    refused = {view.spec.name: Refusal.DISABLED for view in stored if view.spec.disabled}
    refused |= dict.fromkeys(unstorable, Refusal.UNSTORABLE)
    on_demand, unserved = on_demand_views(computed, views=views, refused=refused)
    refused |= {name: error.refusal for name, error in unserved.items()}
    services = {
        service.spec.name: service_of(service.spec, views=views, on_demand=on_demand, refused=refused)
        for service in registry.feature_services
        if service.spec.project == project
    }
    return Plan(
        project=project,
        views=views,
        services=services,
        refused=refused,
        entities=entities,
        permissions=tuple(
            permission_of(permission)
            for permission in registry.permissions
            if permission.spec.project == project
            and READ_ONLINE in permission.spec.actions
            and is_for_somebody(permission)
        ),
        resources=tuple(resources_of(registry, project)),
        on_demand=on_demand,
        reasons=unstorable | {name: error.reason for name, error in unserved.items()},
    )


def stored_views(registry: RegistryProto, project: str) -> list[FeatureViewProto | StreamFeatureViewProto]:
    """The project's feature views, the oldest first."""
    found = (view for view in (*registry.feature_views, *registry.stream_feature_views) if view.spec.project == project)
    return sorted(found, key=lambda view: (view.meta.created_timestamp.ToNanoseconds(), view.spec.name))


def view_names(registry: RegistryProto, project: str) -> frozenset[str]:
    """The names of all that may have rows in the online store: views of every kind."""
    kinds = (
        *(registry.feature_views, registry.stream_feature_views),
        *(registry.on_demand_feature_views, registry.label_views),
    )
    return frozenset(view.spec.name for views in kinds for view in views if view.spec.project == project)


def resources_of(registry: RegistryProto, project: str) -> Iterator[Resource]:
    """What permissions may be about, each of the kind that Feast takes it for."""
    stored: tuple[tuple[ViewKind | None, Iterable[Any]], ...] = (
        (None, registry.feature_views),
        (ViewKind.STREAM_FEATURE_VIEW, registry.stream_feature_views),
        (ViewKind.ON_DEMAND_FEATURE_VIEW, registry.on_demand_feature_views),
        (ViewKind.FEATURE_SERVICE, registry.feature_services),
    )
    for kind, many in stored:
        for spec in sorted((one.spec for one in many if one.spec.project == project), key=lambda spec: str(spec.name)):
            yield Resource(kind or kind_of(spec), spec.name, dict(spec.tags))


def kind_of(spec: FeatureViewSpec) -> ViewKind:
    """Whether a view is a batch view: the registry has no word for it, and Feast takes what transforms for one."""
    return ViewKind.BATCH_FEATURE_VIEW if spec.HasField("feature_transformation") else ViewKind.FEATURE_VIEW


def is_for_somebody(stored: PermissionProto) -> bool:
    """False where a policy has an empty list of whom it lets in: a plan could not tell it from one that lets in everybody."""
    policy = stored.spec.policy
    kind = policy.WhichOneof("policy_type")
    return kind is None or any(getattr(policy, kind).ListFields())


def permission_of(stored: PermissionProto) -> Permission:
    """One permission of the registry."""
    spec = stored.spec
    policy = spec.policy
    role_based, group_based = policy.role_based_policy, policy.group_based_policy
    namespace_based, combined = policy.namespace_based_policy, policy.combined_group_namespace_policy
    return Permission(
        name=spec.name,
        kinds=tuple(PermissionSpec.Type.Name(kind) for kind in spec.types),
        names=tuple(spec.name_patterns),
        tags=dict(spec.required_tags),
        roles=tuple(role_based.roles),
        groups=(*group_based.groups, *combined.groups),
        namespaces=(*namespace_based.namespaces, *combined.namespaces),
    )


def view_of(stored: FeatureViewProto | StreamFeatureViewProto) -> View:
    """One feature view of the registry, as a whole and under its own name."""
    keys = [column for column in stored.spec.entity_columns if column.name != DUMMY_ENTITY_ID]
    features = tuple(Feature(name=column.name, value_type=type_of(column)) for column in stored.spec.features)
    return View(
        name=stored.spec.name,
        stored_as=stored.spec.name,
        keys=tuple(JoinKey(name=one.name, stored_as=one.name, value_type=type_of(one)) for one in keys),
        features=features,
        stored=features,
        ttl=stored.spec.ttl.ToTimedelta(),
        version=stored.meta.current_version_number,
    )


def service_of(
    spec: FeatureServiceSpec,
    *,
    views: Mapping[str, View],
    on_demand: Mapping[str, OnDemand],
    refused: Mapping[str, Refusal],
) -> Service:
    """One feature service: what it takes of each view, and what of it is not served."""
    missing = {
        part.feature_view_name: refusal(part, views={**views, **on_demand}, refused=refused) for part in spec.features
    }
    served = [part for part in spec.features if missing[part.feature_view_name] is None]
    return Service(
        name=spec.name,
        views=tuple(part_of(views[part.feature_view_name], part) for part in served if part.feature_view_name in views),
        refused={name: reason for name, reason in missing.items() if reason},
        on_demand=tuple(
            computed_part(on_demand[part.feature_view_name], part)
            for part in served
            if part.feature_view_name in on_demand
        ),
    )


def computed_part(view: OnDemand, part: FeatureViewProjection) -> OnDemand:
    """What a service takes of an on-demand view."""
    name = part.feature_view_name_alias or view.name
    return plans.part_of(view, name, [column.name for column in part.feature_columns])


def refusal(
    part: FeatureViewProjection, *, views: Mapping[str, View | OnDemand], refused: Mapping[str, Refusal]
) -> Refusal | None:
    """Why a service cannot be served for one of its parts, None if it can."""
    name = part.feature_view_name
    if part.HasField("version_tag"):
        return Refusal.PINNED
    if name in refused:
        return refused[name]
    has = {feature.name for feature in views[name].features} if name in views else set()
    return None if {column.name for column in part.feature_columns} <= has and name in views else Refusal.MISSING
