"""How the rows of each view are made: events in windows, and what is joined to them."""

from feature_repo import contracts, views
from feature_repo.flights import ALL_OUTCOMES, FLIGHT_EVENTS, FLOWN
from feature_repo.planes import PLANE_COLUMNS, with_plane
from feature_repo.sources import PLANES
from feature_repo.weather import OBSERVED, WEATHER_EVENTS
from pedigree.features import Table

carrier_delays = Table(
    view=views.carrier_delays,
    contract=contracts.carrier_delays,
    events=FLIGHT_EVENTS,
    used=ALL_OUTCOMES,
    windows=views.CARRIER_DELAYS,
)

route_delays = Table(
    view=views.route_delays,
    contract=contracts.route_delays,
    events=FLIGHT_EVENTS,
    used=ALL_OUTCOMES,
    windows=views.ROUTE_DELAYS,
)

plane_usage = Table(
    view=views.plane_usage,
    contract=contracts.plane_usage,
    events=FLIGHT_EVENTS,
    used=FLOWN,
    windows=views.PLANE_USAGE,
    transform=with_plane,
    added=PLANE_COLUMNS,
    joined=(PLANES,),
)

origin_weather = Table(
    view=views.origin_weather,
    contract=contracts.origin_weather,
    events=WEATHER_EVENTS,
    used=OBSERVED,
    windows=views.ORIGIN_WEATHER,
)
