"""Feast's own objects, as the store needs them: a view's layout, the front of its keys, and whether it can be stored at all."""

from __future__ import annotations

from feast import FeatureView, Field
from feast.feature_view import DUMMY_ENTITY_ID

from pedigree.online.errors import UnstorableViewError
from pedigree.online.plans.plan import Feature, JoinKey
from pedigree.online.plans.storable import type_name, unstorable
from pedigree.online.records.record import Schema
from pedigree.online.store import redis_keys


def schema_of(table: FeatureView) -> Schema:
    """The layout of a view's records."""
    return Schema.of((feature.name, type_of_field(feature)) for feature in table.features)


def prefix_of(project: str, table: FeatureView) -> bytes:
    """What the keys of a view's entities start with."""
    return redis_keys.entity_prefix(project, sorted(key for key in table.join_keys if key != DUMMY_ENTITY_ID))


def problem_of(table: FeatureView) -> str | None:
    """Why a view cannot be stored; None where it can."""
    columns = [column for column in getattr(table, "entity_columns", ()) if column.name != DUMMY_ENTITY_ID]
    keys = [JoinKey(column.name, column.name, type_of_field(column)) for column in columns]
    return unstorable(table.name, keys, [Feature(one.name, type_of_field(one)) for one in table.features])


def refuse_unstorable(table: FeatureView) -> None:
    """Raise where a view cannot be stored.

    Raises:
        UnstorableViewError: its name or its types are not among those that can.
    """
    problem = problem_of(table)
    if problem is not None:
        raise UnstorableViewError(table.name, problem)


def type_of_field(column: Field) -> str:
    """The name of the type that a column is stored as."""
    return type_name(column.dtype.to_value_type().value)
