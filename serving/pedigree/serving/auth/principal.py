"""Who asks: what a verified token, a client's certificate or a connection says of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from pedigree.serving.settings import Auth

KUBERNETES = "kubernetes.io"
SUBJECTS = ("sub", "azp", "client_id")


@dataclass(frozen=True, slots=True)
class Principal:
    """Whom a token names, and what it says of it."""

    subject: str
    roles: frozenset[str] = frozenset()
    groups: frozenset[str] = frozenset()
    namespaces: frozenset[str] = frozenset()


def principal_of(claims: Mapping[str, Any], auth: Auth) -> Principal | None:
    """Whom verified claims name; None where they name nobody."""
    subject = next((claims[name] for name in SUBJECTS if isinstance(claims.get(name), str) and claims[name]), None)
    if subject is None:
        return None
    return Principal(
        subject=subject,
        roles=roles_of(claims, auth),
        groups=texts(claims, auth.groups_claim),
        namespaces=one_text(claims, KUBERNETES, "namespace"),
    )


def roles_of(claims: Mapping[str, Any], auth: Auth) -> frozenset[str]:
    """The roles; where no claim of one's own is set, those of Keycloak's realm and of its client count too."""
    found = texts(claims, auth.roles_claim)
    if auth.roles_claim != "roles":
        return found
    return (
        found
        | listed(at(claims, "realm_access", "roles"))
        | listed(at(claims, "resource_access", auth.audience, "roles"))
    )


def texts(claims: Mapping[str, Any], claim: str) -> frozenset[str]:
    """The texts of a claim: named as it is, or by dots for one within another."""
    return listed(claims[claim] if claim in claims else at(claims, *claim.split(".")))


def one_text(claims: Mapping[str, Any], *path: str) -> frozenset[str]:
    """The text at a path, as a set."""
    found = at(claims, *path)
    return frozenset((found,)) if isinstance(found, str) and found else frozenset()


def at(claims: Any, *path: str) -> Any:
    """What is at a path, None where nothing is."""
    for name in path:
        claims = claims.get(name) if isinstance(claims, Mapping) else None
    return claims


def listed(value: Any) -> frozenset[str]:
    """The texts of a list; of anything else none."""
    return frozenset(one for one in value if isinstance(one, str)) if isinstance(value, list) else frozenset()


def client_name(context: Any) -> str:
    """What tells one client that has no token from another: its certificate's name, else the host that it calls from."""
    names = context.auth_context().get("x509_common_name") or context.auth_context().get(
        "x509_subject_alternative_name"
    )
    if names:
        return "certificate:" + str(names[0].decode(errors="replace"))
    peer = str(context.peer())
    return peer.rpartition(":")[0] or peer
