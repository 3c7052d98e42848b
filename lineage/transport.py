"""The one way to the lineage backend over HTTP."""

from __future__ import annotations

import httpx

from lineage.settings import LineageSettings

CONNECT_SECONDS = 2.0
READ_SECONDS = 5.0


def open_http(settings: LineageSettings, *, read_seconds: float = READ_SECONDS) -> httpx.Client:
    """A client for the backend's address, with its key. A backend on this machine is never asked through a proxy."""
    headers = {} if settings.api_key is None else {"Authorization": f"Bearer {settings.api_key}"}
    timeout = httpx.Timeout(read_seconds, connect=CONNECT_SECONDS)
    return httpx.Client(base_url=settings.url, headers=headers, timeout=timeout, trust_env=not settings.is_local)
