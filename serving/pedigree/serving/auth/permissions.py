"""What a principal may read: Feast's own `Permission` objects, as the plan has them. What none of them lets in stays out.

As Feast decides (`feast.permissions.matcher`, `.policy`), but for two things on the safe side: the tags that a permission
requires are compared (Feast's matcher passes resources without a `required_tags` of their own, which views and services
are), and where there are no permissions nobody is let in.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from pedigree.online.plans.plan import OnDemand, Permission, Plan, Resource, Service, View, ViewKind
from pedigree.serving.auth.principal import Principal
from pedigree.serving.catalog import inputs_of, parse_reference
from pedigree.serving.lru import Lru
from pedigree.serving.refusals import DeniedError

log = logging.getLogger(__name__)

BROADER = {ViewKind.BATCH_FEATURE_VIEW: ViewKind.FEATURE_VIEW, ViewKind.STREAM_FEATURE_VIEW: ViewKind.FEATURE_VIEW}
"""The kinds whose class is a subclass in Feast, which a permission for the broader one is about too."""
DECISIONS = 4096
"""How many decisions are kept, each about one resource of the plan: whatever names are sent, there are no others."""


@dataclass(frozen=True, slots=True)
class Asked:
    """What a request wants to read: a feature service, one feature within it, or what is behind references.

    Attributes:
        service: empty where references are asked for.
        feature: the view, by the name that the service gives it, and the feature; None: all that the service holds.
    """

    service: str
    references: Sequence[str] = ()
    feature: tuple[str, str] | None = None


@dataclass(frozen=True, slots=True)
class PermissionRule:
    """A permission with its patterns compiled. `patterns` is None where any name will do."""

    permission: Permission
    patterns: tuple[re.Pattern[str], ...] | None

    @classmethod
    def of(cls, permission: Permission) -> PermissionRule:
        """A permission, compiled; a pattern that is none matches nothing."""
        return cls(permission, compiled(permission) if permission.names else None)

    def covers(self, resource: Resource) -> bool:
        """Whether it is about this resource."""
        kinds, tags = self.permission.kinds, self.permission.tags
        if resource.kind not in kinds and BROADER.get(resource.kind) not in kinds:
            return False
        if any(resource.tags.get(name) != value for name, value in tags.items()):
            return False
        return self.patterns is None or any(pattern.fullmatch(resource.name) for pattern in self.patterns)

    def admits(self, principal: Principal) -> bool:
        """Whether it lets this principal in: everybody where it names nobody; a group or a namespace, where it names both."""
        roles, groups, namespaces = self.permission.roles, self.permission.groups, self.permission.namespaces
        if roles and principal.roles.isdisjoint(roles):
            return False
        if not groups and not namespaces:
            return True
        return not (principal.groups.isdisjoint(groups) and principal.namespaces.isdisjoint(namespaces))


def compiled(permission: Permission) -> tuple[re.Pattern[str], ...]:
    """The patterns of a permission that are some."""
    found = []
    for name in permission.names:
        try:
            found.append(re.compile(name))
        except (re.error, RecursionError, OverflowError):
            log.error("the permission %r has a pattern that is none and lets nobody in: %r", permission.name, name)
    return tuple(found)


@dataclass(slots=True)
class PermissionRules:
    """The permissions of one plan, compiled, and what was decided by them."""

    plan: Plan
    rules: tuple[PermissionRule, ...]
    views: Mapping[str, Resource]
    services: Mapping[str, Resource]
    decided: Lru[tuple[Principal, str, str], bool] = field(default_factory=lambda: Lru(DECISIONS))

    @classmethod
    def of(cls, plan: Plan) -> PermissionRules:
        """Those of a plan."""
        views = {one.name: one for one in plan.resources if one.kind is not ViewKind.FEATURE_SERVICE}
        services = {one.name: one for one in plan.resources if one.kind is ViewKind.FEATURE_SERVICE}
        return cls(plan, tuple(map(PermissionRule.of, plan.permissions)), views, services)

    def permit(self, principal: Principal, asked: Asked) -> None:
        """Return where a principal may read what it asks for, by whichever RPC.

        Raises:
            DeniedError: it may not, or there is no such thing.
            InvalidRequestError, NotServedError: a reference can never be answered.
        """
        if asked.service and not self.may_read_service(principal, asked.service):
            raise DeniedError("feature service", asked.service)
        if asked.service and asked.feature is not None:
            service = self.plan.services[asked.service]
            if not (holds(service, *asked.feature) or self.may_read_input(principal, service, *asked.feature)):
                raise DeniedError(f"feature of {asked.service}", ":".join(asked.feature))
        if not asked.service:
            for view in dict.fromkeys(parse_reference(reference)[0] for reference in asked.references):
                if not self.may_read_view(principal, view):
                    raise DeniedError("feature view", view)

    def may_read_service(self, principal: Principal, name: str) -> bool:
        """Whether a permission is for the service, or there are some for all its views."""
        service = self.plan.services.get(name)
        if service is None:
            return False
        known = self.decided.get((principal, "service", service.name))
        if known is None:
            known = self.grants(principal, self.services.get(name)) or self.may_read_all(principal, service)
            self.decided.keep((principal, "service", service.name), known)
        return known

    def may_read_all(self, principal: Principal, service: Service) -> bool:
        """Whether there are permissions for all views of a service, and it has some."""
        stored = {view.stored_as for view in service.views}
        views = {*stored, *(view.stored_as for view in service.on_demand), *service.refused}
        return bool(views) and all(self.may_read_view(principal, view) for view in views)

    def may_read_view(self, principal: Principal, name: str) -> bool:
        """Whether a permission is for the view, and, as Feast has it, for all that an on-demand view is computed from.
        Only names that the plan has meet patterns: a caller's own could be any text.
        """
        resource = self.views.get(name)
        if resource is None:
            return False
        known = self.decided.get((principal, "view", resource.name))
        if known is None:
            on_demand = self.plan.on_demand.get(name)
            sources = () if on_demand is None else on_demand.sources
            known = self.grants(principal, resource) and all(
                self.may_read_view(principal, source.stored_as) for source in sources
            )
            self.decided.keep((principal, "view", resource.name), known)
        return known

    def may_read_input(self, principal: Principal, service: Service, view: str, feature: str) -> bool:
        """Whether something that a service computes is computed from a feature, and the principal may read its view."""
        return any(
            source.name == view and has(source, feature) and self.may_read_view(principal, source.stored_as)
            for on_demand in service.on_demand
            for source in inputs_of(on_demand)
        )

    def grants(self, principal: Principal, resource: Resource | None) -> bool:
        """Whether there is such a resource, and any permission lets the principal read it."""
        return resource is not None and any(rule.covers(resource) and rule.admits(principal) for rule in self.rules)


def holds(service: Service, view: str, feature: str) -> bool:
    """Whether a service holds a feature of a view, stored or computed."""
    views: tuple[View | OnDemand, ...] = (*service.views, *service.on_demand)
    return any(one.name == view and has(one, feature) for one in views)


def has(view: View | OnDemand, feature: str) -> bool:
    """Whether a view, or the part of it that is taken, has a feature."""
    return any(one.name == feature for one in view.features)
