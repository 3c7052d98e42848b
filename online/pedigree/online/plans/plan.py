"""What can be asked: services, views, features and join keys, as data alone. Compiled by `feast apply`, kept beside the rows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import timedelta
from enum import StrEnum
from typing import Literal

from pedigree.online.plans.expressions.tree import Program
from pedigree.online.records.record import Schema


class ViewKind(StrEnum):
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
    UNSTORABLE = "its name or its types cannot be stored; `feast apply` says which"
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

    kind: ViewKind
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
        reasons: of each view that is refused for its own definition, what is wrong with it.
    """

    project: str
    views: Mapping[str, View]
    services: Mapping[str, Service]
    refused: Mapping[str, Refusal]
    entities: Mapping[str, str]
    permissions: tuple[Permission, ...] = ()
    resources: tuple[Resource, ...] = ()
    on_demand: Mapping[str, OnDemand] = field(default_factory=dict)
    reasons: Mapping[str, str] = field(default_factory=dict)


def part_of(view: OnDemand, called: str, taken: Sequence[str]) -> OnDemand:
    """A part of an on-demand view, under a name of its own; features stay in the function's order."""
    known = {feature.name for feature in view.features}
    if not known.issuperset(taken):
        raise KeyError(*known.symmetric_difference(taken))
    return replace(view, name=called, features=tuple(one for one in view.features if one.name in taken))
