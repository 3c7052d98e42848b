"""Where the vectors that a feature service gave out are kept: a Delta table, in Feast's own logging."""

from __future__ import annotations

from feast.data_source import DataSource
from feast.feature_logging import LOG_TIMESTAMP_FIELD, LoggingDestination
from feast.infra.offline_stores.contrib.spark_offline_store.spark_source import SparkSource
from feast.protos.feast.core.FeatureService_pb2 import LoggingConfig as LoggingConfigProto
from feast.table_format import DeltaFormat


class DeltaLoggingDestination(LoggingDestination):  # type: ignore[misc]  # Feast has no types
    """The Delta table at the URI `path`; `FeatureService(…, logging_config=LoggingConfig(DeltaLoggingDestination(path=…)))`."""

    _proto_kind = "delta"

    def __init__(self, *, path: str) -> None:
        self.path = path

    @classmethod
    def from_proto(cls, config_proto: LoggingConfigProto) -> DeltaLoggingDestination:
        """As it stands in the registry."""
        return cls(path=config_proto.custom_destination.config["path"])

    def to_proto(self) -> LoggingConfigProto:
        """For the registry."""
        custom = LoggingConfigProto.CustomDestination(kind=self._proto_kind, config={"path": self.path})
        return LoggingConfigProto(custom_destination=custom)

    def to_data_source(self) -> DataSource:
        """What the logs are read by."""
        return SparkSource(
            name="logged_features",
            path=self.path,
            table_format=DeltaFormat(),
            timestamp_field=LOG_TIMESTAMP_FIELD,
        )
