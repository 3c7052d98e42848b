"""Versions of datasets, as events speak of them.

A version is written by one run, or only ever read. Which of its versions a dataset is at: the newest that was written
and whose run has not failed; for a dataset nobody writes, the newest that was read.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

import sqlalchemy as sa

from pedigree.lineage.backend.dataset_rows import stable_id
from pedigree.lineage.backend.event_parser import IncomingDataset
from pedigree.lineage.backend.tables import among, dataset_versions, datasets, insert_all, parts, run_io

WRITTEN, READ, FAILED = 2, 1, 0


@dataclass(slots=True)
class Version:
    """A row of `dataset_versions` while an event is heard."""

    id: str
    dataset_id: str
    external: str | None
    run_id: str | None
    rank: int
    created_at: str
    heard_at: str
    facets: dict[str, Any] = field(default_factory=dict)

    def row(self) -> dict[str, Any]:
        """The row as the database has it."""
        return {name: getattr(self, name) for name in self.__slots__}

    def hear(self, said: IncomingDataset, at: str, *, mine: bool) -> None:
        """Add what an event says. A reader never overrules the writer, an older event never a newer."""
        counts = mine or self.rank == READ
        newer = counts and at >= self.heard_at
        self.facets = {**self.facets, **said.facets} if newer else {**said.facets, **self.facets}
        self.external = (said.external_version if newer else self.external) or self.external or said.external_version
        self.heard_at = max(at, self.heard_at) if counts else self.heard_at
        self.created_at = min(at, self.created_at) if mine else self.created_at


class Versions:
    """The versions that one event reads and writes: loaded at once, changed in memory, written at once."""

    def __init__(self, connection: sa.Connection, *, run_id: str | None, at: str) -> None:
        self._connection = connection
        self._run_id = run_id
        self._at = at
        self._known: dict[str, Version] = {}
        self._stored: set[str] = set()
        self._heard: dict[str, None] = {}
        self._absorbed: dict[str, str] = {}
        self._mine: dict[str, Version] = {}
        self._newest: dict[str, Version] = {}
        self._by_external: dict[tuple[str, str | None], list[Version]] = defaultdict(list)

    def load(self, read: Sequence[tuple[str, IncomingDataset]], written: Sequence[tuple[str, IncomingDataset]]) -> None:
        """Load what hearing of these datasets, each with its id, may need."""
        v = dataset_versions.c
        externals = {(id_, said.external_version or "") for id_, said in (*read, *written) if said.external_version}
        ids = [self._id_if_read(id_, said) for id_, said in read] + [self._id_if_written(*each) for each in written]
        self._keep(among(self._connection, v.id, [*ids, *self._load_newest(id_ for id_, _ in read)]))
        if self._run_id is not None:
            mine = among(self._connection, v.dataset_id, [id_ for id_, _ in written])
            self._keep(sa.and_(v.run_id == self._run_id, mine))
        for some in parts(externals):
            self._keep(sa.tuple_(v.dataset_id, v.external).in_(some))

    def read(self, id_: str, said: IncomingDataset) -> str:
        """The version that a run reads: the one it names, else the one the dataset is at. Returns the version's id."""
        external = said.external_version
        named = max(self._at_external(id_, external), key=age, default=None)
        version = self._newest.get(id_) if external is None else named
        version = version or self._add(self._id_if_read(id_, said), id_, said, run_id=None, rank=READ)
        return self._hear(version, said, mine=False)

    def written(self, id_: str, said: IncomingDataset) -> str:
        """The version that a run writes: one per run, however many events it takes. Returns the version's id."""
        new = self._id_if_written(id_, said)
        version = self._mine.get(id_) or self._add(new, id_, said, run_id=self._run_id, rank=WRITTEN)
        self._hear(version, said, mine=True)
        if said.external_version is not None:
            self._absorb(version, said.external_version)
        return version.id

    def standing_for(self, id_: str) -> str:
        """A version's id, or that of the version it has become part of."""
        while id_ in self._absorbed:
            id_ = self._absorbed[id_]
        return id_

    def write(self) -> None:
        """Store what was heard."""
        heard = [self._known[id_].row() for id_ in self._heard if id_ not in self._absorbed]
        insert_all(self._connection, dataset_versions, [row for row in heard if row["id"] not in self._stored])
        changed = [{f"said_{key}": row[key] for key in CHANGING} for row in heard if row["id"] in self._stored]
        if changed:
            self._connection.execute(CHANGE, changed)
        moved = [
            {"read": id_, "written": self.standing_for(id_), "dataset": self._known[id_].dataset_id}
            for id_ in self._absorbed
            if id_ in self._stored
        ]
        for statement in ABSORB if moved else ():
            self._connection.execute(statement, moved)

    def _id_if_read(self, id_: str, said: IncomingDataset) -> str:
        return stable_id("version", id_, "read", said.external_version or "")

    def _id_if_written(self, id_: str, said: IncomingDataset) -> str:
        return stable_id("version", id_, self._run_id or said.external_version or self._at)

    def _load_newest(self, dataset_ids: Iterable[str]) -> Iterable[str]:
        chosen = sa.select(newest_of(datasets.c.id)).where(among(self._connection, datasets.c.id, dataset_ids))
        return (id_ for id_ in self._connection.scalars(chosen) if id_ is not None)

    def _keep(self, condition: sa.ColumnElement[bool]) -> None:
        for row in self._connection.execute(sa.select(dataset_versions).where(condition)):
            if row.id not in self._known:
                self._stored.add(row.id)
                self._note(Version(**row._mapping))

    def _add(self, id_: str, dataset_id: str, said: IncomingDataset, *, run_id: str | None, rank: int) -> Version:
        if id_ not in self._known:
            self._note(Version(id_, dataset_id, said.external_version, run_id, rank, self._at, self._at))
        return self._known[id_]

    def _note(self, version: Version) -> None:
        self._known[version.id] = version
        self._by_external[version.dataset_id, version.external].append(version)
        if version.run_id is not None and version.run_id == self._run_id:
            self._mine[version.dataset_id] = version
        newest = self._newest.get(version.dataset_id)
        if newest is None or age(version) > age(newest):
            self._newest[version.dataset_id] = version

    def _hear(self, version: Version, said: IncomingDataset, *, mine: bool) -> str:
        before = version.external
        version.hear(said, self._at, mine=mine)
        self._heard[version.id] = None
        if version.external != before:
            self._by_external[version.dataset_id, version.external].append(version)
        return version.id

    def _at_external(self, dataset_id: str, external: str | None) -> list[Version]:
        found = self._by_external[dataset_id, external]
        return [each for each in found if each.external == external and each.id not in self._absorbed]

    def _absorb(self, written: Version, external: str) -> None:
        """Somebody read this version before its writer was heard of: those who read it read the written one."""
        for each in self._at_external(written.dataset_id, external):
            if each.run_id is None and each.id != written.id:
                self._absorbed[each.id] = written.id


def age(version: Version) -> tuple[int, str]:
    """The greatest of a dataset's versions is the one that it is at."""
    return version.rank, version.created_at


def newest_of(dataset_id: Any) -> Any:
    """The version that a dataset is at, as a part of a query."""
    v = dataset_versions.c
    chosen = sa.select(v.id).where(v.dataset_id == dataset_id).order_by(v.rank.desc(), v.created_at.desc())
    return chosen.limit(1).correlate(datasets).scalar_subquery()


def settle_versions(connection: sa.Connection, run_id: str, state: str, *, at: str) -> list[str]:
    """After an event of a run: its versions count if it has not failed. Returns the datasets that the run writes."""
    v, d = dataset_versions.c, datasets.c
    rank = FAILED if state in {"FAILED", "ABORTED"} else WRITTEN
    written = list(connection.scalars(sa.select(v.dataset_id).where(v.run_id == run_id)))
    connection.execute(sa.update(dataset_versions).where(v.run_id == run_id).values(rank=rank))
    if state == "COMPLETED" and written:
        older = sa.or_(d.modified_at.is_(None), d.modified_at < at)
        connection.execute(sa.update(datasets).where(among(connection, d.id, written), older).values(modified_at=at))
    return written


def refresh_current(connection: sa.Connection, dataset_ids: Iterable[str]) -> None:
    """Note which versions datasets are at."""
    d = datasets.c
    here = among(connection, d.id, dataset_ids)
    connection.execute(sa.update(datasets).where(here).values(current_version=newest_of(d.id)))


def said(name: str, kind: Any = sa.Text) -> sa.BindParameter[Any]:
    """A parameter of the statements below."""
    return sa.bindparam(name, type_=kind)


CHANGING = ("id", "external", "heard_at", "created_at", "facets")
CHANGE = (
    sa.update(dataset_versions)
    .where(dataset_versions.c.id == said("said_id"))
    .values({key: said(f"said_{key}", dataset_versions.c[key].type) for key in CHANGING[1:]})
)
READERS = run_io.alias("readers")
ABSORB = (
    sa.delete(run_io).where(
        run_io.c.version_id == said("read"),
        sa.exists().where(
            READERS.c.version_id == said("written"),
            READERS.c.run_id == run_io.c.run_id,
            READERS.c.direction == run_io.c.direction,
        ),
    ),
    sa.update(run_io).where(run_io.c.version_id == said("read")).values(version_id=said("written")),
    sa.update(datasets)
    .where(datasets.c.id == said("dataset"), datasets.c.current_version == said("read"))
    .values(current_version=said("written")),
    sa.delete(dataset_versions).where(dataset_versions.c.id == said("read")),
)
"""What becomes of a version that was only read and is now part of the one that was written."""
