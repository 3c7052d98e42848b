"""Where training sets are made, made again from the versions they were cut from, and let go."""

from __future__ import annotations

import tempfile
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import chain
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
from feast import FeatureStore, RepoConfig

from pedigree.jobs.historical.offline_store import PedigreeOfflineStore
from pedigree.jobs.training_sets import retention
from pedigree.jobs.training_sets.code import code_version
from pedigree.jobs.training_sets.comparison import Mismatch, mismatches
from pedigree.jobs.training_sets.definitions import column_of, definitions_of, pinned_views, references
from pedigree.jobs.training_sets.entity_set import settled
from pedigree.jobs.training_sets.errors import RowsMissingError, VersionGoneError, VersionLostError
from pedigree.jobs.training_sets.fingerprint import Content
from pedigree.jobs.training_sets.lineage_datasets import set_written, tables_read
from pedigree.jobs.training_sets.manifest import Definitions, Ingredients, Manifest, Pin, TableVersion
from pedigree.jobs.training_sets.store import BATCH, TrainingSetStore, write_parquet
from pedigree.jobs.training_sets.table_versions import gone, newest
from pedigree.lineage.recorder import Run

TRIES = 5
"""How often versions are pinned that builds make old just then. What is lost all the same is noticed at the end."""


@dataclass(frozen=True, slots=True)
class TrainingSetService:
    """What training sets are made with, and where they are kept."""

    store: FeatureStore
    set_store: TrainingSetStore


@dataclass(frozen=True, slots=True)
class TrainingSetRequest:
    """A training set that is wanted.

    Attributes:
        entities: for whom and as of when; `origin` says in words where they came from.
        name: what people call the set; the service's name where there is none.
        known_by: nothing that was learnt after it is seen; None is now.
    """

    service: str
    entities: pa.Table
    origin: str
    name: str | None = None
    known_by: datetime | None = None


@dataclass(frozen=True, slots=True)
class Rebuilt:
    """A set as it was computed again, beside what its manifest says.

    Attributes:
        mismatches: for each column that came out otherwise, how many rows and the first of them.
        code: the packages and modules that have changed since.
        put_back: whether the stored rows were broken and have been replaced.
    """

    manifest: Manifest
    content: Content
    mismatches: tuple[Mismatch, ...]
    code: tuple[str, ...]
    put_back: bool

    @property
    def is_same(self) -> bool:
        """True where every row came out as it was."""
        return self.content == self.manifest.content


def create(order: TrainingSetRequest, training_sets: TrainingSetService, run: Run) -> Manifest:
    """Make a training set, or find the one that is kept under the same id.

    Raises:
        UnknownServiceError, UnsupportedSourceError, EntitySetError, UnbuiltTableError: nothing was written.
        VersionLostError: somebody removed files of a version that was read; nothing was kept.
    """
    set_store = training_sets.set_store
    definitions = definitions_of(training_sets.store, order.service)
    rows, entities = settled(order.entities, definitions, origin=order.origin)
    try:
        sources = pinned(definitions.tables, order, set_store, run)
        known_by = order.known_by or datetime.now(UTC)
        ingredients = Ingredients(entities, definitions, sources, known_by, code_version())
        id_ = ingredients.identity()
        for dataset in tables_read(ingredients):
            run.reads(dataset)
        manifest = set_store.find(id_) if set_store.keeps(id_) else made(order, ingredients, rows, training_sets, run)
        for uri in definitions.tables:
            retention.hold(uri)  # again: another set may have been let go meanwhile, and with it the table
    finally:
        set_store.unpin(run.id)
    run.writes(set_written(manifest, set_store.schema(id_, "rows")))
    return manifest


def pinned(
    uris: Sequence[str], order: TrainingSetRequest, set_store: TrainingSetStore, run: Run
) -> tuple[TableVersion, ...]:
    """The newest versions of tables, which no clean-up takes away from here on.

    A clean-up that did not see the pin has seen a version that was current before it. So it must be the newest still after it.

    Raises:
        UnbuiltTableError: there is no table.
    """
    sources = tuple(newest(uri) for uri in uris)
    for _ in range(TRIES):
        set_store.pin(Pin(run.id, order.name or order.service, run.started_at, sources))
        for uri in uris:
            retention.hold(uri)
        before, sources = sources, tuple(newest(uri) for uri in uris)
        if sources == before:
            break
    return sources


def made(
    order: TrainingSetRequest, ingredients: Ingredients, entities: pa.Table, training_sets: TrainingSetService, run: Run
) -> Manifest:
    """Write a set, its manifest last; where that fails nothing of it stays.

    Raises:
        VersionLostError: somebody removed files of a version that was read.
    """
    set_store, id_, name = training_sets.set_store, ingredients.identity(), order.name or order.service
    try:
        set_store.write(id_, "entities", entities.schema, entities.to_batches(BATCH))
        schema, batches = retrieved(ingredients, entities, training_sets)
        content = set_store.write(id_, "rows", schema, batches)
        refuse_lost(name, ingredients.sources)
        features = tuple(column_of(feature) for feature in ingredients.definitions.features)
        manifest = Manifest(id_, name, run.started_at, run.id, ingredients, content, features)
        set_store.keep(manifest)
    except BaseException as error:
        set_store.discard(id_)
        if isinstance(error, Exception):
            refuse_lost(name, ingredients.sources, cause=error)
        raise
    return manifest


def refuse_lost(name: str, sources: Iterable[TableVersion], *, cause: Exception | None = None) -> None:
    """Raise where a version that a set was made of cannot be read any more."""
    lost = gone(sources)
    if lost and not isinstance(cause, VersionLostError):
        raise VersionLostError(name, lost) from cause


def retrieved(
    ingredients: Ingredients, entities: pa.Table, training_sets: TrainingSetService
) -> tuple[pa.Schema, Iterator[pa.RecordBatch]]:
    """The rows, from the pinned versions, in the order of the entities."""
    definitions = ingredients.definitions
    versions = {source.uri: source.version for source in ingredients.sources}
    job = PedigreeOfflineStore.get_historical_features(
        as_defined(training_sets.store.config, definitions),
        pinned_views(definitions, versions),
        references(definitions),
        entities,
        training_sets.store.registry,
        definitions.project,
        full_feature_names=True,
        known_by=ingredients.known_by,
    )
    batches = iter(job.to_arrow_batches(BATCH))
    first = next(batches)
    return first.schema, (batch.cast(first.schema) for batch in chain([first], batches))


def as_defined(config: RepoConfig, definitions: Definitions) -> RepoConfig:
    """The configuration with the offline store's options as they were."""
    settled_config = config.model_copy()
    settled_config._offline_store = config.offline_store.model_copy(
        update={"knowledge_time": definitions.knowledge_time}
    )
    return settled_config


def rebuild(manifest: Manifest, training_sets: TrainingSetService) -> Rebuilt:
    """Compute a set again from the versions it was cut from, and compare; stored rows that are broken are put back.

    Raises:
        VersionGoneError: a version cannot be read any more.
        RowsMissingError: the entities are gone.
    """
    missing = gone(manifest.ingredients.sources)
    if missing:
        raise VersionGoneError(manifest.short_id, missing)
    set_store, id_ = training_sets.set_store, manifest.id
    entities = set_store.table(id_, "entities")
    schema, batches = retrieved(manifest.ingredients, entities, training_sets)
    with tempfile.TemporaryDirectory(prefix="pedigree-rebuild-") as folder:
        again = Path(folder) / "rows.parquet"
        content = write_parquet(str(again), schema, batches)
        is_same = content == manifest.content
        broken = is_broken(manifest, set_store)
        if is_same and broken:
            put_back(again, manifest, set_store)
        found = () if is_same or broken else mismatches(manifest, set_store, again, content)
    code = manifest.ingredients.code.differing(code_version())
    return Rebuilt(manifest, content, found, code, put_back=is_same and broken)


def is_broken(manifest: Manifest, set_store: TrainingSetStore) -> bool:
    """True where the stored rows are not what they were."""
    try:
        return set_store.content(manifest.id, "rows") != manifest.content
    except RowsMissingError:
        return True


def put_back(again: Path, manifest: Manifest, set_store: TrainingSetStore) -> None:
    """Store rows that were computed again."""
    with pq.ParquetFile(again) as file:
        set_store.write(manifest.id, "rows", file.schema_arrow, file.iter_batches(BATCH))


def delete(manifest: Manifest, training_sets: TrainingSetService) -> tuple[str, ...]:
    """Let a set go; returns the tables that no set needs any more and that are back under their own retention."""
    training_sets.set_store.drop(manifest.id)
    left = training_sets.set_store.holders()
    freed = [uri for uri in manifest.ingredients.definitions.tables if not retention.needs(left, uri)]
    for uri in freed:
        retention.release(uri)
    return tuple(freed)
