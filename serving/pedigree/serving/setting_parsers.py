"""Parsers of settings that only the server has: whose tokens it takes. See `pedigree.lineage.setting_parsers`."""

from __future__ import annotations

from datetime import timedelta
from urllib.parse import urlsplit

from pydantic import SecretStr

from pedigree.lineage.loopback import is_loopback
from pedigree.lineage.setting_parsers import file

ALGORITHMS = frozenset(f"{family}{bits}" for family in ("RS", "ES", "PS") for bits in (256, 384, 512)) | {"EdDSA"}
"""Signatures that a public key verifies. With a shared secret (HS…) whoever can verify a token can also make one."""


def leeway(text: str) -> timedelta:
    """A number of seconds, zero among them, for which an expired token may still be taken; at most five minutes."""
    try:
        seconds = timedelta(seconds=float(text))
    except ValueError:
        seconds = timedelta(-1)
    if not timedelta(0) <= seconds <= timedelta(minutes=5):
        raise ValueError("is not a number of seconds between 0 and 300, such as 10")
    return seconds


def algorithms(text: str) -> tuple[str, ...]:
    """Names of signature algorithms, by commas."""
    names = tuple(name.strip() for name in text.split(",") if name.strip())
    wrong = [name for name in names if name not in ALGORITHMS]
    if wrong or not names:
        raise ValueError(
            f"names {', '.join(wrong) or 'nothing'}: unsigned tokens and shared secrets are never taken; "
            "choose from RS, ES or PS with 256, 384 or 512, and EdDSA"
        )
    return names


def key_source(text: str) -> SecretStr:
    """A file that is there, or the URL of a key set that nobody on the way can exchange."""
    try:
        split = urlsplit(text)
    except ValueError:
        raise ValueError("is no URL that can be read") from None
    if split.scheme == "https" and split.hostname:
        return SecretStr(text)
    if split.scheme == "http":
        if not is_loopback(split.hostname or ""):
            raise ValueError(
                "would fetch keys without TLS, and whoever sits on the way could make tokens; use https://"
            )
        return SecretStr(text)
    return SecretStr(str(file(text)))
