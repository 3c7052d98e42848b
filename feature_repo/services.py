"""What a model is served: named sets of features."""

from feast import FeatureService

from feature_repo.views import TEAM, carrier_delays, origin_weather, plane_usage, route_delays

late_arrival = FeatureService(
    name="late_arrival",
    features=[carrier_delays, route_delays, plane_usage, origin_weather],
    description="Everything the late-arrival model sees",
    owner=TEAM,
)
