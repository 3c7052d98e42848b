"""The plan: what a registry serves, as data that other packages may read."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from pathlib import Path

import pytest
import redis
from feast import FeatureService, FeatureView
from feast.permissions.action import AuthzedAction
from feast.permissions.permission import Permission
from feast.permissions.policy import RoleBasedPolicy
from feast.protos.feast.core.Registry_pb2 import Registry

from feature_repo import entities, services, views
from pedigree.online.errors import PlanError
from pedigree.online.plans.on_demand import ADVICE
from pedigree.online.plans.plan import Feature, JoinKey, Plan, Refusal
from pedigree.online.plans.plan_compiler import compile_plan
from pedigree.online.plans.plan_json import decoded, encoded, version_of
from pedigree.serving.catalog import views_of_service
from pedigree.serving.errors import NotAppliedError, NotReadyError, ServingSettingsError
from pedigree.serving.feature_store_yaml import read_repo
from pedigree.serving.worker import listening

from .conftest import Repo


def plan_of_flights() -> Plan:
    """The plan of this project's own definitions."""
    registry = Registry()
    for entity in (entities.carrier, entities.origin, entities.destination, entities.plane):
        registry.entities.add().CopyFrom(entity.to_proto())
    for view in views.VIEWS:
        registry.feature_views.add().CopyFrom(view.to_proto())
    registry.feature_services.add().CopyFrom(services.late_arrival.to_proto())
    for spec in (
        one.spec for many in (registry.entities, registry.feature_views, registry.feature_services) for one in many
    ):
        spec.project = "flights"
    return compile_plan(registry, "flights")


def plan_of(repo: Repo) -> Plan:
    """The plan that `feast apply` left in the store."""
    with redis.Redis(port=repo.redis.port) as store:
        return decoded(store.get("flightless:plan"))


def test_a_service_s_views_can_be_read_from_the_plan() -> None:
    """The plan of this project names for late_arrival each view with its keys, types, ttl and features in declared order."""
    plan = plan_of_flights()
    service = plan.services["late_arrival"]
    assert [view.name for view in service.views] == [view.name for view in views.VIEWS]
    route = service.views[1]
    assert route.keys == (JoinKey("origin", "origin", "STRING"), JoinKey("dest", "dest", "STRING"))
    assert route.ttl == timedelta(days=7)
    assert route.features[0] == Feature("flight_count_7d", "INT64")
    assert [one.name for one in route.features] == [one.name for one in views.route_delays.features]
    assert plan.entities["destination"] == "dest"


def test_another_project_s_definitions_are_not_served() -> None:
    """A registry may hold several projects; a plan has only its own."""
    registry = Registry()
    registry.feature_views.add().CopyFrom(FeatureView(name="strange", source=None).to_proto())
    registry.feature_services.add().CopyFrom(FeatureService(name="strange", features=[]).to_proto())
    for spec in (registry.feature_views[0].spec, registry.feature_services[0].spec):
        spec.project = "other"
    plan = compile_plan(registry, "flights")
    assert (dict(plan.views), dict(plan.services)) == ({}, {})


def test_the_plan_says_what_is_refused_and_why(repo: Repo) -> None:
    """Views that are disabled or cannot be compiled are in the plan with the reason, in the services that need them too."""
    plan = plan_of(repo)
    assert plan.refused == {"bird_backwards": Refusal.ON_DEMAND, "retired": Refusal.DISABLED}
    assert plan.services["backwards"].refused == {"bird_backwards": Refusal.ON_DEMAND}
    reason = plan.reasons["bird_backwards"]
    assert reason.startswith("its function cannot be compiled: the method `.map` (`inputs['nickname'].map(")
    assert reason.endswith(f"on line 6 of its source. {ADVICE}: bird_weight:nickname")
    assert plan.services["scaled"].refused == {}
    assert plan.services["diet"].refused == {}
    assert plan.views["season"].keys == ()


def test_a_service_whose_view_is_gone_is_refused_and_others_are_not() -> None:
    """A service that names a view or a feature that the registry lost is refused; the plan compiles for all others."""
    registry = Registry()
    registry.feature_views.add().CopyFrom(views.carrier_delays.to_proto())
    registry.feature_services.add().CopyFrom(services.late_arrival.to_proto())
    registry.feature_services.add().CopyFrom(FeatureService(name="lost", features=[views.carrier_delays]).to_proto())
    registry.feature_services.add().CopyFrom(FeatureService(name="whole", features=[views.carrier_delays]).to_proto())
    registry.feature_services[1].spec.features[0].feature_columns.add(name="lost_1d")
    for one in (registry.feature_views[0], *registry.feature_services):
        one.spec.project = "flights"
    plan = compile_plan(registry, "flights")
    assert plan.services["late_arrival"].refused["route_delays"] is Refusal.MISSING
    with pytest.raises(NotReadyError, match="'carrier_delays' cannot be served now: the registry has no such"):
        views_of_service(plan, "lost")
    assert [view.name for view in views_of_service(plan, "whole")] == ["carrier_delays"]


def test_a_plan_comes_back_from_its_text_as_it_was(repo: Repo) -> None:
    """What apply keeps is what compiling the registry gives, and reading it changes nothing."""
    compiled = compile_plan(repo.store.registry.proto(), "flightless")
    assert decoded(encoded(compiled)) == compiled == plan_of(repo)
    assert version_of(plan_of(repo)) == version_of(compiled)


@pytest.mark.parametrize("text", ["{", "[]", '{"format": 1}', '{"format": 2, "project": "p"}', "null", '"x"'])
def test_text_that_is_no_plan_is_an_error(text: str) -> None:
    """Text that is no plan of this release is an error that says what to run."""
    with pytest.raises(PlanError, match="Run `feast apply`"):
        decoded(text)


def test_permissions_to_read_online_are_in_the_plan(repo: Repo) -> None:
    """Feast's permissions that let something be read online are compiled with whom they name; others are left out."""
    registry = Registry()
    may_read = Permission(
        "readers",
        types=[FeatureService],
        name_patterns=["diet"],
        policy=RoleBasedPolicy(["reader"]),
        actions=[AuthzedAction.READ_ONLINE],
    )
    may_write = Permission(
        "writers", types=[FeatureService], policy=RoleBasedPolicy(["w"]), actions=[AuthzedAction.WRITE_ONLINE]
    )
    for permission in (may_read, may_write):
        registry.permissions.add().CopyFrom(permission.to_proto())
    for stored in registry.permissions:
        stored.spec.project = "flightless"
    [found] = compile_plan(registry, "flightless").permissions
    assert (found.name, found.kinds, found.names, found.roles) == (
        "readers",
        ("FEATURE_SERVICE",),
        ("diet",),
        ("reader",),
    )


def test_a_file_that_names_no_store_of_ours_is_an_error(tmp_path: Path) -> None:
    """A feature_store.yaml that is no YAML, no mapping, lacks what is needed or names another store is an error."""
    yaml = tmp_path / "feature_store.yaml"
    for text in ("{", "", "registry: 5", "project: p\nonline_store: {type: redis}"):
        yaml.write_text(text)
        with pytest.raises(ServingSettingsError, match=str(yaml)):
            read_repo(yaml)


def test_a_store_without_a_plan_is_an_error(repo: Repo, tmp_path: Path) -> None:
    """A server of a project that was never applied does not start, and names the command to run."""
    yaml = tmp_path / "feature_store.yaml"
    yaml.write_text(repo.path.read_text().replace("project: flightless", "project: nobody"))
    settings = repo.settings(feature_store_yaml=yaml, plan_file=tmp_path / "plan.json")

    async def start() -> None:
        async with listening(settings):
            raise AssertionError("it started")

    with pytest.raises(NotAppliedError, match=f"Run `feast -f {yaml} apply` first"):
        asyncio.run(start())
