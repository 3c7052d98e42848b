"""What is served: entities, feature views and services, as Feast has them."""

from datetime import timedelta

from feast import Entity, FeatureService, FeatureView, Field, ValueType
from feast.types import String

from pedigree.features import DAY, HOUR, Aggregation, Operation, Windows, delta_table

customer = Entity(name="customer", join_keys=["customer"], value_type=ValueType.STRING)

ORDER_WINDOWS = Windows(
    keys=("customer",),
    every=HOUR,
    features=(
        Aggregation("order", Operation.COUNT, 7 * DAY, of="amount", description="Orders of the last week"),
        Aggregation("amount", Operation.SUM, 7 * DAY, description="Euros of the last week"),
        Aggregation("amount", Operation.AVG, 30 * DAY, description="Euros of an order, over a month"),
    ),
)

customer_orders = FeatureView(
    name="customer_orders",
    entities=[customer],
    ttl=timedelta(days=3650),
    schema=[Field(name="customer", dtype=String), *ORDER_WINDOWS.fields],
    source=delta_table("customer_orders", description="What customers have ordered, hour by hour"),
)

order_service = FeatureService(name="order_service", features=[customer_orders])
