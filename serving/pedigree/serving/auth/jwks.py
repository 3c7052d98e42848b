"""The issuer's public keys: fetched in threads of their own, kept, and looked for anew at a bounded rate."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from time import monotonic
from typing import Any

import httpx
from jwt import PyJWK
from jwt.exceptions import PyJWTError
from pydantic import SecretStr

from pedigree.lineage.redaction import shown
from pedigree.serving.bulkhead import Bulkhead
from pedigree.serving.refusals import KeysUnavailableError, UnauthenticatedError

log = logging.getLogger(__name__)

PATIENCE = 5.0
"""Seconds that the issuer has to tell its keys, from the look-up of its name to the last byte."""
THREADS = 4
"""Looks that may be stuck, as where names are looked up in vain, before none is begun any more."""
LARGEST = 1 << 20
SMALLEST_RSA = 2048
FAMILIES = {"RS": "RSA", "PS": "RSA", "ES": "EC", "Ed": "OKP"}


@dataclass(frozen=True, slots=True)
class Jwk:
    """One public key, and what the issuer says it is for."""

    kid: str | None
    kind: str
    algorithm: str | None
    public: Any

    def fits(self, kid: str | None, algorithm: str) -> bool:
        """Whether a token that names this may be verified by it."""
        is_named = kid is None or kid == self.kid
        return is_named and self.kind == FAMILIES[algorithm[:2]] and self.algorithm in (None, algorithm)


@dataclass(slots=True)
class JwkSet:
    """The keys that a URL or a file tells.

    Attributes:
        pause: seconds between two looks at the least, however many tokens name keys that nobody knows.
        text: the key set as it was fetched; None: there was none yet.
    """

    source: SecretStr
    pause: float = 10.0
    keys: tuple[Jwk, ...] = ()
    text: bytes | None = None
    looked_at: float | None = None
    looking: asyncio.Task[None] | None = None
    bulkhead: Bulkhead = field(default_factory=lambda: Bulkhead("jwks", THREADS))

    async def find(self, kid: str | None, algorithm: str) -> Any:
        """The public key for a token.

        Raises:
            KeysUnavailableError: there are no keys, and none can be had now.
            UnauthenticatedError: the issuer has no such key.
        """
        found = self.known(kid, algorithm)
        if found is None:
            await self.look_again()
            found = self.known(kid, algorithm)
        if self.text is None:
            raise KeysUnavailableError
        if found is None:
            raise UnauthenticatedError("no key of the issuer fits")
        return found.public

    def known(self, kid: str | None, algorithm: str) -> Jwk | None:
        """The key that fits; without a key id only where no other fits too."""
        fitting = [key for key in self.keys if key.fits(kid, algorithm)]
        return fitting[0] if len(fitting) == 1 or (fitting and kid is not None) else None

    async def look_again(self) -> None:
        """Look, unless we just did; all who wait share one look, and nobody's giving up ends it for the others."""
        is_early = self.looked_at is not None and monotonic() - self.looked_at < self.pause
        if self.looking is None and not is_early:
            self.looked_at = monotonic()
            self.looking = asyncio.create_task(self.look())
            self.looking.add_done_callback(self.looked)
        if self.looking is not None:
            await asyncio.shield(self.looking)

    def looked(self, _task: asyncio.Task[None]) -> None:
        """The look is over."""
        self.looking = None

    async def look(self) -> None:
        """Fetch the keys; where that fails, those that we have stay."""
        try:
            text = await self.bulkhead.run(lambda: fetched(self.source.get_secret_value()), seconds=PATIENCE)
            if text != self.text:
                self.keys, self.text = keys_of(json.loads(text)), text
                log.info("the issuer has %s keys", len(self.keys))
        except (OSError, ValueError, KeyError, TypeError, RecursionError, httpx.HTTPError) as error:
            log.error(
                "the issuer's keys cannot be had of %s: %s", shown(self.source.get_secret_value()), type(error).__name__
            )

    async def follow(self, every: timedelta) -> None:
        """Look for ever: soon where there are no keys yet, else now and then, so that a key that is gone counts no more."""
        while True:
            await self.look_again()
            await asyncio.sleep(self.pause if self.text is None else every.total_seconds())


def fetched(source: str) -> bytes:
    """What a file or a URL holds. A redirect is not followed: it could lead to a place without TLS.

    Raises:
        OSError, ValueError, httpx.HTTPError: it cannot be had, or not in time.
    """
    until = monotonic() + PATIENCE
    if not source.startswith(("http://", "https://")):
        return Path(source).read_bytes()
    with httpx.stream("GET", source, timeout=PATIENCE, follow_redirects=False) as response:
        response.raise_for_status()
        found = bytearray()
        for part in response.iter_bytes():
            found += part
            if len(found) > LARGEST:
                raise ValueError("it is too large for a key set")
            if monotonic() > until:
                raise TimeoutError
        return bytes(found)


def keys_of(key_set: Mapping[str, Any]) -> tuple[Jwk, ...]:
    """The keys of a JWKS that can verify a token.

    Raises:
        ValueError, KeyError, TypeError: it is none, or has no such key.
    """
    listed: Sequence[Mapping[str, Any]] = key_set["keys"]
    keys = tuple(key for key in map(key_of, listed) if key is not None)
    if not keys:
        raise ValueError("there is no public key for signatures in it")
    return keys


def key_of(jwk: object) -> Jwk | None:
    """One key; None where it is a secret, is for something else, is too short, or of no kind that we know."""
    if not isinstance(jwk, Mapping):
        return None
    if jwk.get("kty") not in FAMILIES.values() or "d" in jwk or jwk.get("use", "sig") != "sig":
        return None
    try:
        public = PyJWK.from_dict(dict(jwk)).key
    except (PyJWTError, ValueError, TypeError):
        return None
    if jwk["kty"] == "RSA" and public.key_size < SMALLEST_RSA:
        return None
    return Jwk(jwk.get("kid"), jwk["kty"], jwk.get("alg"), public)
