"""What a training set is made of, and the id that follows from it. Readable JSON, kept beside the rows."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import UTC, datetime

from pydantic import TypeAdapter

from pedigree.jobs.training_sets.fingerprint import Content, sha256

ID_LENGTH = 32
"""Hexadecimal digits: 128 bits, and short enough for the digest of an MLflow data set, which may have 36 characters."""

SHORT = 12
"""How many digits of an id are shown where a person reads it."""


@dataclass(frozen=True, slots=True)
class ViewDefinition:
    """What of a feature view decides the values.

    Attributes:
        name, alias, version_tag: the view, the name it has in the service, and the version of its definition that is pinned.
        keys: its join keys with their types; `labels` has the entity set's column where that has another name.
        features: those taken, in order, with their types.
        ttl_seconds: how old a row may be; zero is no limit.
        source: the URI of the Delta table; `columns` maps its columns to feature names where these differ.
        event_at, created_at: the table's columns for when a row became true and when it was learnt.
    """

    name: str
    alias: str | None
    version_tag: int | None
    keys: Mapping[str, str]
    labels: Mapping[str, str]
    features: Mapping[str, str]
    ttl_seconds: float
    source: str
    columns: Mapping[str, str]
    event_at: str
    created_at: str | None

    @property
    def shown_as(self) -> str:
        """The view's name in feature references and columns."""
        base = self.alias or self.name
        return base if self.version_tag is None else f"{base}@v{self.version_tag}"


@dataclass(frozen=True, slots=True)
class OnDemandView:
    """An on-demand view: what it computes from what, and the hash of its code.

    Attributes:
        inputs: the features that it reads, as `view:feature`.
        requested: the columns of the entity set that it reads.
    """

    name: str
    features: Mapping[str, str]
    inputs: tuple[str, ...]
    requested: tuple[str, ...]
    code: str


@dataclass(frozen=True, slots=True)
class Definitions:
    """The feature service and all that it is made of; `knowledge_time` is the offline store's option."""

    project: str
    service: str
    features: tuple[str, ...]
    views: tuple[ViewDefinition, ...]
    on_demand: tuple[OnDemandView, ...]
    knowledge_time: bool

    @property
    def join_keys(self) -> tuple[str, ...]:
        """The entity set's columns that the views are joined by."""
        names = [view.labels.get(key, key) for view in self.views for key in view.keys]
        return tuple(dict.fromkeys(names))

    @property
    def tables(self) -> tuple[str, ...]:
        """The URIs of the tables that are read, each once."""
        return tuple(dict.fromkeys(view.source for view in self.views))


@dataclass(frozen=True, slots=True)
class TableVersion:
    """One version of a Delta table; `table_id` tells it from another table that was later put in its place."""

    uri: str
    version: int
    table_id: str

    @property
    def name(self) -> str:
        """The table's name for people: the last part of its place."""
        return self.uri.rsplit("/", 1)[-1]


@dataclass(frozen=True, slots=True)
class Entities:
    """The entity set: its content, the column with the instants, the keys, and where it came from, in words."""

    content: Content
    instant: str
    keys: tuple[str, ...]
    origin: str


@dataclass(frozen=True, slots=True)
class Code:
    """What computes the rows: the versions of the packages, and the hash of each module by its path."""

    packages: Mapping[str, str]
    modules: Mapping[str, str]

    def differing(self, other: Code) -> tuple[str, ...]:
        """The packages and modules that are not the same in both."""
        mine, theirs = ({**each.packages, **each.modules} for each in (self, other))
        return tuple(sorted(name for name in {*mine, *theirs} if mine.get(name) != theirs.get(name)))


@dataclass(frozen=True, slots=True)
class Ingredients:
    """All that decides what a training set holds; `known_by`: nothing that was learnt after it is seen."""

    entities: Entities
    definitions: Definitions
    sources: tuple[TableVersion, ...]
    known_by: datetime
    code: Code

    def identity(self) -> str:
        """The id: a hash over every ingredient, and over nothing else."""
        plain = {
            "entities": self.entities.content.hash,
            "instant": self.entities.instant,
            "definitions": asdict(self.definitions),
            "sources": [asdict(source) for source in self.sources],
            "known_by": self.known_by.astimezone(UTC).isoformat(),
            "code": asdict(self.code),
        }
        return sha256(json.dumps(plain, sort_keys=False))[:ID_LENGTH]


@dataclass(frozen=True, slots=True)
class Manifest:
    """A training set that is kept.

    Attributes:
        name: what people call it; not part of the id.
        run_id: the lineage run that made it.
        features: the columns of the rows that are features, in order.
    """

    id: str
    name: str
    created_at: datetime
    run_id: str
    ingredients: Ingredients
    content: Content
    features: tuple[str, ...]

    @property
    def short_id(self) -> str:
        """The id as people read it."""
        return self.id[:SHORT]

    @property
    def label(self) -> str:
        """A set in one word."""
        return f"{self.name}@{self.short_id}"

    @property
    def sources(self) -> tuple[TableVersion, ...]:
        """The table versions that it was cut from."""
        return self.ingredients.sources

    def to_json(self) -> str:
        """As it is kept, for people to read."""
        return MANIFEST.dump_json(self, indent=2).decode() + "\n"

    @staticmethod
    def from_json(text: str | bytes) -> Manifest:
        """As it was kept."""
        return MANIFEST.validate_json(text)


@dataclass(frozen=True, slots=True)
class Pin:
    """The table versions that a training set under way reads.

    Attributes:
        run_id: the lineage run that makes it.
        name: what people will call it.
    """

    run_id: str
    name: str
    begun_at: datetime
    sources: tuple[TableVersion, ...]

    @property
    def label(self) -> str:
        """A set that has no id yet, for people."""
        return f"{self.name}, under way since {self.begun_at.astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC (run {self.run_id})"

    def to_json(self) -> str:
        """As it is kept."""
        return PIN.dump_json(self).decode()

    @staticmethod
    def from_json(text: str | bytes) -> Pin:
        """As it was kept."""
        return PIN.validate_json(text)


MANIFEST = TypeAdapter(Manifest)
PIN = TypeAdapter(Pin)
