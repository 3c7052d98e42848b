"""Every endpoint of Marquez's HTTP API that is spoken here."""

from __future__ import annotations

import asyncio
from typing import cast

import sqlalchemy as sa
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route
from starlette.types import ExceptionHandler

from pedigree.lineage.backend import handlers as h
from pedigree.lineage.backend.request import EncodedPaths, Handler, Limits, endpoint, refusal

NAMESPACE = "/api/v1/namespaces/{namespace}"
DATASET = NAMESPACE + "/datasets/{dataset}"
JOB = NAMESPACE + "/jobs/{job}"

ENDPOINTS: tuple[tuple[str, str, Handler], ...] = (
    ("POST", "/api/v1/lineage", h.post_event),
    ("GET", "/api/v1/lineage", h.get_lineage),
    ("GET", "/api/v1/column-lineage", h.get_column_lineage),
    ("GET", "/api/v1/events/lineage", h.get_events),
    ("GET", "/api/v1/events", h.get_events),
    ("GET", "/api/v1/events/{namespace}", h.get_events),
    ("GET", "/api/v1/namespaces", h.get_namespaces),
    ("GET", NAMESPACE, h.get_namespace),
    ("PUT", NAMESPACE, h.put_namespace),
    ("DELETE", NAMESPACE, h.delete_namespace),
    ("GET", "/api/v1/sources", h.get_sources),
    ("GET", "/api/v1/sources/{source}", h.get_source),
    ("PUT", "/api/v1/sources/{source}", h.put_source),
    ("GET", "/api/v1/tags", h.get_tags),
    ("PUT", "/api/v1/tags/{tag}", h.put_tag),
    ("GET", NAMESPACE + "/datasets", h.get_datasets),
    ("GET", DATASET, h.get_dataset),
    ("PUT", DATASET, h.superseded),
    ("DELETE", DATASET, h.delete_dataset),
    ("GET", DATASET + "/versions", h.get_versions),
    ("GET", DATASET + "/versions/{version}", h.get_version),
    ("POST", DATASET + "/tags/{tag}", h.tag_dataset),
    ("DELETE", DATASET + "/tags/{tag}", h.untag_dataset),
    ("POST", DATASET + "/fields/{field}/tags/{tag}", h.tag_dataset),
    ("DELETE", DATASET + "/fields/{field}/tags/{tag}", h.untag_dataset),
    ("GET", "/api/v1/jobs", h.get_jobs),
    ("GET", "/api/v1/jobs/runs/{run}", h.get_run),
    ("GET", "/api/v1/jobs/runs/{run}/facets", h.get_run_facets),
    ("POST", "/api/v1/jobs/runs/{run}/{action}", h.superseded),
    ("GET", NAMESPACE + "/jobs", h.get_jobs),
    ("GET", JOB, h.get_job),
    ("PUT", JOB, h.superseded),
    ("DELETE", JOB, h.delete_job),
    ("GET", JOB + "/versions", h.get_job_versions),
    ("GET", JOB + "/versions/{version}", h.get_job_version),
    ("GET", JOB + "/runs", h.get_job_runs),
    ("POST", JOB + "/runs", h.superseded),
    ("POST", JOB + "/tags/{tag}", h.tag_job),
    ("DELETE", JOB + "/tags/{tag}", h.untag_job),
    ("GET", "/api/v1/search", h.get_search),
    ("GET", "/api/v2beta/search/jobs", h.search_jobs),
    ("GET", "/api/v2beta/search/datasets", h.search_datasets),
    ("GET", "/api/v1/stats/lineage-events", h.get_event_stats),
    ("GET", "/api/v1/stats/{asset}", h.get_asset_stats),
)


def application(engine: sa.Engine, *, api_key: str | None = None, limits: Limits | None = None) -> Starlette:
    """The backend over a database; with `api_key` every call but those for health must carry it."""
    limits, turn = limits or Limits(), asyncio.Lock()

    def route(method: str, path: str, handler: Handler) -> Route:
        """One endpoint."""
        mine = None if method == "GET" else turn
        return Route(path, endpoint(engine, handler, api_key=api_key, limits=limits, turn=mine), methods=[method])

    health = endpoint(engine, h.get_health, api_key=None, limits=limits)
    return Starlette(
        routes=[*(route(*each) for each in ENDPOINTS), Route("/healthcheck", health), Route("/ping", ping)],
        middleware=[Middleware(EncodedPaths)],
        exception_handlers={HTTPException: cast(ExceptionHandler, unrouted)},
    )


async def ping(_: Request) -> Response:
    """Whether the process answers."""
    return PlainTextResponse("pong\n")


async def unrouted(_: Request, error: HTTPException) -> Response:
    """No endpoint, or not with this method."""
    return refusal(error.status_code, f"HTTP {error.status_code} {error.detail}")
