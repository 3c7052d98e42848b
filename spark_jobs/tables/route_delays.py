"""Delays by route, hour by hour."""

from __future__ import annotations

from feature_repo import views
from spark_jobs.flights import ALL_OUTCOMES, FLIGHT_FACTS
from spark_jobs.table import FeatureTable

TABLE = FeatureTable(
    view=views.route_delays,
    facts=FLIGHT_FACTS,
    used=ALL_OUTCOMES,
    windows=views.ROUTE_DELAYS,
)
