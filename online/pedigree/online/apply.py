"""What `feast apply` does in the online store, where the registry has the new definitions already."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator

from feast import FeatureStore, RepoConfig
from feast.protos.feast.core.Registry_pb2 import Registry as RegistryProto

from pedigree.online.errors import PlanContendedError
from pedigree.online.plans.plan import Plan, Refusal, View
from pedigree.online.plans.plan_compiler import compile_plan, stored_views, view_names, view_of
from pedigree.online.plans.plan_json import encoded
from pedigree.online.plans.storable import unstorable_views
from pedigree.online.records.record import Schema
from pedigree.online.store import redis_keys
from pedigree.online.store.eviction import policy_problem
from pedigree.online.store.load_state_repair import known_generations
from pedigree.online.store.redis_store import RedisStore

log = logging.getLogger(__name__)

ATTEMPTS = 10
"""How often the registry is compiled where others change it at the same time."""


def publish_plan(config: RepoConfig, store: RedisStore) -> RegistryProto:
    """Compile the registry and give it to the servers, until they have what it says; returns it.

    Several may do so at once: none puts an older state of the registry in the place of a newer one.

    Raises:
        PlanContendedError: others change the registry again and again meanwhile.
    """
    told: Plan | None = None
    for _ in range(ATTEMPTS):
        kept = store.plan()
        registry: RegistryProto = FeatureStore(config=config).registry.proto()
        plan = compile_plan(registry, config.project)
        if plan.reasons and (told is None or told.reasons != plan.reasons):
            warn_of(plan)
        told, text = plan, encoded(plan)
        if text == kept:
            return registry
        store.replace_plan(kept, text)
    raise PlanContendedError(config.project)


def warn_of_file_registry(config: RepoConfig) -> None:
    """Say so where Feast writes the registry only after it told the online store."""
    if is_file_registry(config):
        log.warning(
            "Feast writes a file registry last, so servers learn of this apply with the next load or the next `feast apply`; "
            "a SQL registry has no such delay"
        )


def is_file_registry(config: RepoConfig) -> bool:
    """True for Feast's default registry, a file that is rewritten as a whole."""
    return bool(config.registry.registry_type == "file")


def warn_of(plan: Plan) -> None:
    """Say which views are not served for their own definition."""
    for name, reason in plan.reasons.items():
        kind = "on-demand feature view" if plan.refused[name] is Refusal.ON_DEMAND else "feature view"
        log.warning("the %s %r is not served: %s", kind, name, reason)


def know_all(store: RedisStore, registry: RegistryProto) -> None:
    """Know every view of the registry, also those that an apply wrote there and could not tell the store of."""
    for view, is_new in storable_views(registry, store.project):
        know(store, view.name, view.schema, is_new=is_new)


def warn_of_eviction(store: RedisStore) -> None:
    """Say so where Redis would drop rows to make room."""
    problem = policy_problem(store.memories())
    if problem is not None:
        log.warning("the online store at %s: %s", store.address, problem)


def storable_views(registry: RegistryProto, project: str) -> Iterator[tuple[View, bool]]:
    """The views of the registry that can be stored, each with whether nothing was ever loaded of it."""
    stored = stored_views(registry, project)
    every = [view_of(one) for one in stored]
    problems = unstorable_views(every)
    for one, view in zip(stored, every, strict=True):
        if view.name not in problems:
            yield view, not one.meta.materialization_intervals


def know(store: RedisStore, view: str, schema: Schema, *, is_new: bool) -> None:
    """Tell the store the layout of a view's records, and, where it is new, that there is such a view."""
    store.register(schema)
    if is_new:
        store.declare(view)


def forget_view(store: RedisStore, view: str, prefix: bytes) -> None:
    """Delete the rows of a view, and what was known of it; where its field is another's, these are the other's rows."""
    generations = known_generations(store, view, prefix)
    others = store.views() - {view}
    store.drop(view)
    if not any(redis_keys.field(other, 0) == redis_keys.field(view, 0) for other in others):
        for generation in generations:
            store.forget(redis_keys.field(view, generation), prefix)


def forget_lost(store: RedisStore, known: Iterable[str], registry: RegistryProto) -> None:
    """Delete the rows of views that an apply took out of the registry and then could not forget here."""
    for name in sorted(set(known) - view_names(registry, store.project)):
        log.warning("the rows of %r are deleted: the registry has no such view any more", name)
        forget_view(store, name, redis_keys.project_prefix(store.project))
