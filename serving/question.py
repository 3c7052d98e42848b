"""A request, checked against the plan and turned into what has to be read. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from serving.errors import InvalidRequestError
from serving.plan import JoinKey, Plan, View
from serving.row import Key
from serving.v1.serving_pb2 import GetOnlineFeaturesRequest
from serving.v1.value_pb2 import RepeatedValue, Value

Columns = Mapping[str, Sequence[Value]]
"""The values of each join key, one per entity row."""


@dataclass(frozen=True, slots=True)
class Question:
    """A request that can be answered.

    Attributes:
        views: what is asked, in the order of the answer.
        columns: the values of every join key, in the order of the answer, all of one length.
        rows: the number of entity rows.
        full_names: whether features are called `view__feature`.
        with_versions: whether the answer names the version of each view.
    """

    views: tuple[View, ...]
    columns: Columns
    rows: int
    full_names: bool
    with_versions: bool

    def names(self) -> list[str]:
        """The names of the answer's columns: join keys first, as Feast has it."""
        return [*self.columns, *(self.name(view, one.name) for view in self.views for one in view.features)]

    def name(self, view: View, feature: str) -> str:
        """What the answer calls a feature."""
        return f"{view.name}__{feature}" if self.full_names else feature

    def keys(self, view: View) -> list[Key]:
        """The key of each entity row for one view."""
        return [tuple(self.columns[key.name][row] for key in view.keys) for row in range(self.rows)]


def question_of(request: GetOnlineFeaturesRequest, plan: Plan, *, max_entities: int) -> Question:
    """What `request` asks.

    Raises:
        InvalidRequestError: it can never be answered as it stands.
        UnknownNameError: it names something that the plan does not have.
        NotServedError: it asks for something that is not served here.
        NotReadyError: it asks for a view that is disabled or gone.
    """
    views = views_of(request, plan)
    refuse_context(request)
    columns, rows = columns_of(request.entities, views, plan=plan)
    if rows > max_entities:
        raise InvalidRequestError(
            f"{rows} entity rows were sent and {max_entities} are the limit. Send them in several requests."
        )
    question = Question(
        views=views,
        columns=columns,
        rows=rows,
        full_names=request.full_feature_names,
        with_versions=request.include_feature_view_version_metadata,
    )
    refuse_clashes(question)
    return question


def views_of(request: GetOnlineFeaturesRequest, plan: Plan) -> tuple[View, ...]:
    """The views behind the request's service or list of features."""
    kind = request.WhichOneof("kind")
    if kind == "feature_service":
        return plan.of_service(request.feature_service)
    if kind == "features" and request.features.val:
        return plan.of_references(request.features.val)
    raise InvalidRequestError("Nothing was asked for. Set feature_service, or features to a list of view:feature.")


def refuse_context(request: GetOnlineFeaturesRequest) -> None:
    """Only on-demand views read a request's context, and none are served."""
    if request.request_context:
        names = ", ".join(sorted(request.request_context))
        raise InvalidRequestError(f"No feature that is served reads request_context ({names}). Leave it out.")


def columns_of(entities: Mapping[str, RepeatedValue], views: Sequence[View], *, plan: Plan) -> tuple[Columns, int]:
    """The values of every join key and their number; one row where no view has a key and none is sent."""
    keys = [key for view in views for key in view.keys]
    refuse_unexpected(entities, keys, plan=plan)
    columns = {key.name: column_of(entities, key) for key in keys}
    lengths = {name: len(column) for name, column in columns.items()}
    if len(set(lengths.values())) > 1:
        told = ", ".join(f"{name}: {length}" for name, length in lengths.items())
        raise InvalidRequestError(f"Every join key needs the same number of values, one per row. Sent: {told}.")
    return columns, next(iter(lengths.values()), 1)


def refuse_unexpected(entities: Mapping[str, RepeatedValue], keys: Sequence[JoinKey], *, plan: Plan) -> None:
    """Every name that is sent must be a join key of what is asked."""
    expected = sorted({key.name for key in keys})
    for name in sorted(entities):
        if name not in expected:
            key = plan.entities.get(name)
            hint = f" {name!r} is an entity; send its join key {key!r}." if key in expected else ""
            raise InvalidRequestError(
                f"{name!r} is not a join key of what was asked.{hint} Expected: {', '.join(expected) or 'none'}."
            )


def column_of(entities: Mapping[str, RepeatedValue], key: JoinKey) -> Sequence[Value]:
    """The values of one join key, each of the type that the registry declares."""
    if key.name not in entities:
        raise InvalidRequestError(f"The join key {key.name!r} ({key.value_type}) is missing from entities.")
    column = list(entities[key.name].val)
    if not column:
        raise InvalidRequestError(f"The join key {key.name!r} has no values. Send one per row.")
    expected = f"{key.value_type.lower()}_val"
    for row, value in enumerate(column):
        sent = value.WhichOneof("val")
        if sent in (None, "null_val"):
            raise InvalidRequestError(f"The join key {key.name!r} is null in row {row}. Leave the row out.")
        if sent != expected:
            raise InvalidRequestError(
                f"The join key {key.name!r} is {key.value_type}: row {row} must set {expected}, not {sent}."
            )
    return column


def refuse_clashes(question: Question) -> None:
    """No two columns of an answer may have one name."""
    clashing = sorted(name for name, times in Counter(question.names()).items() if times > 1)
    if not clashing:
        return
    advice = (
        "Ask for each feature once" if question.full_names else "Ask with full_feature_names=true, and for each once"
    )
    raise InvalidRequestError(f"Several columns of the answer would be called {', '.join(clashing)}. {advice}.")
