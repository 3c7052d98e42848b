"""What a service or an on-demand view takes of a feature view."""

from __future__ import annotations

from dataclasses import replace

from feast.protos.feast.core.Feature_pb2 import FeatureSpecV2
from feast.protos.feast.core.FeatureViewProjection_pb2 import FeatureViewProjection
from feast.protos.feast.types.Value_pb2 import ValueType

from online.plan import View


def part_of(view: View, part: FeatureViewProjection) -> View:
    """What is taken of `view`, under the names that who takes it gives."""
    renamed = part.join_key_map
    keys = tuple(replace(key, name=renamed.get(key.stored_as, key.name)) for key in view.keys)
    by_name = {feature.name: feature for feature in view.features}
    features = tuple(by_name[column.name] for column in part.feature_columns)
    return replace(view, name=part.feature_view_name_alias or view.name, keys=keys, features=features)


def type_of(column: FeatureSpecV2) -> str:
    """Feast's name of a column's type."""
    return str(ValueType.Enum.Name(column.value_type))
