"""The one way to the lineage backend over HTTP."""

from __future__ import annotations

from base64 import b64encode
from urllib.parse import unquote

import httpx

from pedigree.lineage.settings import LineageSettings

CONNECT_SECONDS = 2.0
READ_SECONDS = 5.0


def open_http(settings: LineageSettings, *, read_seconds: float = READ_SECONDS) -> httpx.Client:
    """A client for the backend's address, with its key. A backend on this machine is never asked through a proxy."""
    timeout = httpx.Timeout(read_seconds, connect=CONNECT_SECONDS)
    return httpx.Client(
        base_url=settings.url,
        headers=authorization(settings),
        timeout=timeout,
        trust_env=not settings.is_local,
    )


def authorization(settings: LineageSettings) -> dict[str, str]:
    """The header that says who calls."""
    if settings.api_key is not None:
        return {"Authorization": f"Bearer {settings.api_key.get_secret_value()}"}
    if settings.userinfo is not None:
        user, _, password = settings.userinfo.get_secret_value().partition(":")
        credentials = b64encode(f"{unquote(user)}:{unquote(password)}".encode()).decode()
        return {"Authorization": f"Basic {credentials}"}
    return {}
