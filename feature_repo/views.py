"""The promises: one feature view per Delta table. Types, keys, ttl and owner stand here and nowhere else."""

from datetime import timedelta

from feast import FeatureView, Field
from feast.types import Float64, Int64, String

from feature_repo import entities
from feature_repo.sources import delta_table

TEAM = "flight-operations@example.com"


def key(name: str) -> Field:
    """A join key; all keys of this project are strings."""
    return Field(name=name, dtype=String)


carrier_delays = FeatureView(
    name="carrier_delays",
    entities=[entities.carrier],
    ttl=timedelta(days=2),
    schema=[
        key("carrier"),
        Field(name="flight_count_1d", dtype=Int64, description="Flights that landed, diverted or were cancelled"),
        Field(name="departure_delay_avg_1d", dtype=Float64, description="Minutes; early departures are negative"),
        Field(name="arrival_delay_avg_1d", dtype=Float64, description="Minutes; early arrivals are negative"),
        Field(name="arrival_delay_avg_7d", dtype=Float64, description="Minutes"),
        Field(
            name="late_arrival_share_7d", dtype=Float64, description="Share of landed flights 15 minutes late or more"
        ),
        Field(name="cancellation_count_7d", dtype=Int64, description="Cancelled flights"),
    ],
    source=delta_table("carrier_delays", description="Delays by carrier, hour by hour"),
    owner=TEAM,
    tags={"domain": "flights"},
    description="How late a carrier has been running",
)

route_delays = FeatureView(
    name="route_delays",
    entities=[entities.origin, entities.destination],
    ttl=timedelta(days=7),
    schema=[
        key("origin"),
        key("dest"),
        Field(name="flight_count_7d", dtype=Int64, description="Flights that landed, diverted or were cancelled"),
        Field(name="departure_delay_avg_7d", dtype=Float64, description="Minutes; early departures are negative"),
        Field(name="arrival_delay_avg_7d", dtype=Float64, description="Minutes"),
        Field(name="arrival_delay_max_7d", dtype=Float64, description="Minutes"),
        Field(
            name="late_arrival_share_7d", dtype=Float64, description="Share of landed flights 15 minutes late or more"
        ),
    ],
    source=delta_table("route_delays", description="Delays by route, hour by hour"),
    owner=TEAM,
    tags={"domain": "flights"},
    description="How late flights between two airports have been",
)

plane_usage = FeatureView(
    name="plane_usage",
    entities=[entities.plane],
    ttl=timedelta(days=14),
    schema=[
        key("tail_number"),
        Field(name="flight_count_1d", dtype=Int64, description="Flights that landed or were diverted"),
        Field(name="flight_count_7d", dtype=Int64, description="Flights that landed or were diverted"),
        Field(name="air_time_sum_7d", dtype=Float64, description="Minutes in the air"),
        Field(name="arrival_delay_avg_1d", dtype=Float64, description="Minutes"),
        Field(name="arrival_delay_avg_7d", dtype=Float64, description="Minutes"),
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

origin_weather = FeatureView(
    name="origin_weather",
    entities=[entities.origin],
    ttl=timedelta(hours=6),
    schema=[
        key("origin"),
        Field(name="temperature_avg_6h", dtype=Float64, description="Degrees Fahrenheit"),
        Field(name="wind_speed_max_6h", dtype=Float64, description="Miles per hour"),
        Field(name="precipitation_sum_6h", dtype=Float64, description="Inches"),
        Field(name="visibility_min_6h", dtype=Float64, description="Miles"),
        Field(name="pressure_avg_1d", dtype=Float64, description="Millibars"),
    ],
    source=delta_table("origin_weather", description="Weather at the origin, hour by hour"),
    owner=TEAM,
    tags={"domain": "weather"},
    description="What the weather has been where a flight leaves",
)

VIEWS = (carrier_delays, route_delays, plane_usage, origin_weather)
