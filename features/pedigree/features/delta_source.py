"""The Feast source over a Delta table of the repository's lake."""

from __future__ import annotations

from feast.infra.offline_stores.contrib.spark_offline_store.spark_source import SparkSource
from feast.table_format import DeltaFormat

from pedigree.features.columns import CREATED_AT, EVENT_AT
from pedigree.features.lake import current_lake


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
