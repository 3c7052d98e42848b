"""Use and lateness by plane, hour by hour, with what the registry says of the plane."""

from __future__ import annotations

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from feature_repo import views
from spark_jobs.facts import Inputs
from spark_jobs.flights import FLIGHT_FACTS, FLOWN, flight_columns
from spark_jobs.sources import PLANES
from spark_jobs.table import FeatureTable
from spark_jobs.windows import DAY, EVENT_AT, Operation, Rolling, longest, roll

KEYS = ("tail_number",)
FEATURES = (
    Rolling("flight", Operation.COUNT, over=DAY, of="flight"),
    Rolling("flight", Operation.COUNT, over=7 * DAY, of="flight"),
    Rolling("air_time", Operation.SUM, over=7 * DAY, of="air_time"),
    Rolling("arrival_delay", Operation.AVG, over=DAY, of="arrival_delay"),
    Rolling("arrival_delay", Operation.AVG, over=7 * DAY, of="arrival_delay"),
)


def transform(facts: DataFrame, inputs: Inputs) -> DataFrame:
    """Rolling windows over the flights of a plane, beside its age and seats; both are null for an unregistered plane."""
    planes = inputs[PLANES.name].select(F.col("tailnum").alias("tail_number"), F.col("year").alias("built"), "seats")
    usage = roll(facts, KEYS, FEATURES).join(F.broadcast(planes), on="tail_number", how="left")
    age = F.year(EVENT_AT) - F.col("built")
    return usage.select(*KEYS, EVENT_AT, *(feature.name for feature in FEATURES), age.alias("age_years"), "seats")


TABLE = FeatureTable(
    view=views.plane_usage,
    facts=FLIGHT_FACTS,
    used=FLOWN,
    transform=transform,
    lookback=longest(FEATURES),
    columns=flight_columns(KEYS, FEATURES)
    | {
        "age_years": ((PLANES.name, "year"), (PLANES.name, "tailnum")),
        "seats": ((PLANES.name, "seats"), (PLANES.name, "tailnum")),
    },
    joined=(PLANES,),
)
