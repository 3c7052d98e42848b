"""What can be asked: services, views, features and join keys, as data alone. Compiled by `feast apply`, kept beside the rows.

A plan is JSON. Reading one runs no code, whatever somebody wrote into it or into the registry that it was compiled from.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import timedelta
from enum import StrEnum
from hashlib import blake2b
from typing import Any, Literal

from online.errors import ExpressionError, PlanError
from online.expressions import tree
from online.expressions.outcome import COMPUTABLE
from online.expressions.tree import Program
from online.record import Schema

FORMAT = 2


class Kind(StrEnum):
    """What can be read, as Feast's permissions name it (`PermissionSpec.Type`)."""

    FEATURE_VIEW = "FEATURE_VIEW"
    BATCH_FEATURE_VIEW = "BATCH_FEATURE_VIEW"
    STREAM_FEATURE_VIEW = "STREAM_FEATURE_VIEW"
    ON_DEMAND_FEATURE_VIEW = "ON_DEMAND_FEATURE_VIEW"
    FEATURE_SERVICE = "FEATURE_SERVICE"


class Refusal(StrEnum):
    """Why a view that the registry knows is not served."""

    ON_DEMAND = "the on-demand feature view could not be compiled"
    PINNED = "only the current version of a feature view is served; ask without @v…"
    DISABLED = "the feature view is disabled; run `feast feature-views enable` for it, then `feast apply`"
    MISSING = "the registry has no such feature view, or not all the features that a service takes of it; apply both"


@dataclass(frozen=True, slots=True)
class JoinKey:
    """One column of an entity key: what a request calls it, what the store calls it, and Feast's name of its type."""

    name: str
    stored_as: str
    value_type: str


@dataclass(frozen=True, slots=True)
class Feature:
    """One feature of a view and Feast's name of its type (`DOUBLE`, `STRING_LIST`, …)."""

    name: str
    value_type: str


@dataclass(frozen=True, slots=True)
class View:
    """A feature view, or the part of one that a service or a request takes.

    Attributes:
        name: what a request calls it; a service may give it a name of its own.
        stored_as: the feature view's name in the registry and the store.
        keys: empty for a view that is about nothing in particular (no entity).
        features: in the order of the answer.
        stored: all features of the stored view, in the order of its records.
        ttl: the age from which a value no longer counts; zero is no limit.
        version: the feature view's current version.
    """

    name: str
    stored_as: str
    keys: tuple[JoinKey, ...]
    features: tuple[Feature, ...]
    stored: tuple[Feature, ...]
    ttl: timedelta
    version: int

    @property
    def schema(self) -> Schema:
        """The layout of the view's records."""
        return Schema.of((feature.name, feature.value_type) for feature in self.stored)


@dataclass(frozen=True, slots=True)
class Input:
    """A value that an on-demand view's function reads: a feature of one of its sources, request data, or a join key.

    Attributes:
        source: which of the view's sources a feature is of.
    """

    kind: Literal["feature", "request", "key"]
    source: int
    name: str
    value_type: str


@dataclass(frozen=True, slots=True)
class OnDemand:
    """An on-demand feature view, or the part of one that a service or a request takes.

    Attributes:
        name: what a request calls it; a service may give it a name of its own.
        stored_as: its name in the registry.
        features: in the order in which its function makes them.
        sources: the views that it reads, each with the features that it takes of them.
        request: all that has to be sent with a request.
        inputs: what its function reads, by the numbers that `program` has.
        program: its function, compiled.
    """

    name: str
    stored_as: str
    features: tuple[Feature, ...]
    sources: tuple[View, ...]
    request: tuple[Feature, ...]
    inputs: tuple[Input, ...]
    program: Program
    version: int


@dataclass(frozen=True, slots=True)
class Service:
    """A feature service: its views, each with the features that it takes, and the views because of which it is refused."""

    name: str
    views: tuple[View, ...]
    refused: Mapping[str, Refusal]
    on_demand: tuple[OnDemand, ...] = ()


@dataclass(frozen=True, slots=True)
class Resource:
    """A view or a service as permissions see it, whether it is served or refused. A view and a service may have one name."""

    kind: Kind
    name: str
    tags: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Permission:
    """Who may ask: Feast's `Permission` objects that let something be read online.

    Attributes:
        kinds: Feast's names of the types of resource (`FEATURE_SERVICE`, `FEATURE_VIEW`, …).
        names: regular expressions that a resource's name must match one of; empty: any.
        tags: tags that the resource must have.
        roles, groups, namespaces: each that is not empty must have one in common with the principal.
    """

    name: str
    kinds: tuple[str, ...]
    names: tuple[str, ...]
    tags: Mapping[str, str]
    roles: tuple[str, ...]
    groups: tuple[str, ...]
    namespaces: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Plan:
    """Everything a project serves, by name.

    Attributes:
        entities: the join key of each entity.
        uncompiled: of each on-demand view that is not served, why.
    """

    project: str
    views: Mapping[str, View]
    services: Mapping[str, Service]
    refused: Mapping[str, Refusal]
    entities: Mapping[str, str]
    permissions: tuple[Permission, ...] = ()
    resources: tuple[Resource, ...] = ()
    on_demand: Mapping[str, OnDemand] = field(default_factory=dict)
    uncompiled: Mapping[str, str] = field(default_factory=dict)

    @property
    def version(self) -> str:
        """A digest of everything in it."""
        return blake2b(encoded(self).encode(), digest_size=6).hexdigest()


def encoded(plan: Plan) -> str:
    """The plan as JSON."""
    return json.dumps(
        {
            "format": FORMAT,
            "project": plan.project,
            "views": {name: written(view) for name, view in plan.views.items()},
            "services": {name: written_service(service) for name, service in plan.services.items()},
            "on_demand": {name: written_on_demand(view) for name, view in plan.on_demand.items()},
            "uncompiled": dict(plan.uncompiled),
            "refused": dict(plan.refused),
            "entities": dict(plan.entities),
            "permissions": [
                {part: getattr(permission, part) for part in Permission.__dataclass_fields__}
                for permission in plan.permissions
            ],
            "resources": [[one.kind, one.name, dict(one.tags)] for one in plan.resources],
        },
        sort_keys=True,
        default=dict,
    )


def written(view: View) -> dict[str, Any]:
    """A view as JSON has it."""
    return {
        "name": view.name,
        "stored_as": view.stored_as,
        "keys": [[key.name, key.stored_as, key.value_type] for key in view.keys],
        "features": [feature.name for feature in view.features],
        "stored": [[feature.name, feature.value_type] for feature in view.stored],
        "ttl_us": view.ttl // timedelta(microseconds=1),
        "version": view.version,
    }


def written_service(service: Service) -> dict[str, Any]:
    """A service as JSON has it."""
    return {
        "views": [written(view) for view in service.views],
        "refused": dict(service.refused),
        "on_demand": [[one.name, one.stored_as, [part.name for part in one.features]] for one in service.on_demand],
    }


def written_on_demand(view: OnDemand) -> dict[str, Any]:
    """An on-demand view as JSON has it."""
    return {
        "name": view.name,
        "features": [[feature.name, feature.value_type] for feature in view.features],
        "sources": [written(source) for source in view.sources],
        "request": [[feature.name, feature.value_type] for feature in view.request],
        "inputs": [[one.kind, one.source, one.name, one.value_type] for one in view.inputs],
        "program": tree.written(view.program),
        "version": view.version,
    }


def decoded(text: str | bytes) -> Plan:
    """The plan that JSON holds.

    Raises:
        PlanError: it holds none that this release can read.
    """
    try:
        parts = json.loads(text)
        if parts["format"] != FORMAT:
            raise PlanError([f"its format is {parts['format']}, and this release reads {FORMAT}"])
        on_demand = {str(name): on_demand_of(view) for name, view in parts["on_demand"].items()}
        return Plan(
            project=str(parts["project"]),
            views={name: view_of(view) for name, view in parts["views"].items()},
            services={name: service_of(name, service, on_demand) for name, service in parts["services"].items()},
            refused=refusals(parts["refused"]),
            entities={str(name): str(key) for name, key in parts["entities"].items()},
            permissions=tuple(permission_of(permission) for permission in parts["permissions"]),
            resources=tuple(resource_of(*resource) for resource in parts["resources"]),
            on_demand=on_demand,
            uncompiled={str(name): str(reason) for name, reason in parts["uncompiled"].items()},
        )
    except ExpressionError as error:
        raise PlanError([str(error)]) from error
    except (ValueError, KeyError, TypeError, AttributeError, ArithmeticError, RecursionError) as error:
        raise PlanError([f"{type(error).__name__}: {error}"]) from error


def view_of(parts: Mapping[str, Any]) -> View:
    """A view out of JSON."""
    stored = tuple(Feature(str(name), str(kind)) for name, kind in parts["stored"])
    types = {feature.name: feature for feature in stored}
    return View(
        name=str(parts["name"]),
        stored_as=str(parts["stored_as"]),
        keys=tuple(JoinKey(str(name), str(there), str(kind)) for name, there, kind in parts["keys"]),
        features=tuple(types[name] for name in parts["features"]),
        stored=stored,
        ttl=timedelta(microseconds=int(parts["ttl_us"])),
        version=int(parts["version"]),
    )


def service_of(name: str, parts: Mapping[str, Any], on_demand: Mapping[str, OnDemand]) -> Service:
    """A service out of JSON."""
    return Service(
        str(name),
        tuple(view_of(view) for view in parts["views"]),
        refusals(parts["refused"]),
        tuple(part_of(on_demand[stored_as], str(called), taken) for called, stored_as, taken in parts["on_demand"]),
    )


def on_demand_of(parts: Mapping[str, Any]) -> OnDemand:
    """An on-demand view out of JSON.

    Raises:
        ExpressionError: its program is not one that can be computed here.
    """
    view = OnDemand(
        name=str(parts["name"]),
        stored_as=str(parts["name"]),
        features=features_of(parts["features"]),
        sources=tuple(view_of(source) for source in parts["sources"]),
        request=features_of(parts["request"]),
        inputs=tuple(Input(kind, int(source), str(name), str(of)) for kind, source, name, of in parts["inputs"]),
        program=tree.read(parts["program"], inputs=len(parts["inputs"])),
        version=int(parts["version"]),
    )
    check_on_demand(view)
    return view


def check_on_demand(view: OnDemand) -> None:
    """Raise where a view could not be computed: it names what is not there, or is of a type that nothing is computed of."""
    for feature in view.features:
        if feature.name not in view.program.outputs or feature.value_type not in COMPUTABLE:
            raise ExpressionError(f"{view.name} does not make {feature.name} ({feature.value_type})")
    there = {
        "request": {(0, one.name, one.value_type) for one in view.request},
        "key": {(0, key.name, key.value_type) for source in view.sources for key in source.keys},
        "feature": {
            (place, one.name, one.value_type) for place, source in enumerate(view.sources) for one in source.features
        },
    }
    for one in view.inputs:
        if (one.source, one.name, one.value_type) not in there[one.kind] or one.value_type not in COMPUTABLE:
            raise ExpressionError(f"{view.name} reads {one.name}, which it is not given")


def part_of(view: OnDemand, called: str, taken: Sequence[str]) -> OnDemand:
    """A part of an on-demand view, under a name of its own; features stay in the function's order."""
    known = {feature.name for feature in view.features}
    if not known.issuperset(taken):
        raise KeyError(*known.symmetric_difference(taken))
    return replace(view, name=called, features=tuple(one for one in view.features if one.name in taken))


def features_of(parts: Sequence[Sequence[str]]) -> tuple[Feature, ...]:
    """Features out of JSON."""
    return tuple(Feature(str(name), str(kind)) for name, kind in parts)


def refusals(parts: Mapping[str, str]) -> dict[str, Refusal]:
    """Reasons out of JSON."""
    return {str(name): Refusal(reason) for name, reason in parts.items()}


def resource_of(kind: str, name: str, tags: Mapping[str, str]) -> Resource:
    """A resource out of JSON."""
    return Resource(Kind(kind), str(name), {str(tag): str(value) for tag, value in tags.items()})


def permission_of(parts: Mapping[str, Any]) -> Permission:
    """A permission out of JSON."""

    def texts(name: str) -> tuple[str, ...]:
        return tuple(str(one) for one in as_list(parts[name]))

    return Permission(
        name=str(parts["name"]),
        kinds=texts("kinds"),
        names=texts("names"),
        tags={str(name): str(value) for name, value in parts["tags"].items()},
        roles=texts("roles"),
        groups=texts("groups"),
        namespaces=texts("namespaces"),
    )


def as_list(value: object) -> Sequence[object]:
    """A list as it is; anything else is none."""
    if not isinstance(value, list):
        raise TypeError(f"{value!r} is no list")
    return value
