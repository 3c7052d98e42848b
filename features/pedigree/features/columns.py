"""The two instants that every row of a feature table has, and what a table calls the columns of its view."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from feast import FeatureView

EVENT_AT = "event_at"
"""When the row became true: the instant at which it could be known."""

CREATED_AT = "created_at"
"""When we learnt it: the start of the run that wrote it."""


def event_column(view: FeatureView) -> str:
    """The table's column with the event time: the `timestamp_field` of the view's source."""
    return str(view.batch_source.timestamp_field or EVENT_AT)


def created_column(view: FeatureView) -> str:
    """The table's column with the created time: the `created_timestamp_column` of the view's source, or `created_at`."""
    return str(view.batch_source.created_timestamp_column or CREATED_AT)


def stored_names(view: FeatureView) -> dict[str, str]:
    """The table's column for each name of the view that the source's `field_mapping` maps."""
    return {name: column for column, name in (view.batch_source.field_mapping or {}).items()}
