"""Looking into the facets of an event, which may have any shape. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

Facets = Mapping[str, Any]


def facet(facets: Facets, name: str) -> Facets:
    """One facet; empty if it is not there or is no object."""
    found = facets.get(name)
    return found if isinstance(found, dict) else {}


def objects(found: Any) -> list[Mapping[str, Any]]:
    """The objects of a list; nothing else of it, and nothing of what is no list."""
    return [each for each in found if isinstance(each, dict)] if isinstance(found, list) else []


def text(found: Any) -> str | None:
    """A text that is not empty; None for anything else."""
    return found if isinstance(found, str) and found else None


def symlinks(facets: Facets) -> Iterable[tuple[str, str]]:
    """The other names that an event gives to a dataset: namespace and name."""
    for each in objects(facet(facets, "symlinks").get("identifiers")):
        namespace, name = text(each.get("namespace")), text(each.get("name"))
        if namespace and name:
            yield namespace, name


def parent_job(run_facets: Facets) -> tuple[str, str] | None:
    """The job that started the job of a run: namespace and name."""
    parent = facet(facet(run_facets, "parent") or facet(run_facets, "parentRun"), "job")
    namespace, name = text(parent.get("namespace")), text(parent.get("name"))
    return (namespace, name) if namespace and name else None


def external_version(facets: Facets) -> str | None:
    """A dataset's version as its own system counts."""
    version = facet(facets, "version").get("datasetVersion")
    return None if version is None else str(version)


def column_origins(column_lineage: Facets) -> Iterable[tuple[str, Facets, Facets]]:
    """What a columnLineage facet says: a field, what holds for it, and an origin with namespace, name and field."""
    columns = column_lineage.get("fields")
    for field, made in columns.items() if isinstance(columns, dict) else ():
        for origin in objects(made.get("inputFields")) if isinstance(made, dict) else ():
            if all(text(origin.get(part)) for part in ("namespace", "name", "field")):
                yield field, made, origin
