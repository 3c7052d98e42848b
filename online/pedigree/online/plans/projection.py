"""What a service or an on-demand view takes of a feature view."""

from __future__ import annotations

from dataclasses import replace

from feast.protos.feast.core.Feature_pb2 import FeatureSpecV2
from feast.protos.feast.core.FeatureViewProjection_pb2 import FeatureViewProjection

from pedigree.online.plans.plan import View
from pedigree.online.plans.storable import type_name


def part_of(view: View, part: FeatureViewProjection) -> View:
    """What is taken of `view`, under the names that who takes it gives."""
    renamed = part.join_key_map
    keys = tuple(replace(key, name=renamed.get(key.stored_as, key.name)) for key in view.keys)
    by_name = {feature.name: feature for feature in view.features}
    features = tuple(by_name[column.name] for column in part.feature_columns)
    return replace(view, name=part.feature_view_name_alias or view.name, keys=keys, features=features)


def type_of(column: FeatureSpecV2) -> str:
    """The name of the type that a column is stored as."""
    return type_name(column.value_type)
