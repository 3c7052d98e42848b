"""The Delta table behind each view. `event_at`: when the fact could be known; `created_at`: when we learnt it."""

from feast.infra.offline_stores.contrib.spark_offline_store.spark_source import SparkSource
from feast.table_format import DeltaFormat

from feature_repo.settings import repo_settings

EVENT_AT = "event_at"
CREATED_AT = "created_at"


def delta_table(name: str, *, description: str) -> SparkSource:
    """A Feast source over the Delta table `name` of the lake."""
    return SparkSource(
        name=name,
        path=repo_settings().table(name),
        table_format=DeltaFormat(),
        timestamp_field=EVENT_AT,
        created_timestamp_column=CREATED_AT,
        description=description,
    )
