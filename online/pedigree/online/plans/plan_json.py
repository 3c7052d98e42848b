"""A plan as JSON. Reading one runs no code, whatever somebody wrote into it or into the registry that it was compiled from."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from datetime import timedelta
from hashlib import blake2b
from typing import Any

from pedigree.online.errors import ExpressionError, PlanError
from pedigree.online.plans.expressions import tree
from pedigree.online.plans.expressions.outcome import COMPUTABLE
from pedigree.online.plans.plan import (
    Feature,
    Input,
    JoinKey,
    OnDemand,
    Permission,
    Plan,
    Refusal,
    Resource,
    Service,
    View,
    ViewKind,
    part_of,
)

FORMAT = 2
"""Members that a reader does not know are ignored: one without which the others mean something else, as a condition of a
permission, is a new format."""


def version_of(plan: Plan) -> str:
    """A digest of everything in a plan."""
    return blake2b(encoded(plan).encode(), digest_size=6).hexdigest()


def encoded(plan: Plan) -> str:
    """The plan as JSON."""
    return json.dumps(
        {
            "format": FORMAT,
            "project": plan.project,
            "views": {name: written(view) for name, view in plan.views.items()},
            "services": {name: written_service(service) for name, service in plan.services.items()},
            "on_demand": {name: written_on_demand(view) for name, view in plan.on_demand.items()},
            "uncompiled": dict(plan.reasons),  # the name that servers of before know
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
        refuse_format(parts["format"])
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
            reasons={str(name): str(reason) for name, reason in parts["uncompiled"].items()},
        )
    except ExpressionError as error:
        raise PlanError([str(error)]) from error
    except (ValueError, KeyError, TypeError, AttributeError, ArithmeticError, RecursionError) as error:
        raise PlanError([f"{type(error).__name__}: {error}"]) from error


def refuse_format(found: object) -> None:
    """Raise where a plan is in another format than this release reads."""
    if isinstance(found, int) and found > FORMAT:
        problem = f"a newer release compiled it (format {found}), and this one reads format {FORMAT}"
        raise PlanError([problem], "Upgrade this process, or run `feast apply` with its release.")
    if found != FORMAT:
        raise PlanError([f"its format is {found!r:.20}, and this release reads {FORMAT}"])


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


def features_of(parts: Sequence[Sequence[str]]) -> tuple[Feature, ...]:
    """Features out of JSON."""
    return tuple(Feature(str(name), str(kind)) for name, kind in parts)


def refusals(parts: Mapping[str, str]) -> dict[str, Refusal]:
    """Reasons out of JSON."""
    return {str(name): Refusal(reason) for name, reason in parts.items()}


def resource_of(kind: str, name: str, tags: Mapping[str, str]) -> Resource:
    """A resource out of JSON."""
    return Resource(ViewKind(kind), str(name), {str(tag): str(value) for tag, value in tags.items()})


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
