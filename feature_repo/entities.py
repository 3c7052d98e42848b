"""What features are about."""

from feast import Entity, ValueType

carrier = Entity(
    name="carrier", join_keys=["carrier"], value_type=ValueType.STRING, description="Two-letter code of the airline"
)
origin = Entity(
    name="origin",
    join_keys=["origin"],
    value_type=ValueType.STRING,
    description="Airport a flight leaves from (FAA code)",
)
destination = Entity(
    name="destination",
    join_keys=["dest"],
    value_type=ValueType.STRING,
    description="Airport a flight goes to (FAA code)",
)
plane = Entity(
    name="plane", join_keys=["tail_number"], value_type=ValueType.STRING, description="Registration painted on the tail"
)
