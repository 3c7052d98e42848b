"""The datasets that an event speaks of, by any of their names. All are looked up at once, and written at once."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any
from uuid import NAMESPACE_URL, uuid5

import sqlalchemy as sa

from pedigree.lineage.backend.event_facets import column_origins, facet, symlinks, text
from pedigree.lineage.backend.event_parser import IncomingDataset
from pedigree.lineage.backend.tables import aliases, among, datasets, insert_all, namespaces, parts, sources

Name = tuple[str, str]
"""A namespace and a name."""


def stable_id(*parts: str) -> str:
    """The same UUID for the same parts, always."""
    return str(uuid5(NAMESPACE_URL, "\0".join(parts)))


def find_dataset(connection: sa.Connection, namespace: str, name: str) -> str | None:
    """The id of a dataset, by its own name or another name of the same place."""
    return find_datasets(connection, [(namespace, name)]).get((namespace, name))


def find_datasets(connection: sa.Connection, names: Iterable[Name]) -> dict[Name, str]:
    """The ids of datasets, by their own names or other names of the same places."""
    wanted = dict.fromkeys(names)
    own, other = find_own(connection, wanted), find_aliases(connection, wanted)
    return {**other, **own}


def find_own(connection: sa.Connection, names: Iterable[Name]) -> dict[Name, str]:
    """The ids of datasets by their own names."""
    d, ids = datasets.c, [stable_id("dataset", *name) for name in names]
    rows = connection.execute(sa.select(d.id, d.namespace, d.name).where(among(connection, d.id, ids)))
    return {(row.namespace, row.name): row.id for row in rows}


def find_aliases(connection: sa.Connection, names: Iterable[Name]) -> dict[Name, str]:
    """The ids of datasets by other names of the same places."""
    a, found = aliases.c, dict[Name, str]()
    for some in parts(names):
        rows = connection.execute(sa.select(aliases).where(sa.tuple_(a.namespace, a.name).in_(some)))
        found |= {(row.namespace, row.name): row.dataset_id for row in rows}
    return found


class Places:
    """The datasets of one event of the instant `at`."""

    def __init__(self, connection: sa.Connection, said: Iterable[IncomingDataset], at: str) -> None:
        self._connection = connection
        self._at = at
        names = dict.fromkeys(name for each in said for name in (each.key, *symlinks(each.facets), *origins(each)))
        self._own = find_own(connection, names)
        self._aliases = find_aliases(connection, names)
        self._namespaces: set[str] = set()
        self._sources: dict[str, str] = {}
        self._new: dict[Name, str] = {}
        self._new_aliases: dict[Name, str] = {}
        self._changes: dict[str, dict[str, str]] = {}

    def id_of(self, name: Name) -> str:
        """The id of a dataset, which is made if nobody spoke of it before."""
        found = self._own.get(name) or self._aliases.get(name)
        if found is None:
            found = self._own[name] = self._new[name] = stable_id("dataset", *name)
            self._namespaces.add(name[0])
            self._sources.setdefault(name[0], name[0])
        return found

    def hear(self, said: IncomingDataset) -> str:
        """What an event says of a dataset itself: description, source, other names. Returns its id."""
        id_ = self.id_of(said.key)
        changes = self._changes.setdefault(id_, {})
        description = facet(said.facets, "documentation").get("description") or said.facets.get("description")
        if isinstance(description, str):
            changes["description"] = description
        source = facet(said.facets, "dataSource")
        name = text(source.get("name"))
        if name:
            self._sources.setdefault(name, str(source.get("uri") or name))
            changes["source"] = name
        for other in symlinks(said.facets):
            if other != said.key:
                self._namespaces.add(other[0])
                if other not in self._aliases:
                    self._aliases[other] = self._new_aliases[other] = id_
        return id_

    def write(self) -> None:
        """Store what was heard."""
        born = {"created_at": self._at, "updated_at": self._at}
        new = [
            {"id": id_, "namespace": namespace, "name": name, "source": namespace, "deleted": False, **born}
            for (namespace, name), id_ in self._new.items()
        ]
        others = [{"namespace": each[0], "name": each[1], "dataset_id": id_} for each, id_ in self._new_aliases.items()]
        known_sources = [{"name": name, "type": "UNKNOWN", "url": url, **born} for name, url in self._sources.items()]
        insert_all(self._connection, namespaces, [{"name": name, **born} for name in sorted(self._namespaces)])
        insert_all(self._connection, sources, known_sources)
        insert_all(self._connection, datasets, new)
        insert_all(self._connection, aliases, others)
        self._write_changes()

    def _write_changes(self) -> None:
        d, at = datasets.c, sa.bindparam("at", type_=sa.Text)
        values = {
            "deleted": False,
            "description": sa.func.coalesce(sa.bindparam("said_description", type_=sa.Text), d.description),
            "source": sa.func.coalesce(sa.bindparam("said_source", type_=sa.Text), d.source),
            "updated_at": sa.case((d.updated_at < at, at), else_=d.updated_at),
        }
        rows: list[dict[str, Any]] = [
            {"said_id": id_, "at": self._at, **{f"said_{key}": said.get(key) for key in ("description", "source")}}
            for id_, said in self._changes.items()
        ]
        if rows:
            self._connection.execute(sa.update(datasets).where(d.id == sa.bindparam("said_id")).values(values), rows)


def origins(said: IncomingDataset) -> Iterable[Name]:
    """The datasets that the columns of a dataset are made of."""
    return ((each["namespace"], each["name"]) for _, _, each in column_origins(facet(said.facets, "columnLineage")))
