"""Delays by carrier, hour by hour."""

from __future__ import annotations

from feature_repo import views
from pedigree.jobs.feature_table import FeatureTable
from pedigree.jobs.flights import ALL_OUTCOMES, FLIGHT_FACTS

TABLE = FeatureTable(
    view=views.carrier_delays,
    facts=FLIGHT_FACTS,
    used=ALL_OUTCOMES,
    windows=views.CARRIER_DELAYS,
)
