"""Training sets as people read them: tables, trees and lines."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from typing import TYPE_CHECKING

from rich.table import Table
from rich.tree import Tree

if TYPE_CHECKING:
    from pedigree.jobs.training_sets.difference import ColumnChange, Difference, SourceChange
    from pedigree.jobs.training_sets.manifest import Manifest, TableVersion
    from pedigree.jobs.training_sets.retention import Cleaned
    from pedigree.jobs.training_sets.service import Rebuilt
    from pedigree.jobs.training_sets.verification import VerificationResult
    from pedigree.lineage.client.records import RunRecord


def listing(manifests: Sequence[Manifest]) -> Table:
    """One line per set, the newest first."""
    table = Table("id", "name", "service", "rows", "features", "made", "known by", "tables", box=None, padding=(0, 2))
    for manifest in manifests:
        made_of = manifest.ingredients
        table.add_row(
            manifest.short_id,
            manifest.name,
            made_of.definitions.service,
            f"{manifest.content.rows:,}",
            str(len(manifest.features)),
            stamp(manifest.created_at),
            stamp(made_of.known_by),
            ", ".join(f"{source.name}@{source.version}" for source in made_of.sources),
        )
    return table


def tree(manifest: Manifest, writers: Mapping[str, RunRecord], location: str) -> Tree:
    """What a set is made of."""
    made_of = manifest.ingredients
    root = Tree(f"[bold]{manifest.name}[/bold] @ {manifest.id}")
    root.add(f"rows          {manifest.content.rows:,}, content {manifest.content.hash[:12]}…, in {location}")
    root.add(f"made          {stamp(manifest.created_at)} by run {manifest.run_id}")
    root.add(f"known by      {stamp(made_of.known_by)}")
    entities = made_of.entities
    root.add(f"entities      {entities.content.rows:,} from {entities.origin}, as of {entities.instant}")
    service = root.add(f"service       {made_of.definitions.service}: {len(manifest.features)} features")
    for view in made_of.definitions.views:
        service.add(f"{view.shown_as}: {', '.join(view.features)}")
    for computed in made_of.definitions.on_demand:
        service.add(f"{computed.name}: {', '.join(computed.features)} (computed on demand)")
    for source in made_of.sources:
        root.add(f"Delta table   {source.uri} @ version {source.version}{written(writers.get(source.uri))}")
    packages = ", ".join(f"{name} {version}" for name, version in made_of.code.packages.items())
    root.add(f"code          {packages}, {len(made_of.code.modules)} modules by their hash")
    return root


def written(run: RunRecord | None) -> str:
    """Who wrote a version, as far as is known."""
    return f", written by run {run.id} ({run.job})" if run else ""


def verified(found: VerificationResult) -> Iterator[str]:
    """What a look at the stored rows and the table versions said."""
    name = found.manifest.label
    if found.is_whole:
        yield f"{name}  whole: {found.manifest.content.rows:,} rows have the content {found.manifest.content.hash[:12]}…"
    for broken in found.broken:
        yield f"{name}  BROKEN: {broken} is not what it was"
    for lost in found.lost:
        yield f"{name}  LOST: {lost}"
    for version in found.gone:
        yield f"{name}  cannot be computed again: {version}. Bring the table's files back from a backup."


def rebuilt(found: Rebuilt) -> Iterator[str]:
    """What came of computing a set again."""
    name = found.manifest.label
    if found.code:
        yield f"{name}  the code has changed since it was made: {', '.join(found.code)}"
    if found.is_same:
        yield f"{name}  identical: {found.content.rows:,} rows have the content {found.content.hash[:12]}…"
    else:
        yield f"{name}  NOT IDENTICAL: content {found.content.hash[:12]}…, was {found.manifest.content.hash[:12]}…"
    if found.put_back:
        yield f"{name}  the stored rows were broken and have been put back"
    for each in found.mismatches:
        first = f", the first is row {each.position}: {each.was} → {each.now}" if each.rows else ""
        yield f"  {each.column}  {each.what or f'{each.rows:,} rows differ{first}'}"


def differing(found: Difference, runs: Mapping[str, Mapping[int, RunRecord]]) -> Iterator[str]:
    """What changed between two sets, line by line."""
    yield f"{found.before.label} → {found.after.label}"
    for source in found.sources:
        yield from source_lines(source, runs.get(source.uri, {}))
    yield from (f"  definition    {name}" for name in found.definitions)
    yield from (f"  code          {name}" for name in found.code)
    if found.entities:
        yield "  entities      another entity set"
    if found.known_by:
        yield f"  known by      {found.known_by[0]} → {found.known_by[1]}"
    yield from (f"  column        + {name}" for name in found.columns_added)
    yield from (f"  column        - {name}" for name in found.columns_removed)
    rows = found.rows
    yield f"  rows          {rows.added:,} added, {rows.removed:,} removed, {rows.changed:,} changed, {rows.same:,} the same"
    for column in found.columns:
        yield from column_lines(column)
    if found.is_empty:
        yield "  Both have the same content."


def source_lines(change: SourceChange, runs: Mapping[int, RunRecord]) -> Iterator[str]:
    """A table in two versions, with the runs that wrote the versions between them."""
    yield f"  source        {change.uri}  {at(change.before)} → {at(change.after)}"
    for version, run in runs.items():
        yield f"                version {version} by run {run.id} ({run.job}, {stamp(run.ended_at)})"


def at(version: TableVersion | None) -> str:
    """A version in words."""
    return "not read" if version is None else f"version {version.version}"


def column_lines(column: ColumnChange) -> Iterator[str]:
    """A column with other values, and some of them."""
    yield f"  {column.column}  {column.rows:,} changed"
    for example in column.examples:
        row = " ".join(f"{name}={value}" for name, value in example.row)
        yield f"    {row}: {example.before} → {example.after}"


def cleaned(found: Cleaned, *, is_dry_run: bool) -> Iterator[str]:
    """What left a table's folder, and what is held for whom."""
    would = "would free" if is_dry_run else "freed"
    yield f"{found.uri}: {would} {found.files:,} files, {size(found.size)}"
    for each in found.held:
        sets = ", ".join(holder.label for holder in each.sets)
        yield f"  version {each.version} is held for {sets}: {each.files:,} files, {size(each.size)}"


def size(number: int) -> str:
    """Bytes for people."""
    for unit, bytes_each in (("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if number >= bytes_each:
            return f"{number / bytes_each:.1f} {unit}"
    return f"{number} bytes"


def stamp(instant: datetime | None) -> str:
    """An instant for people, in UTC."""
    return f"{instant:%Y-%m-%d %H:%M:%S} UTC" if instant else "unknown"
