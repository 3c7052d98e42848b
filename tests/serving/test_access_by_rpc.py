"""Who may read what: every RPC, by every way of asking, gives the same answer to the same permissions."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import grpc
import pytest
from feast import FeatureService, FeatureView
from feast.on_demand_feature_view import OnDemandFeatureView
from feast.permissions.action import AuthzedAction
from feast.permissions.permission import Permission
from feast.permissions.policy import RoleBasedPolicy

from pedigree.serving.v1.pedigree_pb2 import ExplainRequest, FeatureNames, GetVectorsRequest, Keys
from pedigree.serving.v1.value_pb2 import Value

from ..redis_server import wait_for
from .birds import bird_scaled
from .conftest import Client, repository, running
from .feast_requests import features_request
from .token_issuer import Issuer, issuing

OK, DENIED, COMPUTED = grpc.StatusCode.OK, grpc.StatusCode.PERMISSION_DENIED, grpc.StatusCode.UNIMPLEMENTED
FEATURES = "/feast.serving.ServingService/GetOnlineFeatures"
VECTORS = "/pedigree.serving.v1.FeatureService/GetVectors"
EXPLAIN = "/pedigree.serving.v1.FeatureService/Explain"

VIEWS: Mapping[str, tuple[str, ...]] = {
    "bird_weight": ("weight_avg_1d", "meal_count_1d", "nickname"),
    "bird_on_island": ("visit_count_7d", "meal_count_1d"),
    "island_climate": ("rain_sum_7d",),
    "season": ("month_name",),
    "bird_scaled": ("weight_scaled",),
    "nothing": ("nothing",),
}
COMPUTED_FROM = {"bird_scaled": {("bird_weight", "weight_avg_1d")}}
SENT = {"bird_weight": ["bird_id"], "bird_on_island": ["bird_id", "island_code"], "island_climate": ["island_code"]}
SENT |= {"season": [], "bird_scaled": ["bird_id", "factor"], "nothing": []}


@dataclass(frozen=True, slots=True)
class Service:
    """A feature service: what it holds, by the names that it gives, what of it is computed, the views behind it, what is sent."""

    holds: frozenset[tuple[str, str]]
    views: frozenset[str]
    sent: tuple[str, ...]
    inputs: frozenset[tuple[str, str]] = frozenset()


def every(*views: str) -> frozenset[tuple[str, str]]:
    """All features of some views."""
    return frozenset((view, feature) for view in views for feature in VIEWS[view])


SCALED = Service(
    every("bird_scaled"),
    frozenset({"bird_scaled", "bird_weight"}),
    ("bird_id", "factor"),
    frozenset(COMPUTED_FROM["bird_scaled"]),
)
SERVICES = {
    "diet": Service(every("bird_weight"), frozenset({"bird_weight"}), ("bird_id",)),
    "travel": Service(
        every("island_climate", "season") | {("bird_on_island", "visit_count_7d")},
        frozenset({"bird_on_island", "island_climate", "season"}),
        ("bird_id", "island_code"),
    ),
    "calendar": Service(every("season"), frozenset({"season"}), ()),
    "pair": Service(
        frozenset({("first", "nickname"), ("second", "weight_avg_1d")}),
        frozenset({"bird_weight"}),
        ("first_id", "second_id"),
    ),
    "scaled": SCALED,
    "red": SCALED,
    "no_such_service": Service(frozenset(), frozenset(), ()),
}

READ: Any = {"actions": [AuthzedAction.READ_ONLINE]}
PERMISSIONS: Mapping[str, list[dict[str, Any]]] = {
    "nobody": [],
    "one_service": [{"types": [FeatureService], "name_patterns": ["scaled"]}],
    "its_views": [
        {"types": [FeatureView], "name_patterns": ["bird_weight"]},
        {"types": [OnDemandFeatureView], "name_patterns": ["bird_scaled"]},
    ],
    "one_view": [{"types": [FeatureView], "name_patterns": ["bird_weight"]}],
    "computed_alone": [{"types": [OnDemandFeatureView]}],
    "service_and_view": [
        {"types": [FeatureService], "name_patterns": ["scaled"]},
        {"types": [FeatureView], "name_patterns": ["bird_weight"]},
    ],
    "by_tag": [{"types": [FeatureService], "required_tags": {"team": "red"}}],
    "by_pattern": [{"types": [FeatureView, FeatureService], "name_patterns": ["bird_.*", "t.*"]}],
}
"""By role, what its permissions are for."""

READABLE_VIEWS = {
    "its_views": {"bird_weight", "bird_scaled"},
    "one_view": {"bird_weight"},
    "service_and_view": {"bird_weight"},
    "by_pattern": {"bird_weight", "bird_on_island"},
}
"""By role, the views that may be read by reference; an on-demand view is none without its sources."""

READABLE_SERVICES = {
    "one_service": {"scaled"},
    "its_views": {"diet", "pair", "scaled", "red"},
    "one_view": {"diet", "pair"},
    "service_and_view": {"diet", "pair", "scaled"},
    "by_tag": {"red"},
    "by_pattern": {"diet", "pair", "travel"},
}
"""By role, the services that may be read: by a permission of their own, or by those for all their views."""


@dataclass(frozen=True, slots=True)
class Doors:
    """A server that asks for tokens, one that does not, and who issues them."""

    guarded: Client
    unguarded: Client
    issuer: Issuer

    def ask(self, role: str, method: str, request: Any) -> tuple[grpc.StatusCode, bytes | str]:
        """What a role is answered: the status, and the reply or the message."""
        token = self.issuer.token(roles=[role])
        return answer(self.guarded, method, request, metadata=(("authorization", f"Bearer {token}"),))

    def check(self, role: str, method: str, request: Any, *, may: bool) -> None:
        """A role that may read is answered what everybody is where no tokens are asked for; one that may not, nothing."""
        code, told = self.ask(role, method, request)
        if may:
            assert (code, told) == answer(self.unguarded, method, request), (role, method, request)
            assert code in (OK, COMPUTED), told
        else:
            assert code is DENIED, (role, method, request, told)


def answer(client: Client, method: str, request: Any, **more: Any) -> tuple[grpc.StatusCode, bytes | str]:
    """The status of a call, and its reply or its message."""
    future = client.channel.unary_unary(method).future(request.SerializeToString(), timeout=20, **more)
    code = future.code()
    return (code, future.result()) if code is OK else (code, future.details())


@pytest.fixture(scope="module")
def doors(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Doors]:
    """Both servers of one repository with permissions by role."""
    stored = [
        Permission(f"{role}_{number}", policy=RoleBasedPolicy([role]), **READ, **one)
        for role, some in PERMISSIONS.items()
        for number, one in enumerate(some)
    ]
    red = FeatureService(name="red", features=[bird_scaled], tags={"team": "red"})
    with repository(tmp_path_factory.mktemp("doors")) as made, issuing() as issuer:
        made.store.apply([*stored, red])
        patient = {"store_timeout": timedelta(seconds=5)}
        with (
            running(made.settings(auth=issuer.auth(), **patient)) as guarded,
            running(made.settings(**patient)) as unguarded,
        ):
            found = Doors(guarded, unguarded, issuer)
            wait_for(lambda: found.ask("its_views", VECTORS, vectors("diet", ("bird_id",)))[0] is OK)
            yield found


def vectors(what: str | list[str], sent: Any) -> GetVectorsRequest:
    """A request for the matrix."""
    keys = [Keys(name=name, **({"strings": ["NI"]} if name == "island_code" else {"ints": [1]})) for name in sent]
    if isinstance(what, str):
        return GetVectorsRequest(feature_service=what, keys=keys)
    return GetVectorsRequest(features=FeatureNames(names=what), keys=keys)


def features(what: str | list[str], sent: Any) -> Any:
    """The same by Feast's protocol."""
    return features_request(
        what, {name: ["NI"] if name == "island_code" else [1] for name in sent}, full_feature_names=True
    )


def explaining(service: str, view: str, feature: str) -> ExplainRequest:
    """A request for the way back of one feature within a service."""
    ids = {name: Value(int64_val=1) for name in ("bird_id", "first_id", "second_id")}
    return ExplainRequest(
        feature_service=service, feature=f"{view}:{feature}", entity={**ids, "island_code": Value(string_val="NI")}
    )


@pytest.mark.parametrize("role", PERMISSIONS)
def test_a_service_is_read_by_who_may_read_it_by_either_protocol(doors: Doors, role: str) -> None:
    """A feature service is answered to a role with a permission for it or for all its views, and to nobody else."""
    for name, service in SERVICES.items():
        may = name in READABLE_SERVICES.get(role, ())
        doors.check(role, FEATURES, features(name, service.sent), may=may)
        doors.check(role, VECTORS, vectors(name, service.sent), may=may)


@pytest.mark.parametrize("role", PERMISSIONS)
def test_a_feature_is_read_by_reference_by_who_may_read_its_view(doors: Doors, role: str) -> None:
    """Each feature, stored or computed, by its reference: answered where its view and the view's sources may be read."""
    for view, names in VIEWS.items():
        may = view in READABLE_VIEWS.get(role, ())
        for name in names:
            for reference in (f"{view}:{name}", f"{view}@latest:{name}"):
                doors.check(role, FEATURES, features([reference], SENT[view]), may=may)
                doors.check(role, VECTORS, vectors([reference], SENT[view]), may=may)


@pytest.mark.parametrize("role", PERMISSIONS)
def test_one_readable_reference_opens_no_other(doors: Doors, role: str) -> None:
    """References to two views are answered only where both may be read, whichever comes first."""
    sent = sorted({*SENT["bird_weight"], *SENT["season"]})
    readable = READABLE_VIEWS.get(role, set())
    for both in (["bird_weight:nickname", "season:month_name"], ["season:month_name", "bird_weight:nickname"]):
        doors.check(role, FEATURES, features(both, sent), may={"bird_weight", "season"} <= readable)
        doors.check(role, VECTORS, vectors(both, sent), may={"bird_weight", "season"} <= readable)


@pytest.mark.parametrize("role", PERMISSIONS)
def test_explain_tells_what_the_service_holds_and_inputs_of_views_that_may_be_read(doors: Doors, role: str) -> None:
    """Every feature of every view within every service: explained where the service may be read and holds it, or computes
    from it and its view may be read. Nothing else is, and nobody learns whether it is there.
    """
    views = {**VIEWS, "first": ("nickname", "weight_avg_1d"), "second": ("nickname", "weight_avg_1d")}
    for name, service in SERVICES.items():
        for one in [(view, feature) for view, names in views.items() for feature in names]:
            is_input = one in service.inputs and one[0] in READABLE_VIEWS.get(role, ())
            may = name in READABLE_SERVICES.get(role, ()) and (one in service.holds or is_input)
            if may and one in COMPUTED_FROM["bird_scaled"] | service.holds and one[0] != "bird_scaled":
                doors.check(role, EXPLAIN, explaining(name, *one), may=True)
            elif not may:
                doors.check(role, EXPLAIN, explaining(name, *one), may=False)


def test_explain_names_an_input_to_those_alone_who_may_read_its_view(doors: Doors) -> None:
    """Of a computed feature its inputs are named to who may read their view; to others it is said that they may not."""
    request = explaining("scaled", "bird_scaled", "weight_scaled")
    for role, named in (("one_service", False), ("service_and_view", True), ("its_views", True)):
        code, message = doors.ask(role, EXPLAIN, request)
        assert code is COMPUTED
        assert ("bird_weight" in str(message)) is named
        assert ("you may not read what it is computed from" in str(message)) is not named
