"""What a retrieval looks up: for each view where its rows are, what they are called, and between which instants they matter."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from feast import FeatureView
from feast.feature_view import DUMMY_ENTITY_ID
from feast.infra.offline_stores import offline_utils
from feast.infra.offline_stores.contrib.spark_offline_store.spark_source import SparkSource
from feast.infra.registry.base_registry import BaseRegistry

from spark_jobs.entities import Labels
from spark_jobs.errors import EntityFrameError, UnsupportedSourceError


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
    """One question: the labels, the views, and whether what was learnt after a label's instant is hidden from it."""

    labels: Labels
    histories: Sequence[History]
    knowledge_time: bool


@dataclass(frozen=True, slots=True)
class Definitions:
    """What is asked for, in Feast's terms."""

    views: Sequence[FeatureView]
    refs: Sequence[str]
    registry: BaseRegistry
    project: str
    full_names: bool

    def join_keys(self) -> set[str]:
        """The columns that the labels must have."""
        keys: set[str] = offline_utils.get_expected_join_keys(self.project, self.views, self.registry)
        return keys - {DUMMY_ENTITY_ID}


def histories_of(asked: Definitions, labels: Labels, *, known_by: datetime | None) -> list[History]:
    """One history per view that is asked for.

    Raises:
        UnsupportedSourceError: a view has no Spark source.
        EntityFrameError: a feature would stand beside a column of the labels that has its name.
    """
    span = (labels.first_at, labels.last_at)
    contexts = offline_utils.get_feature_view_query_context(
        asked.refs, asked.views, asked.registry, asked.project, span
    )
    views = {view.projection.name_to_use(): view for view in asked.views}
    found = [
        history_of(context, views[context.name], labels, full_names=asked.full_names, known_by=known_by)
        for context in contexts
    ]
    taken = {labels.instant, *labels.keys}
    clashing = sorted(name for history in found for name in history.features if name in taken)
    if clashing:
        raise EntityFrameError(
            f"its columns {', '.join(clashing)} are features as well",
            "Rename them, or ask with full_feature_names=True.",
        )
    return found


def history_of(
    context: Any, view: FeatureView, labels: Labels, *, full_names: bool, known_by: datetime | None
) -> History:
    """A view as Feast's own context names its columns."""
    source = view.batch_source
    if not isinstance(source, SparkSource):
        raise UnsupportedSourceError(view.name, "its source is no SparkSource", "Declare it with one.")
    names = {column: context.field_mapping.get(column, column) for column in context.features}
    selections = zip(context.entity_selections, context.entities, strict=True)
    ttl = view.ttl or timedelta(0)
    return History(
        view=context.name,
        source=source,
        keys={selected.removesuffix(f" AS {key}"): key for selected, key in selections if key != DUMMY_ENTITY_ID},
        event_at=context.timestamp_field,
        created_at=context.created_timestamp_column or None,
        features={f"{context.name}__{name}" if full_names else name: column for column, name in names.items()},
        ttl=ttl,
        since=labels.first_at - ttl if ttl > timedelta(0) else None,
        until=labels.last_at,
        known_by=known_by,
    )
