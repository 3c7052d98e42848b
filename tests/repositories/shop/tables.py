"""How the shop's rows are made, and what must hold of them."""

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from features import SPEND, customer_profile, customer_spend, product_sales, ratings
from pedigree.features import EventSet, ExternalTable, Inputs, JdbcSource, Source, Table, TransformTable
from pedigree.features.contract import between, contract
from pedigree.features.events import HAPPENED, KNOWN_AT, OUTCOME

ORDERS = Source(
    name="orders",
    file="orders",
    format="parquet",
    schema="customer_id BIGINT, sku STRING, price DECIMAL(10,2), ordered_at TIMESTAMP, arrived_at TIMESTAMP",
    description="One row per order; some arrive days after they were made",
)

CUSTOMERS = JdbcSource(
    name="customers",
    url="${SHOP_DATABASE}",
    user="${SHOP_USER}",
    table="customers",
    schema="id BIGINT, city STRING, discount DECIMAL(4,3), since TIMESTAMP",
    description="The shop's customers, in its database",
    partition_column="id",
    partitions=2,
)


def orders_as_events(inputs: Inputs) -> DataFrame:
    """An order is known when it arrives. Cents are exact in a decimal; a sum of doubles is what models take."""
    return inputs["orders"].select(
        "customer_id",
        F.col("price").cast("double").alias("amount"),
        F.lit(HAPPENED).alias(OUTCOME),
        F.col("arrived_at").alias(KNOWN_AT),
    )


def sold_by_day(inputs: Inputs) -> DataFrame:
    """One row per product and day, at the day's end."""
    day = F.date_trunc("day", "ordered_at")
    return (
        inputs["orders"]
        .groupBy("sku", day.alias("day"))
        .agg(F.count(F.lit(1)).alias("sold"), F.sum("price").cast("double").alias("revenue"))
        .select("sku", "sold", "revenue", (F.col("day") + F.expr("INTERVAL 1 DAY")).alias("sold_until"))
    )


spend_table = Table(
    view=customer_spend,
    contract=contract(customer_spend, [between("amount_sum_7d_is_no_credit", "amount_sum_7d", 0, None)]),
    events=EventSet(
        name="orders",
        sources=(ORDERS,),
        derive=orders_as_events,
        columns={
            "customer_id": (("orders", "customer_id"),),
            "amount": (("orders", "price"),),
            KNOWN_AT: (("orders", "arrived_at"),),
        },
    ),
    windows=SPEND,
)

profile_table = TransformTable(
    view=customer_profile,
    contract=contract(customer_profile, [between("discount_is_a_share", "discount", 0, 1)]),
    sources=(CUSTOMERS,),
    transform="customer_profile.sql",
    columns={"city": (("customers", "city"),), "discount": (("customers", "discount"),)},
    is_whole=True,
)

sales_table = TransformTable(
    view=product_sales,
    contract=contract(product_sales),
    sources=(ORDERS,),
    transform=sold_by_day,
)

ratings_table = ExternalTable(
    view=ratings, contract=contract(ratings, [between("rating_is_one_to_five", "rating", 1, 5)])
)
