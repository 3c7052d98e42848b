"""What a job tells lineage about what it read and wrote."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Set
from typing import TYPE_CHECKING

from feast import FeatureView
from pyspark.sql.types import StructType

from pedigree.features.columns import created_column
from pedigree.features.events import SourceColumn
from pedigree.features.file_table import FileTable
from pedigree.features.table import ExternalTable, FeatureTable, Table, TransformTable
from pedigree.jobs.build.row_reconciliation import RowCounts
from pedigree.jobs.build.verdict import BROKEN_RULES, Verdict
from pedigree.jobs.conform import promised
from pedigree.jobs.delta_tables import PUBLISHED, RUN_ID, SLICE_AT
from pedigree.jobs.sources.reader import SourceRead
from pedigree.jobs.windows.operations import partials_for
from pedigree.lineage.dataset import Assertion, Dataset, Field, Origin
from pedigree.lineage.naming import at_path
from pedigree.lineage.recorder import JSON

if TYPE_CHECKING:
    from pedigree.jobs.build.build_report import BuildReport, Tiles
    from pedigree.jobs.delta_tables import Commit


def read_by(report: BuildReport) -> Iterator[Dataset]:
    """What a build read."""
    for name, rows in report.source_rows.items():
        yield source_dataset(report.sources[name], rows=rows)
    if report.tiles is not None and report.tiles_read is not None:
        yield tiles_dataset(report, report.tiles, version=report.tiles_read)
    if report.audited is not None:
        yield audited_dataset(report)


def written_by(report: BuildReport) -> Iterator[Dataset]:
    """What a build wrote."""
    if report.quarantined is not None:
        yield quarantine_dataset(report, report.quarantined)
    if report.published is not None:
        yield table_dataset(report, report.published)
    if report.tiles is not None and report.tiles_written is not None:
        yield tiles_dataset(report, report.tiles, version=report.tiles_written)


def source_dataset(source: SourceRead, *, rows: int) -> Dataset:
    """A source file in the version that was read."""
    return Dataset(
        name=source.dataset,
        fields=fields_of(source.rows.schema),
        version=source.version,
        rows=rows,
        description=source.source.description,
    )


def table_dataset(report: BuildReport, commit: Commit) -> Dataset:
    """A feature table in the version that was written, with the verdict that let it pass."""
    table = report.table
    return Dataset(
        name=at_path(report.uri),
        fields=(*view_fields(table.view), Field(created_column(table.view), "timestamp", "When the row was learnt")),
        version=str(commit.version),
        rows=commit.rows,
        origins=origins(report),
        assertions=assertions(report.verdict),
        description=table.view.description,
    )


def audited_dataset(report: BuildReport) -> Dataset:
    """Somebody else's table in the version that was audited, with the verdict."""
    verdict = report.verdict
    return Dataset(
        name=at_path(report.uri),
        fields=view_fields(report.table.view),
        version=str(report.audited),
        rows=None if verdict is None else verdict.rows,
        assertions=assertions(verdict),
        description=report.table.view.description,
    )


def tiles_dataset(report: BuildReport, tiles: Tiles, *, version: int) -> Dataset:
    """The tiles of a table's windows in the version that was read or written."""
    table = tiles.table
    made_of = {key: table.columns[key] for key in table.windows.keys}
    made_of |= {partial.name: table.events.columns[partial.of] for partial in partials_for(table.windows)}
    aggregated = {name for name in made_of if name not in table.windows.keys}
    return Dataset(
        name=at_path(tiles.uri),
        fields=tiles.fields,
        version=str(version),
        origins=column_origins(made_of, report.sources, aggregated=aggregated),
        description=f"What the windows of {table.name} are made of, tile by tile",
    )


def quarantine_dataset(report: BuildReport, commit: Commit) -> Dataset:
    """The refused rows of a table, with the verdict where it stopped the whole slice."""
    table, verdict = report.table, report.verdict
    marks = (
        Field(created_column(table.view), "timestamp", "When the row was computed"),
        Field(BROKEN_RULES, "array<string>", "The rules that the row broke"),
        Field(SLICE_AT, "timestamp", "The event time, or the slice's start where there is none"),
        Field(RUN_ID, "string", "The run that refused the row"),
        Field(PUBLISHED, "boolean", "Whether the rest of the slice was published"),
    )
    stopped = verdict if verdict is not None and not verdict.passed else None
    return Dataset(
        name=at_path(report.quarantine),
        fields=(*view_fields(table.view), *marks),
        version=str(commit.version),
        rows=commit.rows,
        origins=origins(report),
        assertions=assertions(stopped),
        description=f"Rows that the gate of {table.name} refused",
    )


def view_fields(view: FeatureView) -> tuple[Field, ...]:
    """The columns that a view promises, as lineage has them."""
    described = {field.name: field.description for field in view.schema}
    return tuple(Field(name, dtype.simpleString(), described.get(name, "")) for name, dtype in promised(view).items())


def fields_of(schema: StructType) -> tuple[Field, ...]:
    """The columns of a Spark schema, as lineage has them."""
    return tuple(Field(field.name, field.dataType.simpleString()) for field in schema)


def origins(report: BuildReport) -> dict[str, tuple[Origin, ...]]:
    """The source columns behind each column. Windows aggregate rows; keys, event times and transforms are made row by row."""
    table = report.table
    if isinstance(table, ExternalTable):
        return {name: (Origin(at_path(report.uri), name, "identity"),) for name in promised(table.view)}
    if isinstance(table, FileTable):
        return {name: (Origin(at_path(table.file), name, "identity"),) for name in promised(table.view)}
    aggregated = {field.name for field in table.view.features} if isinstance(table, Table) else set()
    return column_origins(columns_of(table), report.sources, aggregated=aggregated)


def columns_of(table: FeatureTable) -> Mapping[str, tuple[SourceColumn, ...]]:
    """The source columns of each column, as the table declares them."""
    return table.columns if isinstance(table, Table | TransformTable) else {}


def column_origins(
    made_of: Mapping[str, tuple[SourceColumn, ...]], sources: Mapping[str, SourceRead], *, aggregated: Set[str]
) -> dict[str, tuple[Origin, ...]]:
    """Columns of sources by name as columns of the places that were read."""
    return {
        column: tuple(
            Origin(sources[source].dataset, field, "aggregation" if column in aggregated else "transformation")
            for source, field in origins
        )
        for column, origins in made_of.items()
    }


def assertions(verdict: Verdict | None) -> tuple[Assertion, ...]:
    """The verdict, rule by rule; nothing where there is none."""
    if verdict is None:
        return ()
    return tuple(
        Assertion(rule=rule.name, held=rule.held, column=rule.column, broken_rows=rule.broken_rows, detail=rule.detail)
        for rule in verdict.rules
    )


def rows_note(rows: RowCounts) -> dict[str, JSON]:
    """How many rows became what, as a run facet."""
    totals: dict[str, JSON] = {
        "sources": dict(rows.sources),
        "computed": rows.computed,
        "published": rows.published,
        "quarantined": rows.quarantined,
    }
    if not rows.events.counts:
        return totals
    places = {f"{place}_{outcome}": count for (place, outcome), count in sorted(rows.events.counts.items())}
    return {"events": rows.events.total, **totals, "eventsByPlace": places, "setAside": dict(rows.events.set_aside)}
