"""A request, checked against the plan and turned into what has to be read. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

from pedigree.online.plans.plan import Feature, JoinKey, OnDemand, Plan, View
from pedigree.online.store import redis_keys
from pedigree.serving.catalog import on_demand_of_references, views_of_references, views_of_service
from pedigree.serving.codec.multi_view import MultiViewDecoder
from pedigree.serving.codec.protowire import VALUE_TAGS, delimited
from pedigree.serving.codec.response_encoder import ResponseEncoder, parted
from pedigree.serving.data_plane.computation import Computation
from pedigree.serving.errors import InvalidRequestError
from pedigree.serving.v1.serving_pb2 import GetOnlineFeaturesResponseMetadata
from pedigree.serving.v1.value_pb2 import RepeatedValue

KeyColumns = Mapping[str, Sequence[bytes]]
"""The serialized `Value`s of each join key, one per entity row."""

FLOATS = ("DOUBLE", "FLOAT")
"""Types of keys of which one value may be written in two ways."""


@dataclass(frozen=True)
class Group:
    """Views about the same entities, which are read together: what their keys start with, and the join keys in its order."""

    prefix: bytes
    keys: tuple[JoinKey, ...]
    views: tuple[View, ...]

    @cached_property
    def stored(self) -> tuple[str, ...]:
        """The views' stored names, each once."""
        return tuple(dict.fromkeys(view.stored_as for view in self.views))


@dataclass(frozen=True)
class Selection:
    """The features that a request selects, compiled once for all requests that select the same.

    Attributes:
        service: the feature service that was named; None where features were named one by one.
        views: the stored views of the answer, each with the features that are selected.
        on_demand: the on-demand views of the answer. They are computed from `sources`, which are read too and are not part of
            the answer.
    """

    project: str
    service: str | None
    views: tuple[View, ...]
    full_names: bool
    on_demand: tuple[OnDemand, ...] = ()

    @cached_property
    def keys(self) -> dict[str, JoinKey]:
        """The join keys, by what a request calls them."""
        return {key.name: key for view in self.read for key in view.keys}

    @cached_property
    def request(self) -> dict[str, Feature]:
        """The request data that a request must bring."""
        return {one.name: one for view in self.on_demand for one in view.request}

    @cached_property
    def computations(self) -> tuple[Computation, ...]:
        """How each on-demand view is computed."""
        return tuple(map(Computation, self.on_demand))

    @cached_property
    def sources(self) -> tuple[View, ...]:
        """The views that on-demand views are computed from, each once, with what is needed of them."""
        return tuple(dict.fromkeys(source for one in self.computations for source in one.sources))

    @cached_property
    def sources_of(self) -> tuple[tuple[int, ...], ...]:
        """For each on-demand view, the positions of its sources in `sources`."""
        return tuple(tuple(self.sources.index(source) for source in one.sources) for one in self.computations)

    @cached_property
    def asked(self) -> tuple[View | OnDemand, ...]:
        """The views of the answer; on-demand views come last."""
        return (*self.views, *self.on_demand)

    @cached_property
    def read(self) -> tuple[View, ...]:
        """All views that are read: those of the answer first."""
        return (*self.views, *self.sources)

    @cached_property
    def groups(self) -> tuple[Group, ...]:
        """All views that are read, grouped by the entities that they describe."""
        grouped: dict[tuple[JoinKey, ...], list[View]] = {}
        for view in self.read:
            grouped.setdefault(tuple(sorted(view.keys, key=lambda key: key.stored_as)), []).append(view)
        return tuple(
            Group(redis_keys.entity_prefix(self.project, [key.stored_as for key in keys]), keys, tuple(views))
            for keys, views in grouped.items()
        )

    @cached_property
    def encoders(self) -> tuple[ResponseEncoder, ...]:
        """An encoder for each view of `views`."""
        return tuple(map(ResponseEncoder, self.views))

    @cached_property
    def decoders(self) -> tuple[MultiViewDecoder, ...]:
        """A decoder for each group, of those of its views that are part of the answer."""
        decoders = []
        for group, members in zip(self.groups, self.members, strict=True):
            by_stored_name = {view.stored_as: ResponseEncoder(view) for view in group.views}
            pairs = tuple((self.encoders[one], group.stored.index(self.views[one].stored_as)) for one in members)
            decoders.append(MultiViewDecoder(pairs, tuple(by_stored_name[name] for name in group.stored)))
        return tuple(decoders)

    @cached_property
    def members(self) -> tuple[tuple[int, ...], ...]:
        """For each group, the positions in `views` of its views."""
        return tuple(
            tuple(number for number, view in enumerate(self.views) if view in group.views) for group in self.groups
        )

    @cached_property
    def source_encoders(self) -> tuple[tuple[ResponseEncoder, int, int], ...]:
        """For each source its encoder, the position of its group, and that of its record in a row of the group."""
        return tuple(
            (ResponseEncoder(source), number, group.stored.index(source.stored_as))
            for source in self.sources
            for number, group in enumerate(self.groups)
            if source in group.views
        )

    @cached_property
    def columns(self) -> list[str]:
        """The names of the answer's columns: join keys first and on-demand features last, as Feast has it."""
        return [*self.keys, *(self.name(view, one.name) for view in self.asked for one in view.features)]

    def name(self, view: View | OnDemand, feature: str) -> str:
        """What the answer calls a feature."""
        return f"{view.name}__{feature}" if self.full_names else feature

    @cached_property
    def metadata(self) -> bytes:
        """The reply's first field."""
        metadata = GetOnlineFeaturesResponseMetadata()
        metadata.feature_names.val.extend(self.columns)
        return delimited(1, metadata.SerializeToString())

    @cached_property
    def metadata_with_versions(self) -> bytes:
        """The same, with the current version of each view that is read, sources too, as Feast has it."""
        metadata = GetOnlineFeaturesResponseMetadata()
        metadata.feature_names.val.extend(self.columns)
        for view in {view.name: view for view in self.read}.values():
            metadata.feature_view_metadata.add(name=view.name, version=view.version)
        return delimited(1, metadata.SerializeToString())


def selection_of(plan: Plan, service: str | None, references: Sequence[str], *, full_names: bool) -> Selection:
    """What is asked for by a service's name, or else by references.

    Raises:
        InvalidRequestError: nothing is asked for, or columns of the answer would have one name.
        UnknownNameError: it names something that the plan does not have.
        NotServedError: it asks for something that is not served here.
        NotReadyError: it asks for a view that is disabled or gone.
    """
    on_demand: tuple[OnDemand, ...]
    if service:
        views, on_demand = views_of_service(plan, service), plan.services[service].on_demand
    elif references:
        views, on_demand = views_of_references(plan, references), on_demand_of_references(plan, references)
    else:
        raise InvalidRequestError("Nothing was asked for. Set feature_service, or features to a list of view:feature.")
    selection = Selection(plan.project, service, views, full_names, on_demand)
    refuse_clashes(selection)
    return selection


def refuse_clashes(selection: Selection) -> None:
    """No two columns of an answer may have one name."""
    clashing = sorted(name for name, times in Counter(selection.columns).items() if times > 1)
    if not clashing:
        return
    advice = (
        "Ask for each feature once" if selection.full_names else "Ask with full_feature_names=true, and for each once"
    )
    raise InvalidRequestError(f"Several columns of the answer would be called {', '.join(clashing)}. {advice}.")


def columns_of(entities: Mapping[str, RepeatedValue], selection: Selection, plan: Plan) -> tuple[KeyColumns, int]:
    """The values of every join key and their number; one row where no view has a key and none is sent.

    Args:
        entities: the values of each join key, by name.
    Raises:
        InvalidRequestError: they are not those that are needed.
    """
    refuse_unexpected(entities, selection, plan)
    columns = {key.name: column_of(entities, key) for key in selection.keys.values()}
    lengths = {name: len(column) for name, column in columns.items()}
    if len(set(lengths.values())) > 1:
        counts = ", ".join(f"{name}: {length}" for name, length in lengths.items())
        raise InvalidRequestError(f"Every join key needs the same number of values, one per row. Sent: {counts}.")
    return columns, next(iter(lengths.values()), 1)


def refuse_unexpected(entities: Mapping[str, object], selection: Selection, plan: Plan) -> None:
    """Every name that is sent must be a join key of what is asked."""
    for name in sorted(entities):
        if name not in selection.keys:
            key = plan.entities.get(name)
            hint = f" {name!r} is an entity; send its join key {key!r}." if key in selection.keys else ""
            expected = ", ".join(sorted({*selection.keys, *selection.request})) or "none"
            raise InvalidRequestError(f"{name!r} is not a join key of what was asked.{hint} Expected: {expected}.")


def column_of(entities: Mapping[str, RepeatedValue], key: JoinKey) -> list[bytes]:
    """The values of one join key, each of the type that the registry declares."""
    if key.name not in entities:
        raise InvalidRequestError(
            f"The join key {key.name!r} ({key.value_type}) is missing from entities. Send one value of it per row."
        )
    column = parted(entities[key.name])
    if not column:
        raise InvalidRequestError(f"The join key {key.name!r} has no values. Send one per row.")
    tag = VALUE_TAGS[key.value_type]
    for row, value in enumerate(column):
        if not value.startswith(tag):
            raise InvalidRequestError(wrong_type(key, row, entities[key.name].val[row].WhichOneof("val")))
    return column


def wrong_type(key: JoinKey, row: int, sent: str | None) -> str:
    """What is wrong with a value of a join key."""
    if sent in (None, "null_val"):
        return f"The join key {key.name!r} is null in row {row}. Leave the row out."
    expected = f"{key.value_type.lower()}_val"
    return f"The join key {key.name!r} is {key.value_type}: row {row} must set {expected}, not {sent}."


def key_values(key: JoinKey, columns: KeyColumns) -> Sequence[bytes]:
    """The values of a join key as the store has them."""
    values = columns[key.name]
    return [redis_keys.key_value(value) for value in values] if key.value_type in FLOATS else values


def keys_of(group: Group, columns: KeyColumns, rows: int) -> tuple[list[bytes], list[int] | None]:
    """The keys of a group's entities, each once; and for each row the place of its key (None: each row has its own, in order)."""
    if not group.keys:
        return [group.prefix], None if rows == 1 else [0] * rows
    prefix = group.prefix
    if len(group.keys) == 1:
        keys = [prefix + value for value in key_values(group.keys[0], columns)]
    else:
        parts = zip(*(key_values(key, columns) for key in group.keys), strict=True)
        keys = [prefix + b"".join(values) for values in parts]
    place_of = dict.fromkeys(keys)
    if len(place_of) == len(keys):
        return keys, None
    unique = list(place_of)
    places = {key: place for place, key in enumerate(unique)}
    return unique, [places[key] for key in keys]
