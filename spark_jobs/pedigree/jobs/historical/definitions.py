"""What a retrieval looks up: for each view where its rows are, what they are called, and between which instants they matter."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from feast import FeatureView, FileSource, OnDemandFeatureView, RepoConfig
from feast.feature_view import DUMMY_ENTITY_ID
from feast.infra.offline_stores import offline_utils
from feast.infra.offline_stores.contrib.spark_offline_store.spark_source import SparkSource
from feast.infra.registry.base_registry import BaseRegistry
from feast.utils import _get_requested_feature_views_to_features_dict  # what every offline store of Feast's asks

from pedigree.features.file_table import spark_source
from pedigree.jobs.errors import EntityFrameError, UnsupportedSourceError
from pedigree.jobs.historical.entity_frame import Labels

UNREADABLE = "Declare it with delta_table of pedigree.features, or with Feast's FileSource over Parquet."

Span = tuple[datetime, datetime]
"""The first and the last instant, aware."""


@dataclass(frozen=True, slots=True)
class History:
    """The rows of one view, still unread.

    Attributes:
        view: what the view is called here.
        source: where its rows are.
        keys: for each column of the rows that is a key, the labels' column that it is compared with.
        event_at: when a row became true; rows without it are seen by nobody.
        created_at: when it was learnt; None where nobody wrote that down.
        features: the rows' columns by the names they get beside the labels.
        ttl: how old a row may be at the instant, that age included; zero is no limit.
        since, until: the oldest and the newest event time that some label can see; `since` is None where nothing is too old.
        known_by: what was learnt after this instant is seen by nobody; None where everything is.
        knowledge_time: whether a row is hidden from labels whose instant is before its `created_at`. That of Feast's
            `FileSource` only says which of two rows of one instant is the newer, unless the caller asks for more.
    """

    view: str
    source: SparkSource
    keys: Mapping[str, str]
    event_at: str
    created_at: str | None
    features: Mapping[str, str]
    ttl: timedelta
    since: datetime | None
    until: datetime
    known_by: datetime | None = None
    knowledge_time: bool = True

    @property
    def columns(self) -> tuple[str, ...]:
        """The columns that are read, each once."""
        times = [self.event_at, *([self.created_at] if self.created_at else [])]
        return tuple(dict.fromkeys([*self.keys, *times, *self.features.values()]))

    @property
    def partitions(self) -> tuple[tuple[str, str, str], ...]:
        """Bounds of the source's date partition, where it has one: column, comparison, value."""
        column, as_text = self.source.date_partition_column, self.source.date_partition_column_format
        if not column:
            return ()
        newest = (column, "<=", self.until.strftime(as_text))
        return (newest,) if self.since is None else (newest, (column, ">=", self.since.strftime(as_text)))


@dataclass(frozen=True, slots=True)
class Retrieval:
    """One question: the labels and the views."""

    labels: Labels
    histories: Sequence[History]


@dataclass(frozen=True, slots=True)
class RequestedFeatures:
    """What is asked for, in Feast's terms; `filter_by_created` hides rows from labels before they were created, of any source."""

    views: Sequence[FeatureView]
    refs: Sequence[str]
    registry: BaseRegistry
    config: RepoConfig
    full_names: bool
    filter_by_created: bool = False

    @property
    def project(self) -> str:
        """Feast's project."""
        return str(self.config.project)

    def join_keys(self) -> set[str]:
        """The columns that the labels must have."""
        keys: set[str] = offline_utils.get_expected_join_keys(self.project, self.views, self.registry)
        return keys - {DUMMY_ENTITY_ID}


def histories_of(asked: RequestedFeatures, span: Span, *, known_by: datetime | None) -> list[History]:
    """One history per view that is asked for, for labels whose instants are within `span`.

    Raises:
        UnsupportedSourceError: a view has no Spark source.
    """
    on_demand = OnDemandFeatureView.get_requested_odfvs(asked.refs, asked.project, asked.registry)
    wanted, _ = _get_requested_feature_views_to_features_dict(asked.refs, asked.views, on_demand)
    return [history_of(view, features, span, asked, known_by=known_by) for view, features in wanted.items()]


def refuse_clashes(histories: Sequence[History], labels: Labels) -> None:
    """Let no feature stand beside a column of the labels that has its name.

    Raises:
        EntityFrameError: one would.
    """
    taken = {name.lower() for name in (labels.instant, *labels.keys)}
    clashing = sorted(name for history in histories for name in history.features if name.lower() in taken)
    if clashing:
        raise EntityFrameError(
            f"its columns {', '.join(clashing)} are features as well",
            "Rename them, or ask with full_feature_names=True.",
        )


def history_of(
    view: FeatureView, features: Sequence[str], span: Span, asked: RequestedFeatures, *, known_by: datetime | None
) -> History:
    """A view with the features that are asked for, each column under its name in the source."""
    source = view.batch_source
    is_file = isinstance(source, FileSource)
    if is_file:
        source = spark_source(source, asked.config)
    if not isinstance(source, SparkSource):
        raise UnsupportedSourceError(view.name, f"its source is a {type(source).__name__}", UNREADABLE)
    stored_as = {name: column for column, name in source.field_mapping.items()}
    keys = [column.name for column in view.entity_columns if column.name != DUMMY_ENTITY_ID]
    name, ttl = view.projection.name_to_use(), limit_of(view.ttl, span[1])
    return History(
        view=name,
        source=source,
        keys={stored_as.get(key, key): view.projection.join_key_map.get(key, key) for key in keys},
        event_at=stored_as.get(source.timestamp_field, source.timestamp_field),
        created_at=stored_as.get(source.created_timestamp_column, source.created_timestamp_column) or None,
        features={f"{name}__{each}" if asked.full_names else each: stored_as.get(each, each) for each in features},
        ttl=ttl,
        since=earliest(span[0], ttl),
        until=span[1],
        known_by=known_by,
        knowledge_time=asked.filter_by_created or (asked.config.offline_store.knowledge_time and not is_file),
    )


def limit_of(ttl: timedelta | None, last: datetime) -> timedelta:
    """A ttl as it matters up to an instant; 0 where it is none, or so long that no time is too old."""
    is_limit = ttl is not None and timedelta(0) < ttl < last - datetime.min.replace(tzinfo=UTC)
    return ttl if ttl is not None and is_limit else timedelta(0)


def earliest(first: datetime, ttl: timedelta) -> datetime | None:
    """The oldest event time that a label sees; None where there is no limit."""
    if ttl <= timedelta(0):
        return None
    return max(first, datetime.min.replace(tzinfo=UTC) + ttl) - ttl
