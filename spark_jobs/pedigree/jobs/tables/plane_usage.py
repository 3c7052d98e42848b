"""Use and lateness by plane, hour by hour, with what the registry says of the plane."""

from __future__ import annotations

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from feature_repo import views
from feature_repo.sources import EVENT_AT
from pedigree.jobs.feature_table import FeatureTable
from pedigree.jobs.flights import FLIGHT_FACTS, FLOWN
from pedigree.jobs.sources.events import Inputs
from pedigree.jobs.sources.reader import PLANES


def with_plane(usage: DataFrame, inputs: Inputs) -> DataFrame:
    """Adds a plane's age and seats; both are null for an unregistered plane."""
    planes = inputs[PLANES.name].select(F.col("tailnum").alias("tail_number"), F.col("year").alias("built"), "seats")
    age = F.year(EVENT_AT) - F.col("built")
    joined = usage.join(F.broadcast(planes), on="tail_number", how="left")
    return joined.select(*usage.columns, age.alias("age_years"), "seats")


TABLE = FeatureTable(
    view=views.plane_usage,
    facts=FLIGHT_FACTS,
    used=FLOWN,
    windows=views.PLANE_USAGE,
    transform=with_plane,
    added={
        "age_years": ((PLANES.name, "year"), (PLANES.name, "tailnum")),
        "seats": ((PLANES.name, "seats"), (PLANES.name, "tailnum")),
    },
    joined=(PLANES,),
)
