"""What a principal may read, judged by Feast's own classes."""

from __future__ import annotations

import logging
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from feast import FeatureService, FeatureView, Field, FileSource, RequestSource
from feast.batch_feature_view import BatchFeatureView
from feast.data_source import PushSource
from feast.entity import Entity
from feast.errors import FeastPermissionError
from feast.feast_object import ALL_RESOURCE_TYPES
from feast.on_demand_feature_view import OnDemandFeatureView
from feast.permissions.action import ALL_ACTIONS, AuthzedAction
from feast.permissions.enforcer import enforce_policy
from feast.permissions.permission import Permission
from feast.permissions.policy import (
    AllowAll,
    CombinedGroupNamespacePolicy,
    GroupBasedPolicy,
    NamespaceBasedPolicy,
    RoleBasedPolicy,
)
from feast.permissions.user import User
from feast.protos.feast.core.Registry_pb2 import Registry
from feast.stream_feature_view import StreamFeatureView
from feast.transformation.python_transformation import PythonTransformation
from feast.types import Float64
from hypothesis import given, settings
from hypothesis import strategies as st

from pedigree.online.plans import plan as plans
from pedigree.online.plans import plan_json
from pedigree.online.plans.plan_compiler import compile_plan
from pedigree.serving.auth.permissions import Asked, PermissionRule, PermissionRules
from pedigree.serving.auth.principal import Principal
from pedigree.serving.refusals import DeniedError

pytestmark = pytest.mark.filterwarnings("ignore::RuntimeWarning", "ignore::UserWarning")  # Feast's, of such small views

SOURCE = FileSource(name="source", path="source.parquet", timestamp_field="event_at")
PUSHED = PushSource(name="pushed", batch_source=SOURCE)
BIRD = Entity(name="bird", join_keys=["bird_id"])
MORE: dict[str, Any] = {"entities": [BIRD], "schema": [], "ttl": timedelta(days=1)}


def same(inputs: Any) -> Any:
    """Code in the registry, which nobody runs."""
    return inputs


CODE: dict[str, Any] = {"udf": same, "udf_string": "same", "mode": "python"}
SCALED: dict[str, Any] = {
    "sources": [RequestSource(name="request", schema=[Field(name="factor", dtype=Float64)])],
    "schema": [Field(name="scaled", dtype=Float64)],
    "feature_transformation": PythonTransformation(same, "same"),
    "mode": "python",
}
MAKERS: dict[str, Any] = {
    "view": lambda name: FeatureView(name=name, source=SOURCE, **MORE),
    "batch view": lambda name: BatchFeatureView(name=name, source=SOURCE, **MORE),
    "batch view that transforms": lambda name: BatchFeatureView(name=name, source=SOURCE, **MORE, **CODE),
    "stream view": lambda name: StreamFeatureView(name=name, source=PUSHED, timestamp_field="event_at", **MORE),
    "on-demand view": lambda name: OnDemandFeatureView(name=name, **SCALED),
    "service": lambda name: FeatureService(name=name, features=[]),
}
LISTS = {
    StreamFeatureView: "stream_feature_views",
    OnDemandFeatureView: "on_demand_feature_views",
    FeatureService: "feature_services",
}
READ = AuthzedAction.READ_ONLINE

some_words = st.lists(st.sampled_from(["a", "b", "c"]), max_size=2, unique=True)
named_words = st.lists(st.sampled_from(["a", "b", "c"]), min_size=1, max_size=2, unique=True)
names = st.sampled_from(["diet", "diets", "bird_weight", "bird", "x"])
patterns = st.sampled_from(["diet", "bird", "bird_.*", ".*", "diet|bird", "d.et", "^diet$", "", "(?i)DIET", "[db].*"])
tags = st.dictionaries(st.sampled_from(["team", "tier"]), st.sampled_from(["red", "blue"]), max_size=2)
policies = st.one_of(
    st.just(AllowAll),
    st.builds(RoleBasedPolicy, some_words),
    st.builds(GroupBasedPolicy, some_words),
    st.builds(NamespaceBasedPolicy, some_words),
    st.builds(CombinedGroupNamespacePolicy, named_words, named_words),
)
permissions = st.builds(
    Permission,
    st.just("p"),
    types=st.lists(st.sampled_from(ALL_RESOURCE_TYPES), max_size=3, unique=True),
    name_patterns=st.lists(patterns, max_size=2),
    actions=st.sampled_from([[READ], [AuthzedAction.WRITE_ONLINE], ALL_ACTIONS]),
    policy=policies,
    required_tags=tags,
)


def plan_of(stored: list[Permission], *objects: Any) -> plans.Plan:
    """The plan of a registry that holds these permissions, views and services."""
    registry = Registry()
    for one in objects:
        getattr(registry, LISTS.get(type(one), "feature_views")).add().CopyFrom(one.to_proto())
    for permission in stored:
        registry.permissions.add().CopyFrom(permission.to_proto())
    for _, many in registry.ListFields():
        for proto in many:
            proto.spec.project = "p"
    return plan_json.decoded(plan_json.encoded(compile_plan(registry, "p")))


def read_back(one: Any) -> Any:
    """A view or a service as Feast has it once it comes out of the registry."""
    if isinstance(one, FeatureService):
        return FeatureService.from_proto(one.to_proto())
    kind = FeatureView if isinstance(one, BatchFeatureView) else type(one)
    return kind.from_proto(one.to_proto(), skip_udf=True)


def feast_lets_in(stored: list[Permission], user: User, resource: Any) -> bool:
    """What Feast itself decides; it lets in everybody where there are no permissions at all, and we nobody."""
    try:
        return bool(stored and enforce_policy(stored, user, [resource], [READ]))
    except FeastPermissionError:
        return False


@settings(max_examples=400, deadline=None)
@given(
    stored=st.lists(permissions, max_size=3),
    made_as=st.sampled_from(sorted(MAKERS)),
    name=names,
    own_tags=tags,
    who=st.tuples(some_words, some_words, some_words),
)
def test_we_let_in_whom_feast_lets_in(
    stored: list[Permission], made_as: str, name: str, own_tags: dict[str, str], who: tuple[list[str], ...]
) -> None:
    """For any permissions, view or service, and principal, a plan's rules say what Feast's enforcer says of the registry."""
    logging.disable(logging.CRITICAL)
    made = MAKERS[made_as](name)
    made.tags = own_tags
    resource = read_back(made)
    resource.required_tags = own_tags  # where Feast's matcher looks for a resource's tags
    expected = feast_lets_in(stored, User("kiwi", *who), resource)
    logging.disable(logging.NOTSET)
    rules = PermissionRules.of(plan_of(stored, made))
    [asked] = rules.plan.resources
    assert rules.grants(Principal("kiwi", *map(frozenset, who)), asked) is expected


@pytest.mark.parametrize("made_as", sorted(MAKERS))
@pytest.mark.parametrize("kind", ALL_RESOURCE_TYPES)
def test_a_permission_for_a_class_is_about_its_subclasses(kind: Any, made_as: str) -> None:
    """Of each of Feast's classes: a permission for it alone covers a view or a service as Feast's own does."""
    made = MAKERS[made_as]("x")
    plan = plan_of([on(kind)], made)
    expected = on(kind).match_resource(read_back(made))
    assert (
        PermissionRule.of(plan.permissions[0]).covers(plan.resources[0])
        is expected
        is isinstance(read_back(made), kind)
    )


def view(name: str) -> plans.View:
    """A view with nothing in it."""
    return plans.View(name, name, (), (), (), timedelta(0), 1)


def rules_of(*stored: Permission) -> PermissionRules:
    """Rules over a service `s` of the views `v` and `w`, and a service of nothing."""
    services = {
        "s": plans.Service("s", (replace(view("v"), name="alias"), view("w")), {}),
        "nothing": plans.Service("nothing", (), {}),
    }
    resources = (
        *(plans.Resource(plans.ViewKind.FEATURE_VIEW, name, {}) for name in ("v", "w")),
        *(plans.Resource(plans.ViewKind.FEATURE_SERVICE, name, {}) for name in services),
    )
    permissions = plan_of(list(stored)).permissions
    return PermissionRules.of(
        plans.Plan("p", {"v": view("v"), "w": view("w")}, services, {}, {}, permissions, resources)
    )


def on(kind: Any, *patterns: str, **more: Any) -> Permission:
    """A permission for everybody to read resources of a kind."""
    return Permission("p", types=[kind], name_patterns=list(patterns), actions=[READ], **more)


def may(rules: PermissionRules, service: str | None, *references: str) -> bool:
    """Whether anybody may read that."""
    try:
        rules.permit(Principal("kiwi"), Asked(service or "", references))
    except DeniedError:
        return False
    return True


@pytest.mark.parametrize(
    ("stored", "is_read"),
    [
        ([], False),
        ([on(FeatureService, "s")], True),
        ([on(FeatureView, "v")], False),
        ([on(FeatureView, "v"), on(FeatureView, "w")], True),
        ([on(FeatureView, "s")], False),
        ([on(FeatureView, "(")], False),
        ([on(FeatureView, "(", "v|w")], True),
    ],
)
def test_a_service_is_read_by_its_own_permission_or_those_of_all_its_views(
    stored: list[Permission], is_read: bool
) -> None:
    """Deny by default; a view that a service calls by another name is judged by its own; a broken pattern lets nobody in."""
    assert may(rules_of(*stored), "s") is is_read


def test_a_service_of_nothing_is_not_read_by_having_all_its_views() -> None:
    """A service without views needs a permission of its own."""
    assert not may(rules_of(on(FeatureView)), "nothing")


def test_a_view_and_a_service_of_one_name_have_each_their_own_tags() -> None:
    """A permission by tags is about the one that has them, whatever the other of the same name has."""
    red, blue = {"team": "red"}, {"team": "blue"}
    own = FeatureView(name="same", source=SOURCE, tags=red, **MORE)
    service = FeatureService(name="same", features=[own[[]]], tags=blue)
    other = FeatureService(name="other", features=[own[[]]])
    by_red = PermissionRules.of(
        plan_of([on(FeatureView, required_tags=red), on(FeatureService, required_tags=red)], own, service)
    )
    assert may(by_red, None, "same:x")
    assert may(by_red, "same"), "by its only view"
    by_blue = PermissionRules.of(
        plan_of([on(FeatureView, required_tags=blue), on(FeatureService, required_tags=blue)], own, service, other)
    )
    assert not may(by_blue, None, "same:x")
    assert may(by_blue, "same")
    assert not may(by_blue, "other")


def test_a_permission_for_batch_or_stream_views_alone_lets_in_to_them_alone() -> None:
    """Kinds are told apart: a view of another kind, and a service that has one among its views, stay out."""
    stream, batch = MAKERS["stream view"]("stream"), MAKERS["batch view that transforms"]("batch")
    both = FeatureService(name="both", features=[stream[[]], batch[[]]])
    rules = PermissionRules.of(plan_of([on(StreamFeatureView)], stream, batch, both))
    assert may(rules, None, "stream:x")
    assert not may(rules, None, "batch:x")
    assert not may(rules, "both")
    assert may(PermissionRules.of(plan_of([on(StreamFeatureView), on(BatchFeatureView)], stream, batch, both)), "both")


def test_names_that_nobody_has_meet_no_pattern() -> None:
    """A name that the plan has not is denied whatever the patterns, even one for everything."""
    rules = rules_of(on(FeatureView, ".*"), on(FeatureService, ".*"))
    assert not may(rules, "unheard")
    assert not may(rules, None, "unheard:x")
    assert may(rules, None, "v:x", "w:x")
