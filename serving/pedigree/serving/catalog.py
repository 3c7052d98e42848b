"""What a request's names stand for: the views of a service, or behind a list of references."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace

from pedigree.online.plans.plan import OnDemand, Plan, Refusal, View, part_of
from pedigree.serving.errors import (
    InvalidRequestError,
    NotReadyError,
    NotServedError,
    ServingError,
    UnknownNameError,
)

PINNED = re.compile(r"[vV]\d+")


def views_of_service(plan: Plan, name: str) -> tuple[View, ...]:
    """The views of the feature service `name`.

    Raises:
        UnknownNameError: there is no such service.
        NotServedError: the service needs a view that is not served here.
        NotReadyError: the service needs a view that is disabled or gone.
    """
    if name not in plan.services:
        raise UnknownNameError("feature service", name, plan.services)
    for view, refusal in plan.services[name].refused.items():
        raise error_of(refusal, view, plan)
    return plan.services[name].views


def views_of_references(plan: Plan, references: Sequence[str]) -> tuple[View, ...]:
    """The views behind references such as `view:feature`: views in the order of their first mention, features likewise.
    On-demand views are told by `on_demand_of_references`.

    Raises:
        InvalidRequestError: a reference is not written `view:feature`.
        UnknownNameError: there is no such view or feature.
        NotServedError: the view is of a kind that is not served here.
        NotReadyError: the view is disabled.
    """
    wanted = wanted_of(references)
    return tuple(
        taking(view_named(plan, name), features) for name, features in wanted.items() if name not in plan.on_demand
    )


def on_demand_of_references(plan: Plan, references: Sequence[str]) -> tuple[OnDemand, ...]:
    """The on-demand views behind references, in the order of their first mention; features in that of their functions.

    Raises:
        UnknownNameError: there is no such feature.
    """
    found = []
    for name, features in wanted_of(references).items():
        if name in plan.on_demand:
            refuse_unknown(plan.on_demand[name], features)
            refuse_repeated(name, features)
            found.append(part_of(plan.on_demand[name], name, features))
    return tuple(found)


def wanted_of(references: Sequence[str]) -> dict[str, list[str]]:
    """The features that references name, by view."""
    wanted: dict[str, list[str]] = {}
    for reference in references:
        view, feature = parse_reference(reference)
        wanted.setdefault(view, []).append(feature)
    return wanted


def view_named(plan: Plan, name: str) -> View:
    """The view `name`, or the error that says why there is none."""
    if name in plan.refused:
        raise error_of(plan.refused[name], name, plan)
    if name not in plan.views:
        raise UnknownNameError("feature view", name, [*plan.views, *plan.on_demand, *plan.refused])
    return plan.views[name]


def taking(view: View, names: Sequence[str]) -> View:
    """A view with only the features `names`, in that order.

    Raises:
        UnknownNameError: the view has no such feature.
    """
    refuse_unknown(view, names)
    by_name = {feature.name: feature for feature in view.features}
    return replace(view, features=tuple(by_name[name] for name in names))


def refuse_unknown(view: View | OnDemand, names: Sequence[str]) -> None:
    """Raise where a view has no such feature."""
    known = [feature.name for feature in view.features]
    for name in names:
        if name not in known:
            raise UnknownNameError(f"feature of {view.name}", name, known)


def refuse_repeated(view: str, names: Sequence[str]) -> None:
    """Raise where a feature is asked for twice."""
    if len(set(names)) < len(names):
        raise InvalidRequestError(f"A feature of {view} is asked for several times. Ask for each once.")


def error_of(refusal: Refusal, name: str, plan: Plan) -> ServingError:
    """The error that a request for `name` ends with."""
    kind = NotReadyError if refusal in (Refusal.DISABLED, Refusal.MISSING) else NotServedError
    return kind(name, plan.reasons.get(name, refusal.value))


def parse_reference(reference: str) -> tuple[str, str]:
    """The view and the feature of `view:feature`; `view@latest:feature` is the same."""
    view, _, feature = reference.partition(":")
    if not view or not feature:
        raise InvalidRequestError(f"{reference!r} is not a feature reference. Write view:feature.")
    name, _, version = view.partition("@")
    if version.lower() in ("", "latest"):
        return name, feature
    if PINNED.fullmatch(version):
        raise NotServedError(view, Refusal.PINNED.value)
    return view, feature


def used_by(view: OnDemand) -> frozenset[int]:
    """The inputs that any feature of an on-demand view depends on."""
    return frozenset(place for feature in view.features for place in view.program.inputs_of(feature.name))


def inputs_of(view: OnDemand) -> tuple[View, ...]:
    """The sources of an on-demand view, each with the features that its own are computed from."""
    used = used_by(view)
    inputs = [one for place, one in enumerate(view.inputs) if place in used]
    needed = {(one.source, one.name) for one in inputs if one.kind == "feature"}
    return tuple(
        replace(source, features=tuple(one for one in source.features if (place, one.name) in needed))
        for place, source in enumerate(view.sources)
    )
