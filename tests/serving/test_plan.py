"""The plan: what a registry serves, as data that other packages may read."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest
from feast import FeatureService, FeatureView
from feast.protos.feast.core.Registry_pb2 import Registry

from feature_repo import entities, services, views
from serving.errors import NotAppliedError, NotReadyError, SettingsError
from serving.plan import Feature, JoinKey, Plan, Refusal
from serving.registry import compile_plan, open_repo

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
    """On-demand and disabled views are in the plan by name with the reason, in the services that need them too."""
    _, plan = open_repo(repo.path)
    assert plan.refused == {"bird_scaled": Refusal.ON_DEMAND, "retired": Refusal.DISABLED}
    assert plan.services["scaled"].refused == {"bird_scaled": Refusal.ON_DEMAND}
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
        plan.of_service("lost")
    assert [view.name for view in plan.of_service("whole")] == ["carrier_delays"]


def test_a_file_that_feast_cannot_use_is_an_error(tmp_path: Path) -> None:
    """A feature_store.yaml that is no YAML, no mapping or lacks what Feast needs is an error that names the file."""
    yaml = tmp_path / "feature_store.yaml"
    for text in ("{", "", "registry: 5"):
        yaml.write_text(text)
        with pytest.raises(SettingsError, match=str(yaml)):
            open_repo(yaml)


def test_a_registry_without_the_project_is_an_error(tmp_path: Path) -> None:
    """Opening a repository that was never applied is an error that names the command to run."""
    yaml = tmp_path / "feature_store.yaml"
    yaml.write_text(
        f"project: nobody\nprovider: local\nregistry: {{registry_type: sql, path: 'sqlite:///{tmp_path}/registry.db'}}\n"
        "online_store: {type: redis}\nentity_key_serialization_version: 3\n"
    )
    with pytest.raises(NotAppliedError, match=f"Run `feast -f {yaml} apply` first"):
        open_repo(yaml)
