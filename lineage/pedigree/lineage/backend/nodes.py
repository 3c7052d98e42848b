"""Node ids of lineage graphs: `dataset:<namespace>:<name>`, `datasetField:…:<field>`, `job:…`, each with `#<version>`.

Namespaces and names may hold colons themselves, so an id is read by what exists, not by counting colons.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import combinations, pairwise
from uuid import UUID

import sqlalchemy as sa

from pedigree.lineage.backend.dataset_rows import find_dataset
from pedigree.lineage.backend.errors import BadRequestError, NotFoundError
from pedigree.lineage.backend.tables import datasets, jobs
from pedigree.lineage.naming import NodeKind

MOST_PIECES = 30
PARTS: dict[str, int] = {"dataset": 2, "datasetField": 3, "job": 2}


@dataclass(frozen=True, slots=True)
class NodeRef:
    """What a node id means here: the row's id, the field of a `datasetField`, and the version if one was asked for."""

    kind: NodeKind
    id: str
    field: str | None = None
    version: str | None = None


def find_node(connection: sa.Connection, text: str) -> NodeRef:
    """What a node id means.

    Raises:
        BadRequestError: it is no node id.
        NotFoundError: nothing of that name was recorded.
    """
    kind, _, rest = text.partition(":")
    if kind not in PARTS or not rest:
        raise BadRequestError(f"node ID ({text}) must start with 'dataset:', 'datasetField:' or 'job:'")
    name, version = split_version(rest)
    for parts in splits(name, PARTS[kind]):
        found = find_parts(connection, kind, parts)
        if found:
            field = parts[2] if kind == "datasetField" else None
            return NodeRef(kind, found, field, version)  # type: ignore[arg-type]  # PARTS holds the same three
    raise NotFoundError("Node", text)


def find_parts(connection: sa.Connection, kind: str, parts: tuple[str, ...]) -> str | None:
    """The row that a way of reading a node id means, if there is one."""
    if kind == "job":
        j = jobs.c
        found: str | None = connection.scalar(
            sa.select(j.id).where(j.namespace == parts[0], j.name == parts[1], j.deleted.is_(False))
        )
        return found
    id_ = find_dataset(connection, parts[0], parts[1])
    alive = sa.select(datasets.c.id).where(datasets.c.id == id_, datasets.c.deleted.is_(False))
    return id_ if id_ and connection.scalar(alive) else None


def splits(text: str, parts: int) -> Iterator[tuple[str, ...]]:
    """Every way to read `text` as that many parts with colons between them."""
    pieces = text.split(":")
    if len(pieces) > MOST_PIECES:
        raise BadRequestError(f"A node ID with more than {MOST_PIECES} colons is not read")
    for cuts in combinations(range(1, len(pieces)), parts - 1):
        edges = (0, *cuts, len(pieces))
        yield tuple(":".join(pieces[start:end]) for start, end in pairwise(edges))


def split_version(text: str) -> tuple[str, str | None]:
    """A node's name, and the version behind its last `#` if that is a UUID."""
    name, mark, version = text.rpartition("#")
    try:
        return (name, str(UUID(version))) if mark else (text, None)
    except ValueError:
        return text, None
