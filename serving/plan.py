"""What can be asked: services, views, features and join keys, as data alone. Compiled once; no request goes to the registry."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from enum import StrEnum

from serving.errors import InvalidRequestError, NotReadyError, NotServedError, ServingError, UnknownNameError

PINNED = re.compile(r"[vV]\d+")


class Refusal(StrEnum):
    """Why a view that the registry knows is not served."""

    ON_DEMAND = "on-demand feature views run code out of the registry; ask for their source features instead"
    PINNED = "only the current version of a feature view is served; ask without @v…"
    DISABLED = "the feature view is disabled; run `feast feature-views enable` for it"
    MISSING = "the registry has no such feature view, or not all the features that a service takes of it; apply both"

    def error(self, name: str) -> ServingError:
        """The error that a request for `name` ends with."""
        kind = NotReadyError if self in (Refusal.DISABLED, Refusal.MISSING) else NotServedError
        return kind(name, self.value)


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
        ttl: the age from which a value no longer counts; zero is no limit.
        version: the feature view's current version.
    """

    name: str
    stored_as: str
    keys: tuple[JoinKey, ...]
    features: tuple[Feature, ...]
    ttl: timedelta
    version: int

    def taking(self, names: Sequence[str]) -> View:
        """This view with only the features `names`, in that order.

        Raises:
            UnknownNameError: the view has no such feature.
        """
        by_name = {feature.name: feature for feature in self.features}
        for name in names:
            if name not in by_name:
                raise UnknownNameError(f"feature of {self.name}", name, by_name)
        return replace(self, features=tuple(by_name[name] for name in names))


@dataclass(frozen=True, slots=True)
class Service:
    """A feature service: its views, each with the features that it takes, and the views because of which it is refused."""

    name: str
    views: tuple[View, ...]
    refused: Mapping[str, Refusal]


@dataclass(frozen=True, slots=True)
class Plan:
    """Everything a project serves, by name. `entities` maps the name of an entity to its join key."""

    project: str
    views: Mapping[str, View]
    services: Mapping[str, Service]
    refused: Mapping[str, Refusal]
    entities: Mapping[str, str]

    def of_service(self, name: str) -> tuple[View, ...]:
        """The views of the feature service `name`.

        Raises:
            UnknownNameError: there is no such service.
            NotServedError: the service needs a view that is not served here.
            NotReadyError: the service needs a view that is disabled or gone.
        """
        if name not in self.services:
            raise UnknownNameError("feature service", name, self.services)
        for view, refusal in self.services[name].refused.items():
            raise refusal.error(view)
        return self.services[name].views

    def of_references(self, references: Sequence[str]) -> tuple[View, ...]:
        """The views behind references such as `view:feature`: views in the order of their first mention, features likewise.

        Raises:
            InvalidRequestError: a reference is not written `view:feature`.
            UnknownNameError: there is no such view or feature.
            NotServedError: the view is of a kind that is not served here.
            NotReadyError: the view is disabled.
        """
        wanted: dict[str, list[str]] = {}
        for reference in references:
            view, feature = parse_reference(reference)
            wanted.setdefault(view, []).append(feature)
        return tuple(self.view(name).taking(features) for name, features in wanted.items())

    def view(self, name: str) -> View:
        """The view `name`, or the error that says why there is none."""
        if name in self.refused:
            raise self.refused[name].error(name)
        if name not in self.views:
            raise UnknownNameError("feature view", name, [*self.views, *self.refused])
        return self.views[name]


def parse_reference(reference: str) -> tuple[str, str]:
    """The view and the feature of `view:feature`; `view@latest:feature` is the same."""
    view, _, feature = reference.partition(":")
    if not view or not feature:
        raise InvalidRequestError(f"{reference!r} is not a feature reference. Write view:feature.")
    name, _, version = view.partition("@")
    if version.lower() in ("", "latest"):
        return name, feature
    if PINNED.fullmatch(version):
        raise Refusal.PINNED.error(view)
    return view, feature
