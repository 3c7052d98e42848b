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

from online.plan import Kind, Permission, Plan, Resource
from serving.catalog import parse_reference
from serving.principal import Principal
from serving.refusals import DeniedError

log = logging.getLogger(__name__)

BROADER = {Kind.BATCH_FEATURE_VIEW: Kind.FEATURE_VIEW, Kind.STREAM_FEATURE_VIEW: Kind.FEATURE_VIEW}
"""The kinds whose class is a subclass in Feast, which a permission for the broader one is about too."""
DECISIONS = 4096


@dataclass(frozen=True, slots=True)
class Rule:
    """A permission with its patterns compiled. `patterns` is None where any name will do."""

    permission: Permission
    patterns: tuple[re.Pattern[str], ...] | None

    @classmethod
    def of(cls, permission: Permission) -> Rule:
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
class Rules:
    """The permissions of one plan, compiled, and what was decided by them."""

    plan: Plan
    rules: tuple[Rule, ...]
    views: Mapping[str, Resource]
    services: Mapping[str, Resource]
    decided: dict[tuple[Principal, str, tuple[str, ...]], str | None] = field(default_factory=dict)

    @classmethod
    def of(cls, plan: Plan) -> Rules:
        """Those of a plan."""
        views = {one.name: one for one in plan.resources if one.kind is not Kind.FEATURE_SERVICE}
        services = {one.name: one for one in plan.resources if one.kind is Kind.FEATURE_SERVICE}
        return cls(plan, tuple(map(Rule.of, plan.permissions)), views, services)

    def permit(self, principal: Principal, service: str | None, references: Sequence[str]) -> None:
        """Return where a principal may read a service, or everything behind references.

        Raises:
            DeniedError: it may not, or there is no such thing.
            InvalidRequestError, NotServedError: a reference can never be answered.
        """
        asked = (principal, service or "", tuple(references))
        if asked not in self.decided:
            if len(self.decided) >= DECISIONS:
                self.decided.clear()
            self.decided[asked] = self.denied(principal, service, references)
        name = self.decided[asked]
        if name is not None:
            raise DeniedError("feature service" if service else "feature view", name)

    def denied(self, principal: Principal, service: str | None, references: Sequence[str]) -> str | None:
        """The name that a principal may not read, None where it may read all."""
        if service:
            return None if self.may_read_service(principal, service) else service
        views = dict.fromkeys(parse_reference(reference)[0] for reference in references)
        return next((view for view in views if not self.may_read_view(principal, view)), None)

    def may_read_service(self, principal: Principal, name: str) -> bool:
        """Whether a permission is for the service, or there are some for all its views."""
        service = self.plan.services.get(name)
        if service is None:
            return False
        if self.grants(principal, self.services.get(name)):
            return True
        stored = {view.stored_as for view in service.views}
        views = {*stored, *(view.stored_as for view in service.on_demand), *service.refused}
        return bool(views) and all(self.may_read_view(principal, view) for view in views)

    def may_read_view(self, principal: Principal, name: str) -> bool:
        """Whether a permission is for the view, and, as Feast has it, for all that an on-demand view is computed from.
        Only names that the plan has meet patterns: a caller's own could be any text.
        """
        on_demand = self.plan.on_demand.get(name)
        sources = () if on_demand is None else on_demand.sources
        return self.grants(principal, self.views.get(name)) and all(
            self.may_read_view(principal, source.stored_as) for source in sources
        )

    def grants(self, principal: Principal, resource: Resource | None) -> bool:
        """Whether there is such a resource, and any permission lets the principal read it."""
        return resource is not None and any(rule.covers(resource) and rule.admits(principal) for rule in self.rules)
