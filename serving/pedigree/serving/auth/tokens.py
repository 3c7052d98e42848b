"""Bearer tokens (JWT): verified first, then read; and kept until they expire, so that a request costs no arithmetic."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from time import time
from typing import Any

import jwt
from jwt.exceptions import PyJWTError

from pedigree.serving.auth.jwks import JwkSet
from pedigree.serving.auth.principal import Principal, principal_of
from pedigree.serving.refusals import UnauthenticatedError
from pedigree.serving.settings import Auth

TOKENS = 10_000
"""How many verified tokens are kept."""
BEARER = "bearer "
NEEDED = {"require": ["exp", "iss", "aud"], "verify_signature": True}

Metadata = Iterable[tuple[str, str | bytes]]


@dataclass(frozen=True, slots=True)
class Verified:
    """Whom a token names, and until when."""

    principal: Principal
    until: float


@dataclass(slots=True)
class Tokens:
    """Turns tokens into principals. What is kept counts as long as the issuer's keys are those that it was verified by."""

    auth: Auth
    keys: JwkSet
    kept: OrderedDict[str, Verified] = field(default_factory=OrderedDict)
    kept_by: bytes | None = None

    async def principal(self, metadata: Metadata) -> Principal:
        """Whom a request's token names.

        Raises:
            UnauthenticatedError: there is no token, or none that is taken.
            KeysUnavailableError: nothing can be verified now.
        """
        token = bearer(metadata)
        if self.kept_by is not self.keys.text:
            self.kept.clear()
            self.kept_by = self.keys.text
        found = self.kept.get(token)
        if found is None or found.until <= time():
            found = await self.verified(token)
            self.keep(token, found)
        return found.principal

    def keep(self, token: str, verified: Verified) -> None:
        """Keep a token; the one that was kept first goes where there are too many."""
        if self.kept_by is self.keys.text:
            self.kept[token] = verified
            if len(self.kept) > TOKENS:
                self.kept.popitem(last=False)

    async def verified(self, token: str) -> Verified:
        """Whom a token names, after everything about it was found right."""
        try:
            header = jwt.get_unverified_header(token)
            algorithm, kid = chosen(header, self.auth)
            claims = self.claims(token, await self.keys.find(kid, algorithm), algorithm)
        except (PyJWTError, ValueError, TypeError) as error:
            raise UnauthenticatedError(type(error).__name__) from None
        principal = principal_of(claims, self.auth)
        if principal is None:
            raise UnauthenticatedError("it names nobody")
        return Verified(principal, float(claims["exp"]) + self.auth.leeway.total_seconds())

    def claims(self, token: str, key: Any, algorithm: str) -> Mapping[str, Any]:
        """What a token says, once its signature, issuer, audience and times were checked; by no other algorithm."""
        found: Mapping[str, Any] = jwt.decode(
            token,
            key,
            algorithms=[algorithm],
            audience=self.auth.audience,
            issuer=self.auth.issuer,
            leeway=self.auth.leeway,
            options=NEEDED,  # type: ignore[arg-type]  # a plain dict of what it declares
        )
        return found


def chosen(header: Mapping[str, Any], auth: Auth) -> tuple[str, str | None]:
    """The algorithm and the key id that a token names; the algorithm only where it is one of those that are taken."""
    algorithm, kid = header.get("alg"), header.get("kid")
    if algorithm not in auth.algorithms:
        raise UnauthenticatedError("its algorithm is not taken")
    if kid is not None and not isinstance(kid, str):
        raise UnauthenticatedError("its key id is no text")
    return str(algorithm), kid


def bearer(metadata: Metadata) -> str:
    """The token of a request; one that sends two is not answered, as nobody knows which of them was meant."""
    found = [value for name, value in metadata if name == "authorization"]
    if len(found) != 1 or not isinstance(found[0], str) or found[0][: len(BEARER)].lower() != BEARER:
        raise UnauthenticatedError("there is no bearer token")
    return found[0][len(BEARER) :].strip()
