"""Every name of an event that a database keeps in an index, and how long it may be. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from pedigree.lineage.backend.event_facets import (
    Facets,
    column_origins,
    external_version,
    facet,
    parent_job,
    symlinks,
    text,
)

MAX_NAME_BYTES = 1024
"""Two names and two ids have to fit into an index row of PostgreSQL, which is 2,704 bytes long."""

Named = tuple[str, str]
"""Where a name stands in an event, and the name."""


def is_too_long(name: str) -> bool:
    """True for a name that does not fit into an index."""
    return len(name) > MAX_NAME_BYTES // 4 and len(name.encode()) > MAX_NAME_BYTES


def long_names(body: Mapping[str, Any]) -> list[str]:
    """What is wrong with the lengths of an event's names; empty if nothing is."""
    return [
        f"{where} has {len(name.encode()):,} bytes, and a name may have {MAX_NAME_BYTES:,}: {name[:40]!r}…"
        for where, name in names(body)
        if is_too_long(name)
    ]


def names(body: Mapping[str, Any]) -> Iterator[Named]:
    """The names in an event whose shape was checked."""
    job = body.get("job")
    if isinstance(job, dict):
        yield from pair("job", (job["namespace"], job["name"]))
    parent = parent_job((body.get("run") or {}).get("facets") or {})
    if parent:
        yield from pair("the parent job", parent)
    for side in ("inputs", "outputs"):
        yield from datasets(side, body.get(side) or [])
    if not {"run", "job"} & body.keys():
        yield from datasets("dataset", [body["dataset"]])


def datasets(where: str, said: Iterable[Mapping[str, Any]]) -> Iterator[Named]:
    """The names that datasets of an event have and speak of."""
    for each in said:
        yield from pair(where, (each["namespace"], each["name"]))
        yield from dataset_facets(where, each.get("facets") or {})


def dataset_facets(where: str, facets: Facets) -> Iterator[Named]:
    """The names in a dataset's facets."""
    for other in symlinks(facets):
        yield from pair(f"a symlink of {where}", other)
    source, version = text(facet(facets, "dataSource").get("name")), external_version(facets)
    if source:
        yield f"dataSource.name of {where}", source
    if version:
        yield f"datasetVersion of {where}", version
    for column, _, origin in column_origins(facet(facets, "columnLineage")):
        yield f"a column of {where}", column
        yield from pair(f"an origin of a column of {where}", (origin["namespace"], origin["name"]))
        yield f"a column that a column of {where} is made of", origin["field"]


def pair(where: str, names: tuple[str, str]) -> Iterator[Named]:
    """A namespace and a name."""
    yield f"the namespace of {where}", names[0]
    yield f"the name of {where}", names[1]
