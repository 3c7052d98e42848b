"""On-demand feature views of the registry, compiled. The text of a function is parsed; nothing is run and nothing unpickled."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from feast.protos.feast.core.DataSource_pb2 import DataSource
from feast.protos.feast.core.OnDemandFeatureView_pb2 import OnDemandFeatureView as OnDemandProto
from feast.protos.feast.core.OnDemandFeatureView_pb2 import OnDemandFeatureViewSpec, OnDemandSource

from pedigree.online.errors import UncompiledError
from pedigree.online.plans.expressions.compiling import compiled
from pedigree.online.plans.expressions.outcome import COMPUTABLE
from pedigree.online.plans.expressions.tree import Mode
from pedigree.online.plans.plan import Feature, Input, OnDemand, Refusal, View
from pedigree.online.plans.projection import part_of, type_of

ADVICE = "Rewrite it within what docs/serving.md lists, or ask for its source features instead"


class UnservedError(Exception):
    """An on-demand view is not served, and why."""

    def __init__(self, refusal: Refusal, reason: str) -> None:
        self.refusal = refusal
        self.reason = reason
        super().__init__(reason)


@dataclass(slots=True)
class Readable:
    """What a function may read: its inputs, and by name which of them that is, or why there is none."""

    inputs: list[Input] = field(default_factory=list)
    names: dict[str, int | str] = field(default_factory=dict)

    def add(self, one: Input, *aliases: str) -> None:
        """An input, under its own name and others. A name that several have is nobody's."""
        if one.value_type not in COMPUTABLE:
            place: int | str = f"its type is {one.value_type}, which is not computed with"
        else:
            place = len(self.inputs)
            self.inputs.append(one)
        taken = one.name in self.names
        self.names[one.name] = "several sources have it; write view__feature" if taken else place
        self.names.update(dict.fromkeys(aliases, place))


def on_demand_views(
    stored: Iterable[OnDemandProto], *, views: Mapping[str, View], refused: Mapping[str, Refusal]
) -> tuple[dict[str, OnDemand], dict[str, UnservedError]]:
    """The on-demand views that can be served, and those that cannot."""
    served, unserved = {}, {}
    for one in stored:
        try:
            served[one.spec.name] = on_demand_of(one, views=views, refused=refused)
        except UnservedError as error:
            unserved[one.spec.name] = error
    return served, unserved


def on_demand_of(stored: OnDemandProto, *, views: Mapping[str, View], refused: Mapping[str, Refusal]) -> OnDemand:
    """One on-demand view.

    Raises:
        UnservedError: it cannot be served.
    """
    spec = stored.spec
    refuse_kind(spec)
    sources = tuple(
        source_of(source, views=views, refused=refused) for source in by_name(spec) if not is_request(source)
    )
    request = tuple(
        one for source in by_name(spec) if is_request(source) for one in fields_of(source.request_data_source)
    )
    readable = readable_of(sources, request)
    declared = {column.name: type_of(column) for column in spec.features}
    refuse_types(declared)
    function = spec.feature_transformation.user_defined_function
    try:
        program = compiled(
            function.body_text or spec.user_defined_function.body_text,
            mode=Mode(spec.mode or Mode.PANDAS),
            singleton=spec.singleton,
            names=readable.names,
            wanted=declared,
        )
    except UncompiledError as error:
        reason = f"its function cannot be compiled: {error.construct}, on line {error.line} of its source. {ADVICE}"
        raise UnservedError(Refusal.ON_DEMAND, reason + source_names(sources)) from error
    return OnDemand(
        name=spec.name,
        stored_as=spec.name,
        features=tuple(Feature(name, declared[name]) for name in program.outputs),
        sources=sources,
        request=request,
        inputs=tuple(readable.inputs),
        program=program,
        version=stored.meta.current_version_number,
    )


def refuse_kind(spec: OnDemandFeatureViewSpec) -> None:
    """Raise where a view is of a kind that is not served."""
    if spec.disabled:
        raise UnservedError(Refusal.DISABLED, Refusal.DISABLED.value)
    if spec.write_to_online_store:
        raise UnservedError(
            Refusal.ON_DEMAND, "it is computed when rows are written (write_to_online_store=True); declare it without"
        )
    if spec.aggregations:
        raise UnservedError(Refusal.ON_DEMAND, "it has aggregations, which are not served; declare a window instead")
    if (spec.mode or Mode.PANDAS) not in set(Mode):
        raise UnservedError(Refusal.ON_DEMAND, f"its mode is {spec.mode}; declare it in pandas or in Python mode")


def by_name(spec: OnDemandFeatureViewSpec) -> list[OnDemandSource]:
    """The sources, in the order of their names: a registry keeps none."""
    return [spec.sources[name] for name in sorted(spec.sources)]


def is_request(source: OnDemandSource) -> bool:
    """Whether a source is what is sent with a request."""
    return bool(source.HasField("request_data_source"))


def source_of(source: OnDemandSource, *, views: Mapping[str, View], refused: Mapping[str, Refusal]) -> View:
    """What is taken of a feature view."""
    if source.HasField("feature_view"):
        name, columns = source.feature_view.spec.name, source.feature_view.spec.features
    else:
        name, columns = source.feature_view_projection.feature_view_name, source.feature_view_projection.feature_columns
    if name in refused:
        raise UnservedError(refused[name], f"its source {name!r} is not served: {refused[name].value}")
    known = {feature.name for feature in views[name].features} if name in views else set()
    if name not in views or not {column.name for column in columns} <= known:
        raise UnservedError(Refusal.MISSING, f"its source {name!r} is not there, or not all the features that it takes")
    if source.HasField("feature_view"):
        return views[name]
    if source.feature_view_projection.HasField("version_tag"):
        raise UnservedError(Refusal.PINNED, f"its source {name!r} is pinned: {Refusal.PINNED.value}")
    return part_of(views[name], source.feature_view_projection)


def fields_of(source: DataSource) -> list[Feature]:
    """What is sent with a request."""
    return [Feature(column.name, type_of(column)) for column in source.request_data_options.schema]


def readable_of(sources: Iterable[View], request: Iterable[Feature]) -> Readable:
    """What a function may read: join keys, what is sent with a request, and features, in the order that Feast has."""
    found, sources = Readable(), tuple(sources)
    for key in {key.name: key for source in sources for key in source.keys}.values():
        found.add(Input("key", 0, key.name, key.value_type))
    for one in {one.name: one for one in request}.values():
        found.add(Input("request", 0, one.name, one.value_type))
    for place, source in enumerate(sources):
        for feature in source.features:
            full_names = {f"{name}__{feature.name}" for name in (source.name, source.stored_as)}
            found.add(Input("feature", place, feature.name, feature.value_type), *sorted(full_names))
    return found


def refuse_types(declared: Mapping[str, str]) -> None:
    """Raise where a feature is of a type that nothing is computed as."""
    for name, kind in declared.items():
        if kind not in COMPUTABLE:
            raise UnservedError(
                Refusal.ON_DEMAND, f"its feature {name} is {kind}, which is not computed here. {ADVICE}"
            )


def source_names(sources: Iterable[View]) -> str:
    """Some of the features that may be asked for instead."""
    names = [f"{source.name}:{feature.name}" for source in sources for feature in source.features]
    shown = ", ".join(names[:5])
    return f": {shown}{', …' if len(names) > 5 else ''}" if names else ""
