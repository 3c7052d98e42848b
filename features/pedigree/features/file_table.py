"""A view over a Parquet file by Feast's `FileSource`. Its rows are copied into the lake, where they have versions."""

from __future__ import annotations

import copy
from dataclasses import dataclass
from typing import TYPE_CHECKING

from feast import FeatureView, FileSource, RepoConfig
from feast.data_format import DeltaFormat as DeltaFileFormat
from feast.infra.offline_stores.contrib.spark_offline_store.spark_source import SparkSource
from feast.table_format import DeltaFormat

from pedigree.features.settings import RepositorySettings, repository_settings, uri
from pedigree.features.table import FeatureTable

if TYPE_CHECKING:
    from feast.data_source import DataSource


@dataclass(frozen=True, slots=True)
class FileTable(FeatureTable):
    """The Delta table that is a copy of a Parquet file or folder. Each build replaces all of it.

    Attributes:
        view: over the copy, not over the file.
        file: the URI of the file or folder.
    """

    file: str


def file_table(copied: FeatureView, file: str) -> FileTable:
    """The table that `copied`, a view over it, reads."""
    from pedigree.features.contract import (
        presence,  # Great Expectations takes seconds, and an unchanged file needs none
    )

    return FileTable(copied, presence(copied), file)


def copied_view(view: FeatureView, settings: RepositorySettings) -> FeatureView:
    """The view over the copy of its file in the lake."""
    source = view.batch_source
    copied = copy.copy(view)
    copied.batch_source = SparkSource(
        name=source.name,
        path=f"{settings.lake}/{view.name}",
        table_format=DeltaFormat(),
        timestamp_field=source.timestamp_field,
        created_timestamp_column=source.created_timestamp_column,
        field_mapping=source.field_mapping,
    )
    return copied


def is_parquet_file(source: DataSource) -> bool:
    """True for a `FileSource` over Parquet, which is Feast's default."""
    return isinstance(source, FileSource) and not isinstance(source.file_format, DeltaFileFormat)


def file_uri(source: FileSource, config: RepoConfig) -> str:
    """Where a source's file is; a path is relative to the folder of `feature_store.yaml`."""
    return uri(source.path, config.repo_path or repository_settings().folder)


def spark_source(source: DataSource, config: RepoConfig) -> DataSource:
    """A `FileSource` as the Spark source over the same files; every other source as it is."""
    if not isinstance(source, FileSource):
        return source
    is_delta = isinstance(source.file_format, DeltaFileFormat)
    return SparkSource(
        name=source.name,
        path=file_uri(source, config),
        file_format=None if is_delta else "parquet",
        table_format=DeltaFormat() if is_delta else None,
        timestamp_field=source.timestamp_field,
        created_timestamp_column=source.created_timestamp_column,
        field_mapping=source.field_mapping,
    )
