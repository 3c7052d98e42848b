"""The promises: one feature view per Delta table. Types, keys, ttl, owner and windows stand here and nowhere else."""

from datetime import timedelta

from feast import FeatureView, Field
from feast.types import Int64, String

from feature_repo import entities
from pedigree.features import DAY, HOUR, Aggregation, Operation, Windows, delta_table

TEAM = "flight-operations@example.com"
LATE_SHARE = "Share of landed flights 15 minutes late or more"


def key(name: str) -> Field:
    """A join key; all keys of this project are strings."""
    return Field(name=name, dtype=String)


CARRIER_DELAYS = Windows(
    keys=("carrier",),
    every=HOUR,
    features=(
        Aggregation("flight", Operation.COUNT, DAY, description="Flights that landed, diverted or were cancelled"),
        Aggregation("departure_delay", Operation.AVG, DAY, description="Minutes; early departures are negative"),
        Aggregation("arrival_delay", Operation.AVG, DAY, description="Minutes; early arrivals are negative"),
        Aggregation("arrival_delay", Operation.AVG, 7 * DAY, description="Minutes"),
        Aggregation("late_arrival", Operation.SHARE, 7 * DAY, description=LATE_SHARE),
        Aggregation("cancellation", Operation.COUNT, 7 * DAY, description="Cancelled flights"),
    ),
)

carrier_delays = FeatureView(
    name="carrier_delays",
    entities=[entities.carrier],
    ttl=timedelta(days=2),
    schema=[key("carrier"), *CARRIER_DELAYS.fields],
    source=delta_table("carrier_delays", description="Delays by carrier, hour by hour"),
    owner=TEAM,
    tags={"domain": "flights"},
    description="How late a carrier has been running",
)

ROUTE_DELAYS = Windows(
    keys=("origin", "dest"),
    every=HOUR,
    features=(
        Aggregation("flight", Operation.COUNT, 7 * DAY, description="Flights that landed, diverted or were cancelled"),
        Aggregation("departure_delay", Operation.AVG, 7 * DAY, description="Minutes; early departures are negative"),
        Aggregation("arrival_delay", Operation.AVG, 7 * DAY, description="Minutes"),
        Aggregation("arrival_delay", Operation.MAX, 7 * DAY, description="Minutes"),
        Aggregation("late_arrival", Operation.SHARE, 7 * DAY, description=LATE_SHARE),
    ),
)

route_delays = FeatureView(
    name="route_delays",
    entities=[entities.origin, entities.destination],
    ttl=timedelta(days=7),
    schema=[key("origin"), key("dest"), *ROUTE_DELAYS.fields],
    source=delta_table("route_delays", description="Delays by route, hour by hour"),
    owner=TEAM,
    tags={"domain": "flights"},
    description="How late flights between two airports have been",
)

PLANE_USAGE = Windows(
    keys=("tail_number",),
    every=HOUR,
    features=(
        Aggregation("flight", Operation.COUNT, DAY, description="Flights that landed or were diverted"),
        Aggregation("flight", Operation.COUNT, 7 * DAY, description="Flights that landed or were diverted"),
        Aggregation("air_time", Operation.SUM, 7 * DAY, description="Minutes in the air"),
        Aggregation("arrival_delay", Operation.AVG, DAY, description="Minutes"),
        Aggregation("arrival_delay", Operation.AVG, 7 * DAY, description="Minutes"),
    ),
)

plane_usage = FeatureView(
    name="plane_usage",
    entities=[entities.plane],
    ttl=timedelta(days=14),
    schema=[
        key("tail_number"),
        *PLANE_USAGE.fields,
        Field(
            name="age_years", dtype=Int64, description="Years since manufacture; null where the registry does not say"
        ),
        Field(name="seats", dtype=Int64, description="Seats of the model; null where the plane is not registered"),
    ],
    source=delta_table("plane_usage", description="Use and lateness by plane, hour by hour"),
    owner=TEAM,
    tags={"domain": "flights"},
    description="How hard a plane has been worked and how late it has been",
)

ORIGIN_WEATHER = Windows(
    keys=("origin",),
    every=HOUR,
    features=(
        Aggregation("temperature", Operation.AVG, 6 * HOUR, of="temp", description="Degrees Fahrenheit"),
        Aggregation("wind_speed", Operation.MAX, 6 * HOUR, description="Miles per hour"),
        Aggregation("precipitation", Operation.SUM, 6 * HOUR, of="precip", description="Inches"),
        Aggregation("visibility", Operation.MIN, 6 * HOUR, of="visib", description="Miles"),
        Aggregation("pressure", Operation.AVG, DAY, description="Millibars"),
    ),
)

origin_weather = FeatureView(
    name="origin_weather",
    entities=[entities.origin],
    ttl=timedelta(hours=6),
    schema=[key("origin"), *ORIGIN_WEATHER.fields],
    source=delta_table("origin_weather", description="Weather at the origin, hour by hour"),
    owner=TEAM,
    tags={"domain": "weather"},
    description="What the weather has been where a flight leaves",
)

VIEWS = (carrier_delays, route_delays, plane_usage, origin_weather)
