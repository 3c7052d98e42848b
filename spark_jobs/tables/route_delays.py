"""Delays by route, hour by hour."""

from __future__ import annotations

from pyspark.sql import DataFrame

from feature_repo import views
from spark_jobs.facts import Inputs
from spark_jobs.flights import ALL_OUTCOMES, FLIGHT_FACTS, flight_columns
from spark_jobs.table import FeatureTable
from spark_jobs.windows import DAY, Operation, Rolling, longest, roll

KEYS = ("origin", "dest")
FEATURES = (
    Rolling("flight", Operation.COUNT, over=7 * DAY, of="flight"),
    Rolling("departure_delay", Operation.AVG, over=7 * DAY, of="departure_delay"),
    Rolling("arrival_delay", Operation.AVG, over=7 * DAY, of="arrival_delay"),
    Rolling("arrival_delay", Operation.MAX, over=7 * DAY, of="arrival_delay"),
    Rolling("late_arrival", Operation.SHARE, over=7 * DAY, of="late_arrival"),
)


def transform(facts: DataFrame, inputs: Inputs) -> DataFrame:
    """Rolling windows over the flights between two airports."""
    return roll(facts, KEYS, FEATURES)


TABLE = FeatureTable(
    view=views.route_delays,
    facts=FLIGHT_FACTS,
    used=ALL_OUTCOMES,
    transform=transform,
    lookback=longest(FEATURES),
    columns=flight_columns(KEYS, FEATURES),
)
