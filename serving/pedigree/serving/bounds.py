"""What no request that can be answered exceeds: looked at before anything of it is kept, compared, logged or told."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass

from pedigree.online.plans.plan import JoinKey, OnDemand, Plan, View
from pedigree.serving.errors import InvalidRequestError
from pedigree.serving.v1.pedigree_pb2 import ExplainRequest, GetVectorsRequest
from pedigree.serving.v1.serving_pb2 import GetOnlineFeaturesRequest
from pedigree.serving.v1.value_pb2 import RepeatedValue

LONGEST_NAME = 255
"""Characters of a name that may be asked for where the plan has no longer one."""
FEWEST = 100
"""So many references, and so many names of values, may be sent however few the plan has."""
BESIDE = len("@latest:")
"""What a reference has beside the names of its view and its feature."""


@dataclass(frozen=True, slots=True)
class Bounds:
    """The bounds of requests by one plan.

    Attributes:
        name: characters of a name.
        references: how many features may be asked for.
        columns: how many join keys and request data may be sent.
    """

    name: int
    references: int
    columns: int

    @classmethod
    def of(cls, plan: Plan) -> Bounds:
        """Those of a plan."""
        views: list[View | OnDemand] = [*plan.views.values(), *plan.on_demand.values()]
        for service in plan.services.values():
            views += (*service.views, *service.on_demand)
        columns = {name for view in views for name in sent_for(view)}
        features = {(view.stored_as, one.name) for view in views for one in view.features}
        named = {*plan.services, *plan.refused, *plan.entities, *columns, *(view.name for view in views)}
        longest = max(map(len, {*named, *(name for _, name in features)}), default=0)
        return cls(max(longest, LONGEST_NAME), max(len(features), FEWEST), max(len(columns), FEWEST))

    def check_features(self, request: GetOnlineFeaturesRequest, *, rows: int) -> None:
        """Raise where a request of Feast's protocol is beyond them.

        Args:
            rows: how many rows one request may have.
        Raises:
            InvalidRequestError: it is.
        """
        self.check_names("feature service", [request.feature_service])
        self.check_references(request.features.val)
        self.check_columns([*request.entities, *request.request_context])
        check_rows((values_in(request.entities), values_in(request.request_context)), rows)

    def check_vectors(self, request: GetVectorsRequest, *, rows: int) -> None:
        """The same of `GetVectors`."""
        self.check_names("feature service", [request.feature_service])
        self.check_references(request.features.names)
        self.check_count("join keys and request data", request.keys, self.columns)
        self.check_columns([one.name for one in request.keys])
        check_rows(((len(one.ints), len(one.strings), len(one.values)) for one in request.keys), rows)

    def check_explain(self, request: ExplainRequest) -> None:
        """The same of `Explain`."""
        self.check_names("feature service", [request.feature_service])
        self.check_references([request.feature])
        self.check_columns(request.entity)

    def check_references(self, references: Sequence[str]) -> None:
        """Feature references: how many, and how long."""
        self.check_count("features", references, self.references)
        self.check_names("feature reference", references, longest=2 * self.name + BESIDE)

    def check_columns(self, names: Collection[str]) -> None:
        """Names of join keys and request data: how many, and how long."""
        self.check_count("join keys and request data", names, self.columns)
        self.check_names("join key", names)

    def check_names(self, kind: str, names: Iterable[str], *, longest: int | None = None) -> None:
        """How long names are. The name itself is not told."""
        allowed = self.name if longest is None else longest
        for name in names:
            if len(name) > allowed:
                raise InvalidRequestError(
                    f"The name of a {kind} has {len(name)} characters, and {allowed} are the limit. Nothing was read; "
                    "check the name."
                )

    def check_count(self, kind: str, sent: Collection[object], allowed: int) -> None:
        """How many of something are sent."""
        if len(sent) > allowed:
            raise InvalidRequestError(
                f"{len(sent)} {kind} were sent, and there are not as many here. Nothing was read; send each name once."
            )


def sent_for(view: View | OnDemand) -> Iterable[str]:
    """The names of what has to be sent for a view."""
    keys: Iterable[JoinKey] = view.keys if isinstance(view, View) else (key for one in view.sources for key in one.keys)
    yield from (key.name for key in keys)
    if isinstance(view, OnDemand):
        yield from (one.name for one in view.request)


def values_in(sent: Mapping[str, RepeatedValue]) -> Iterable[int]:
    """How many values each column has."""
    return (len(one.val) for one in sent.values())


def check_rows(counts: Iterable[Iterable[int]], allowed: int) -> None:
    """How many rows the longest column has.

    Raises:
        InvalidRequestError: more than one request may have.
    """
    rows = max((count for some in counts for count in some), default=0)
    if rows > allowed:
        raise InvalidRequestError(
            f"{rows} entity rows were sent and {allowed} are the limit. Send them in several requests."
        )
