"""Where the Delta tables of a repository are, and the Feast source over one of them."""

from __future__ import annotations

from dataclasses import dataclass

from feast.infra.offline_stores.contrib.spark_offline_store.spark_source import SparkSource
from feast.table_format import DeltaFormat

from pedigree.features.columns import CREATED_AT, EVENT_AT
from pedigree.features.settings import repository_settings


@dataclass(frozen=True, slots=True)
class Lake:
    """The place of the Delta tables, as a URI that Spark can read (`file:`, `s3a:`, …), without a slash at its end."""

    uri: str

    def table(self, name: str) -> str:
        """The URI of one feature table."""
        return f"{self.uri}/{name}"

    def tiles(self, name: str) -> str:
        """The URI of the table that keeps the tiles of one feature table's windows."""
        return f"{self.uri}/tiles/{name}"

    def quarantine(self, name: str) -> str:
        """The URI of the table that keeps the rejected rows of one feature table."""
        return f"{self.uri}/quarantine/{name}"

    @property
    def datasets(self) -> str:
        """The URI of the folder that keeps the training sets."""
        return f"{self.uri}/datasets"


def current_lake() -> Lake:
    """The lake of the repository that the settings name."""
    return Lake(repository_settings().lake)


def delta_table(name: str, *, description: str = "") -> SparkSource:
    """A Feast source over the Delta table `name` of the repository's lake, with `event_at` and `created_at`."""
    return SparkSource(
        name=name,
        path=current_lake().table(name),
        table_format=DeltaFormat(),
        timestamp_field=EVENT_AT,
        created_timestamp_column=CREATED_AT,
        description=description,
    )
