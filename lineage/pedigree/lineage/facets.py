"""From what a job says about a dataset to OpenLineage's facets. Pure."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Mapping
from importlib.metadata import PackageNotFoundError, version
from typing import Any, cast

from openlineage.client import facet_v2 as ol
from openlineage.client.event_v2 import InputDataset, OutputDataset

from pedigree.lineage.dataset import Assertion, Dataset, Origin
from pedigree.lineage.naming import DatasetName

try:
    VERSION = version("pedigree-feature-store")
except PackageNotFoundError:
    VERSION = "0"
PRODUCER = f"urn:pedigree:feature-store:{VERSION}"


def input_dataset(dataset: Dataset) -> InputDataset:
    """A dataset as a run's input."""
    statistics = ol.input_statistics_input_dataset.InputStatisticsInputDatasetFacet
    facets = {} if dataset.rows is None else {"inputStatistics": statistics(rowCount=dataset.rows, producer=PRODUCER)}
    name = dataset.name
    return InputDataset(name.namespace, name.name, cast(Any, facets), facets=dataset_facets(dataset))


def output_dataset(dataset: Dataset) -> OutputDataset:
    """A dataset as a run's output."""
    statistics = ol.output_statistics_output_dataset.OutputStatisticsOutputDatasetFacet
    facets = {} if dataset.rows is None else {"outputStatistics": statistics(rowCount=dataset.rows, producer=PRODUCER)}
    name = dataset.name
    return OutputDataset(name.namespace, name.name, cast(Any, facets), facets=dataset_facets(dataset))


def dataset_facets(dataset: Dataset) -> dict[str, ol.DatasetFacet]:
    """The facets that hold for reading and writing alike; what was not said is left out."""
    facets: dict[str, ol.BaseFacet] = {
        "dataSource": ol.datasource_dataset.DatasourceDatasetFacet(
            name=dataset.name.namespace, uri=dataset.name.namespace, producer=PRODUCER
        )
    }
    if dataset.fields:
        facets["schema"] = schema(dataset)
    if dataset.version is not None:
        facets["version"] = ol.dataset_version_dataset.DatasetVersionDatasetFacet(dataset.version, producer=PRODUCER)
    if dataset.origins:
        facets["columnLineage"] = column_lineage(dataset.origins)
    if dataset.assertions:
        facets["dataQualityAssertions"] = verdicts(dataset.assertions)
    if dataset.description:
        facets["documentation"] = ol.documentation_dataset.DocumentationDatasetFacet(
            dataset.description, producer=PRODUCER
        )
    if dataset.alias is not None:
        facets["symlinks"] = symlink(dataset.alias)
    return cast("dict[str, ol.DatasetFacet]", facets)


def schema(dataset: Dataset) -> ol.BaseFacet:
    """Columns in their order."""
    of_schema = ol.schema_dataset
    fields = [
        of_schema.SchemaDatasetFacetFields(
            field.name, type=field.type, description=field.description or None, ordinal_position=position
        )
        for position, field in enumerate(dataset.fields, start=1)
    ]
    return of_schema.SchemaDatasetFacet(fields=fields, producer=PRODUCER)


def column_lineage(origins: Mapping[str, Iterable[Origin]]) -> ol.BaseFacet:
    """What each column is made of; every origin is direct, its kind is the subtype."""
    of_columns = ol.column_lineage_dataset
    fields = {
        column: of_columns.Fields(
            [
                of_columns.InputField(
                    origin.dataset.namespace,
                    origin.dataset.name,
                    origin.field,
                    [of_columns.Transformation("DIRECT", subtype=origin.kind.upper())],
                )
                for origin in made_of
            ]
        )
        for column, made_of in origins.items()
    }
    return of_columns.ColumnLineageDatasetFacet(fields, producer=PRODUCER)


def verdicts(assertions: Iterable[Assertion]) -> ol.BaseFacet:
    """The quality gate's findings; the count of broken rows travels in `params`, the detail as the description."""
    of_quality = ol.data_quality_assertions_dataset
    found = [
        of_quality.Assertion(
            assertion.rule,
            assertion.held,
            column=assertion.column,
            description=assertion.detail or None,
            params={"broken_rows": assertion.broken_rows},
        )
        for assertion in assertions
    ]
    return of_quality.DataQualityAssertionsDatasetFacet(found, producer=PRODUCER)


def symlink(alias: DatasetName) -> ol.BaseFacet:
    """Another name of the same place."""
    of_symlinks = ol.symlinks_dataset
    identifier = of_symlinks.Identifier(alias.namespace, alias.name, "TABLE")
    return of_symlinks.SymlinksDatasetFacet(identifiers=[identifier], producer=PRODUCER)


def engine() -> ol.RunFacet:
    """What computes in this process: Spark if somebody has loaded it, Python otherwise."""
    spark = sys.modules.get("pyspark")
    name, number = ("spark", spark.__version__) if spark else ("python", sys.version.split()[0])
    return ol.processing_engine_run.ProcessingEngineRunFacet(
        version=number, name=name, openlineageAdapterVersion=VERSION, producer=PRODUCER
    )


def custom(name: str, values: Mapping[str, Any]) -> dict[str, Any]:
    """A run facet of ours: any JSON values, marked as the specification wants it."""
    return {**values, "_producer": PRODUCER, "_schemaURL": f"urn:pedigree:facet:{name}:1"}


def versions(datasets: Iterable[Dataset]) -> list[dict[str, str]]:
    """Which version of which dataset, as `pedigree_io` lists them; a version that was not said is left out."""
    return [
        {
            "namespace": dataset.name.namespace,
            "name": dataset.name.name,
            **({} if dataset.version is None else {"version": dataset.version}),
        }
        for dataset in datasets
    ]
