"""How the rows of each view are made, and what must hold of them."""

from features import ORDER_WINDOWS, customer_orders
from pedigree.features import EventSet, Source, Table
from pedigree.features.contract import between, contract

ORDERS = Source(
    name="orders",
    file="orders.csv",
    schema="order_id STRING, customer STRING, amount DOUBLE, ordered_at TIMESTAMP",
    description="One line per order",
)

customer_orders_table = Table(
    view=customer_orders,
    contract=contract(customer_orders, [between("amount_avg_30d_is_plausible", "amount_avg_30d", 0, 10_000)]),
    events=EventSet.of(ORDERS, known_at="ordered_at"),
    windows=ORDER_WINDOWS,
)
