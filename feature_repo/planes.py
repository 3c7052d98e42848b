"""What the registry says of a plane, beside its use."""

from __future__ import annotations

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from feature_repo.sources import PLANES
from pedigree.features import EVENT_AT, Inputs

PLANE_COLUMNS = {
    "age_years": ((PLANES.name, "year"), (PLANES.name, "tailnum")),
    "seats": ((PLANES.name, "seats"), (PLANES.name, "tailnum")),
}
"""The columns of the registry that each added column is made of."""


def with_plane(usage: DataFrame, inputs: Inputs) -> DataFrame:
    """Adds a plane's age and seats; both are null for an unregistered plane."""
    planes = inputs[PLANES.name].select(F.col("tailnum").alias("tail_number"), F.col("year").alias("built"), "seats")
    age = F.year(EVENT_AT) - F.col("built")
    joined = usage.join(F.broadcast(planes), on="tail_number", how="left")
    return joined.select(*usage.columns, age.alias("age_years"), "seats")
