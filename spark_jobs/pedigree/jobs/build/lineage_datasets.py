"""What a job tells lineage about what it read and wrote."""

from __future__ import annotations

from collections.abc import Mapping, Set

from feast import FeatureView
from pyspark.sql.types import StructType

from pedigree.features.columns import CREATED_AT
from pedigree.features.events import SourceColumn
from pedigree.features.table import Table
from pedigree.jobs.build.row_reconciliation import RowCounts
from pedigree.jobs.build.verdict import BROKEN_FACTS, Verdict
from pedigree.jobs.conform import promised
from pedigree.jobs.delta_tables import PUBLISHED, RUN_ID, SLICE_AT
from pedigree.jobs.sources.reader import SourceRead
from pedigree.jobs.windows.operations import partials_for
from pedigree.lineage.dataset import Assertion, Dataset, Field, Origin
from pedigree.lineage.naming import at_path
from pedigree.lineage.recorder import JSON


def source_dataset(source: SourceRead, *, rows: int) -> Dataset:
    """A source file in the version that was read."""
    return Dataset(
        name=at_path(source.uri),
        fields=fields_of(source.rows.schema),
        version=source.version,
        rows=rows,
        description=source.source.description,
    )


def table_dataset(
    table: Table, uri: str, sources: Mapping[str, SourceRead], *, version: int, rows: int, verdict: Verdict
) -> Dataset:
    """A feature table in the version that was written, with the verdict that let it pass."""
    return Dataset(
        name=at_path(uri),
        fields=(*view_fields(table.view), Field(CREATED_AT, "timestamp", "When the row was learnt")),
        version=str(version),
        rows=rows,
        origins=origins(table, sources),
        assertions=assertions(verdict),
        description=table.view.description,
    )


def tiles_dataset(
    table: Table, uri: str, sources: Mapping[str, SourceRead], fields: tuple[Field, ...], *, version: int | None
) -> Dataset:
    """The tiles of a table's windows in the version that was read or written."""
    made_of = {key: table.columns[key] for key in table.windows.keys}
    made_of |= {partial.name: table.events.columns[partial.of] for partial in partials_for(table.windows)}
    return Dataset(
        name=at_path(uri),
        fields=fields,
        version=str(version),
        origins=column_origins(
            made_of, sources, aggregated={name for name in made_of if name not in table.windows.keys}
        ),
        description=f"What the windows of {table.name} are made of, tile by tile",
    )


def quarantine_dataset(
    table: Table, uri: str, sources: Mapping[str, SourceRead], *, version: int, rows: int, verdict: Verdict | None
) -> Dataset:
    """The refused rows of a table; `verdict` is given where it stopped the whole slice."""
    marks = (
        Field(CREATED_AT, "timestamp", "When the row was computed"),
        Field(BROKEN_FACTS, "array<string>", "The facts that the row broke"),
        Field(SLICE_AT, "timestamp", "The event time, or the slice's start where there is none"),
        Field(RUN_ID, "string", "The run that refused the row"),
        Field(PUBLISHED, "boolean", "Whether the rest of the slice was published"),
    )
    return Dataset(
        name=at_path(uri),
        fields=(*view_fields(table.view), *marks),
        version=str(version),
        rows=rows,
        origins=origins(table, sources),
        assertions=assertions(verdict) if verdict else (),
        description=f"Rows that the gate of {table.name} refused",
    )


def view_fields(view: FeatureView) -> tuple[Field, ...]:
    """The columns that a view promises, as lineage has them."""
    described = {field.name: field.description for field in view.schema}
    return tuple(Field(name, dtype.simpleString(), described.get(name, "")) for name, dtype in promised(view).items())


def fields_of(schema: StructType) -> tuple[Field, ...]:
    """The columns of a Spark schema, as lineage has them."""
    return tuple(Field(field.name, field.dataType.simpleString()) for field in schema)


def origins(table: Table, sources: Mapping[str, SourceRead]) -> dict[str, tuple[Origin, ...]]:
    """The source columns behind each column. Features aggregate rows; keys and event times transform one."""
    return column_origins(table.columns, sources, aggregated={field.name for field in table.view.features})


def column_origins(
    made_of: Mapping[str, tuple[SourceColumn, ...]], sources: Mapping[str, SourceRead], *, aggregated: Set[str]
) -> dict[str, tuple[Origin, ...]]:
    """Columns of sources by name as columns of the places that were read."""
    return {
        column: tuple(
            Origin(at_path(sources[source].uri), field, "aggregation" if column in aggregated else "transformation")
            for source, field in origins
        )
        for column, origins in made_of.items()
    }


def assertions(verdict: Verdict) -> tuple[Assertion, ...]:
    """The verdict, fact by fact."""
    return tuple(
        Assertion(fact=fact.name, held=fact.held, column=fact.column, broken_rows=fact.broken_rows, detail=fact.detail)
        for fact in verdict.facts
    )


def account_note(rows: RowCounts) -> dict[str, JSON]:
    """A build's row account as a run facet."""
    places = {f"{place}_{outcome}": count for (place, outcome), count in sorted(rows.facts.counts.items())}
    totals = {
        "facts": rows.facts.total,
        "computed": rows.computed,
        "published": rows.published,
        "quarantined": rows.quarantined,
    }
    return {**totals, "factsByPlace": places, "setAside": dict(rows.facts.set_aside)}
