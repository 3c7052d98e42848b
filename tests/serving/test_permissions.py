"""What a principal may read, judged by Feast's own classes."""

from __future__ import annotations

import logging
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from feast import FeatureService, FeatureView, FileSource
from feast.batch_feature_view import BatchFeatureView
from feast.data_source import PushSource
from feast.entity import Entity
from feast.errors import FeastPermissionError
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
from hypothesis import given, settings
from hypothesis import strategies as st

from online import plan as plans
from online.registry import compile_plan
from serving.permissions import Resource, Rule, Rules
from serving.principal import Principal
from serving.refusals import DeniedError

SOURCE = FileSource(name="source", path="source.parquet", timestamp_field="event_at")
PUSHED = PushSource(name="pushed", batch_source=SOURCE)
BIRD = Entity(name="bird", join_keys=["bird_id"])
MORE: dict[str, Any] = {"entities": [BIRD], "schema": [], "ttl": timedelta(days=1)}
KINDS: dict[str, Any] = {
    "FEATURE_VIEW": lambda name: FeatureView(name=name, source=SOURCE, **MORE),
    "BATCH_FEATURE_VIEW": lambda name: BatchFeatureView(name=name, source=SOURCE, **MORE),
    "STREAM_FEATURE_VIEW": lambda name: StreamFeatureView(name=name, source=PUSHED, timestamp_field="event_at", **MORE),
    "FEATURE_SERVICE": lambda name: FeatureService(name=name, features=[]),
}
READ = AuthzedAction.READ_ONLINE
CLASSES = [FeatureView, BatchFeatureView, StreamFeatureView, FeatureService, Entity]

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
    types=st.lists(st.sampled_from(CLASSES), max_size=3, unique=True),
    name_patterns=st.lists(patterns, max_size=2),
    actions=st.sampled_from([[READ], [AuthzedAction.WRITE_ONLINE], ALL_ACTIONS]),
    policy=policies,
    required_tags=tags,
)


def compiled(stored: list[Permission]) -> tuple[plans.Permission, ...]:
    """The permissions that the registry gives to a plan."""
    registry = Registry()
    for permission in stored:
        registry.permissions.add().CopyFrom(permission.to_proto())
    for proto in registry.permissions:
        proto.spec.project = "p"
    return compile_plan(registry, "p").permissions


def feast_lets_in(stored: list[Permission], user: User, resource: Any) -> bool:
    """What Feast itself decides; it lets in everybody where there are no permissions at all, and we nobody."""
    try:
        return bool(stored and enforce_policy(stored, user, [resource], [READ]))
    except FeastPermissionError:
        return False


@settings(max_examples=400, deadline=None)
@given(
    stored=st.lists(permissions, max_size=3),
    kind=st.sampled_from(sorted(KINDS)),
    name=names,
    own_tags=tags,
    who=st.tuples(some_words, some_words, some_words),
)
def test_we_let_in_whom_feast_lets_in(
    stored: list[Permission], kind: str, name: str, own_tags: dict[str, str], who: tuple[list[str], ...]
) -> None:
    """For any permissions, resource and principal, what a plan's rules say is what Feast's own enforcer says."""
    logging.disable(logging.CRITICAL)
    resource = KINDS[kind](name)
    resource.required_tags = own_tags  # where Feast's matcher looks for a resource's tags
    roles, groups, namespaces = who
    expected = feast_lets_in(stored, User("kiwi", roles, groups, namespaces), resource)
    logging.disable(logging.NOTSET)
    rules = [Rule.of(permission) for permission in compiled(stored)]
    principal = Principal("kiwi", frozenset(roles), frozenset(groups), frozenset(namespaces))
    asked = Resource(kind, name, own_tags)
    assert any(rule.covers(asked) and rule.admits(principal) for rule in rules) is expected


def view(name: str) -> plans.View:
    """A view with nothing in it."""
    return plans.View(name, name, (), (), (), timedelta(0), 1)


def rules_of(*stored: Permission, tags_of: dict[str, dict[str, str]] | None = None) -> Rules:
    """Rules over a service `s` of the views `v` and `w`, a view and a service called `same`, and a service of nothing."""
    names_of = {"v": view("v"), "w": view("w"), "same": view("same")}
    services = {
        "s": plans.Service("s", (replace(view("v"), name="alias"), view("w")), {}),
        "same": plans.Service("same", (view("v"),), {}),
        "nothing": plans.Service("nothing", (), {}),
    }
    return Rules.of(plans.Plan("p", names_of, services, {}, {}, compiled(list(stored)), tags_of))


def on(kind: Any, *patterns: str, **more: Any) -> Permission:
    """A permission for everybody to read resources of a kind."""
    return Permission("p", types=[kind], name_patterns=list(patterns), actions=[READ], **more)


def may(rules: Rules, service: str | None, *references: str) -> bool:
    """Whether anybody may read that."""
    try:
        rules.permit(Principal("kiwi"), service, references)
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


def test_tags_of_a_name_that_two_resources_have_let_nobody_in() -> None:
    """Where a view and a service have one name the plan does not tell whose the tags are; a permission by tags passes them by."""
    red = {"same": {"team": "red"}, "v": {"team": "red"}}
    rules = rules_of(on(FeatureView, required_tags={"team": "red"}), tags_of=red)
    assert may(rules, None, "v:x")
    assert not may(rules, None, "same:x")


def test_names_that_nobody_has_meet_no_pattern() -> None:
    """A name that the plan has not is denied whatever the patterns, even one for everything."""
    rules = rules_of(on(FeatureView, ".*"), on(FeatureService, ".*"))
    assert not may(rules, "unheard")
    assert not may(rules, None, "unheard:x")
    assert may(rules, None, "v:x", "w:x")
