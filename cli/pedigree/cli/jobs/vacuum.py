"""`pedigree vacuum`: which tables there are to clean."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import timedelta

from pedigree.features.errors import UnknownTableError
from pedigree.features.repository import Repository
from pedigree.features.table import ExternalTable
from pedigree.jobs.delta_tables import current_version
from pedigree.jobs.settings import job_settings
from pedigree.jobs.spark.session import open_session
from pedigree.jobs.training_sets.retention import Cleaned, clean
from pedigree.jobs.training_sets.store import TrainingSetStore


def clean_tables(
    names: Sequence[str], repository: Repository, set_store: TrainingSetStore, *, retention: timedelta, is_dry_run: bool
) -> Iterator[Cleaned]:
    """Clean the tables of these names, one after the other; all that we write, where none is named.

    Raises:
        UnknownTableError: a name is no table's; nothing was cleaned.
        VacuumUnsafeError: it cannot be told what the kept sets need of a table; the tables before it are clean.
    """
    held = {source.name: source.uri for holder in set_store.holders() for source in holder.sources}
    external = {name for name, table in repository.tables.items() if isinstance(table, ExternalTable)}
    known = {**held, **{name: repository.lake.table(name) for name in repository.tables}}
    known = {name: uri for name, uri in known.items() if name not in external}
    unknown = [name for name in names if name not in known]
    if unknown:
        raise UnknownTableError(unknown[0], sorted(known))
    spark = open_session(job_settings())
    for name in names or sorted(known):
        uri = known[name]
        if current_version(spark, uri) is not None:
            yield clean(spark, uri, set_store, retention=retention, is_dry_run=is_dry_run)
