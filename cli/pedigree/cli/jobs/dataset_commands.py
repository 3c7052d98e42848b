"""`pedigree dataset …` and `pedigree vacuum`: training sets by one id."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

import click

from pedigree.cli.parameter_types import Instant

if TYPE_CHECKING:
    from rich.console import Console

    from pedigree.jobs.training_sets.manifest import Manifest
    from pedigree.jobs.training_sets.service import TrainingSetService
    from pedigree.jobs.training_sets.store import TrainingSetStore
    from pedigree.lineage.client.client import LineageClient

as_json = click.option("--json", "is_json", is_flag=True, help="For machines.")


@click.group()
def dataset() -> None:
    """Training sets by one id: made once, kept with their manifest, made again from the same table versions.

    An ID may be shortened as in git, and written as SERVICE@ID.
    """


@dataset.command(short_help="Make a training set of a service.")
@click.argument("service")
@click.option("--entities", "place", help="A .csv or .parquet file, or the folder of a Delta table.")
@click.option("--sql", help="A query that Spark runs, instead of --entities.")
@click.option("--known-by", type=Instant(), default=None, help="Leave out what was learnt after it. [default: now]")
@click.option("--name", default=None, help="What people call the set. [default: the service's name]")
@as_json
def create(
    *, service: str, place: str | None, sql: str | None, known_by: datetime | None, name: str | None, is_json: bool
) -> None:
    """Make a training set of SERVICE: its features for each entity row, as of the row's instant.

    Example: pedigree dataset create my_service --entities labels.parquet
    """
    if (place is None) == (sql is None):
        raise click.UsageError("Say who it is for by either --entities or --sql.")
    with opened() as (console, training_sets):
        from pedigree.jobs.training_sets import service as work
        from pedigree.jobs.training_sets.entity_set import entities_at, entities_of
        from pedigree.lineage.recorder import Recorder
        from pedigree.lineage.settings import lineage_settings

        entities = entities_at(place) if place else entities_of(sql)
        order = work.TrainingSetRequest(service, entities, str(place or sql), name, known_by)
        with Recorder.open(lineage_settings()) as recorder, recorder.run("train", service) as run:
            manifest = work.create(order, training_sets, run)
        tell_kept(manifest, training_sets.set_store, console, is_json=is_json)


@dataset.command("list", short_help="List those that are kept.")
@as_json
def list_(*, is_json: bool) -> None:
    """List the training sets that are kept, the newest first."""
    with opened_shelf() as (console, set_store):
        from pedigree.cli.jobs.dataset_tables import listing
        from pedigree.jobs.training_sets.manifest import Manifest

        kept = set_store.manifests()
        if is_json:
            tell_json(list[Manifest], kept, console)
        elif kept:
            console.print(listing(kept))
        else:
            console.print("No training set is kept yet. Make one: pedigree dataset create SERVICE --entities …")


@dataset.command(short_help="Show what one is made of.")
@click.argument("reference", metavar="ID")
@as_json
def show(*, reference: str, is_json: bool) -> None:
    """Show what the training set ID is made of, and which runs wrote that."""
    with opened_shelf() as (console, set_store):
        from pedigree.datasets import manifest_of

        tell(manifest_of(reference, set_store), set_store, console, is_json=is_json)


@dataset.command(short_help="Hash the stored rows.")
@click.argument("references", nargs=-1, metavar="[ID]...")
@as_json
def verify(*, references: tuple[str, ...], is_json: bool) -> None:
    """Hash the stored rows of the training sets ID (all, where none is named), and look whether their versions are there."""
    with opened_shelf() as (console, set_store):
        from pedigree.cli.jobs.dataset_tables import verified
        from pedigree.jobs.training_sets.verification import VerificationResult
        from pedigree.jobs.training_sets.verification import verify as check

        found = [check(manifest, set_store) for manifest in named(references, set_store)]
        if is_json:
            tell_json(list[VerificationResult], found, console)
        else:
            tell_lines((line for each in found for line in verified(each)), console)
    fail_unless(all(each.is_whole and not each.gone for each in found))


@dataset.command(short_help="Compute some again and compare.")
@click.argument("references", nargs=-1, metavar="ID...", required=True)
@as_json
def rebuild(*, references: tuple[str, ...], is_json: bool) -> None:
    """Compute the training sets ID again from the versions they were cut from, and compare; broken rows are put back."""
    with opened() as (console, training_sets):
        from pedigree.cli.jobs.dataset_tables import rebuilt
        from pedigree.jobs.training_sets.service import Rebuilt
        from pedigree.jobs.training_sets.service import rebuild as again

        found = [again(manifest, training_sets) for manifest in named(references, training_sets.set_store)]
        if is_json:
            tell_json(list[Rebuilt], found, console)
        else:
            tell_lines((line for each in found for line in rebuilt(each)), console)
    fail_unless(all(each.is_same for each in found))


@dataset.command(short_help="Tell what changed between two.")
@click.argument("before", metavar="ID")
@click.argument("after", metavar="ID")
@as_json
def diff(*, before: str, after: str, is_json: bool) -> None:
    """Tell which sources, definitions, columns and rows changed from one training set to another."""
    with opened_shelf() as (console, set_store):
        from pedigree.cli.jobs.dataset_tables import differing
        from pedigree.cli.jobs.writers import changes
        from pedigree.datasets import manifest_of
        from pedigree.jobs.training_sets.difference import Difference, difference

        found = difference(manifest_of(before, set_store), manifest_of(after, set_store), set_store)
        if is_json:
            tell_json(Difference, found, console)
            return
        with lineage_client() as lineage:
            tell_lines(differing(found, changes(found.sources, lineage)), console)


@dataset.command(short_help="Let one go.")
@click.argument("reference", metavar="ID")
@click.confirmation_option(prompt="It cannot be brought back by its id. Let it go?")
def delete(*, reference: str) -> None:
    """Let a training set go, and with it the hold on the table versions that no other set needs."""
    with opened() as (console, training_sets):
        from pedigree.datasets import manifest_of
        from pedigree.jobs.training_sets.service import delete as let_go

        manifest = manifest_of(reference, training_sets.set_store)
        freed = let_go(manifest, training_sets)
        lines = [f"{manifest.label} is gone.", *(f"No set needs {uri} any more." for uri in freed)]
        tell_lines([*lines, "`pedigree vacuum` frees what it held."], console)


@click.command()
@click.argument("tables", nargs=-1)
@click.option("--retain", "days", type=click.FloatRange(min=0), default=7, show_default=True, help="Days to look back.")
@click.option("--dry-run", "is_dry_run", is_flag=True, help="Only say what would be freed.")
def vacuum(*, tables: tuple[str, ...], days: float, is_dry_run: bool) -> None:
    """Free the files of TABLES (all, where none is named) that neither the table nor any kept training set needs.

    Files that a table stopped needing less than --retain days ago stay. Says which training sets hold what.
    """
    with opened() as (console, training_sets):
        from pedigree.cli.jobs.dataset_tables import cleaned
        from pedigree.cli.jobs.vacuum import clean_tables
        from pedigree.features.repository import current_repository

        repository = current_repository()
        for found in clean_tables(
            tables, repository, training_sets.set_store, retention=timedelta(days=days), is_dry_run=is_dry_run
        ):
            tell_lines(cleaned(found, is_dry_run=is_dry_run), console)


@contextmanager
def opened() -> Iterator[tuple[Console, TrainingSetService]]:
    """A console, and the training sets of the configured feature store; Spark starts when it is needed."""
    from pedigree.cli.console import engines_to_log

    with engines_to_log() as console:
        from pedigree.cli.jobs.building import open_training_sets

        yield console, open_training_sets()


@contextmanager
def opened_shelf() -> Iterator[tuple[Console, TrainingSetStore]]:
    """A console, and the training sets that are kept; needs neither Spark nor the feature store."""
    from pedigree.cli.console import engines_to_log

    with engines_to_log() as console:
        from pedigree.features.lake import current_lake
        from pedigree.jobs.training_sets.store import TrainingSetStore

        yield console, TrainingSetStore(current_lake().datasets)


def lineage_client() -> LineageClient:
    """A client of the backend that the settings name."""
    from pedigree.lineage.client.client import LineageClient
    from pedigree.lineage.settings import lineage_settings

    return LineageClient(lineage_settings())


def named(references: Iterable[str], set_store: TrainingSetStore) -> list[Manifest]:
    """The sets of these ids; all, where none is named."""
    from pedigree.datasets import manifest_of

    return [manifest_of(reference, set_store) for reference in references] or set_store.manifests()


def tell(manifest: Manifest, set_store: TrainingSetStore, console: Console, *, is_json: bool) -> None:
    """One set, as a tree or as its manifest."""
    if is_json:
        console.print(manifest.to_json().rstrip(), markup=False, soft_wrap=True)
        return
    from pedigree.cli.jobs.dataset_tables import tree
    from pedigree.cli.jobs.writers import writers

    with lineage_client() as lineage:
        found = writers(manifest.ingredients.sources, lineage)
    console.print(tree(manifest, found, set_store.location(manifest.id)), soft_wrap=True)


def tell_kept(manifest: Manifest, set_store: TrainingSetStore, console: Console, *, is_json: bool) -> None:
    """A set that was just made: what it is made of, and how it is loaded."""
    tell(manifest, set_store, console, is_json=is_json)
    if not is_json:
        service = manifest.ingredients.definitions.service
        console.print(f'load it: training_set("{service}@{manifest.short_id}") of pedigree.datasets', markup=False)


def tell_json(kind: Any, found: Any, console: Console) -> None:
    """Any of the records, as JSON."""
    from pydantic import TypeAdapter

    console.print(TypeAdapter(kind).dump_json(found, indent=2).decode(), markup=False, soft_wrap=True)


def tell_lines(lines: Iterable[str], console: Console) -> None:
    """Plain lines."""
    for line in lines:
        console.print(line, markup=False, soft_wrap=True)


def fail_unless(is_good: bool) -> None:
    """End the command with 1 where something is not as it was; what it is has been told."""
    if not is_good:
        sys.exit(1)
