"""A shop's features, as its team declares them to Feast. Nothing here is known to the product."""

from datetime import timedelta

import pandas as pd
from feast import Entity, FeatureService, FeatureView, Field, RequestSource, ValueType
from feast.infra.offline_stores.contrib.spark_offline_store.spark_source import SparkSource
from feast.on_demand_feature_view import on_demand_feature_view
from feast.table_format import DeltaFormat
from feast.types import Float64, Int64, String

from pedigree.features import DAY, HOUR, Aggregation, Operation, Windows, delta_table
from pedigree.features.settings import repository_settings

customer = Entity(name="customer", join_keys=["customer_id"], value_type=ValueType.INT64)
product = Entity(name="product", join_keys=["sku"], value_type=ValueType.STRING)

SPEND = Windows(
    keys=("customer_id",),
    every=HOUR,
    features=(
        Aggregation("amount", Operation.SUM, 7 * DAY, description="Spent, in euros"),
        Aggregation("amount", Operation.MAX, 30 * DAY),
        Aggregation("orders", Operation.COUNT, 30 * DAY, of="amount"),
    ),
)

customer_spend = FeatureView(
    name="customer_spend",
    description="What a customer spent, as far as it is known",
    entities=[customer],
    schema=[Field(name="customer_id", dtype=Int64), *SPEND.fields],
    source=delta_table("customer_spend"),
    ttl=timedelta(0),
)

customer_profile = FeatureView(
    name="customer_profile",
    description="Who a customer is, out of the shop's database",
    entities=[customer],
    schema=[
        Field(name="customer_id", dtype=Int64),
        Field(name="city", dtype=String),
        Field(name="discount", dtype=Float64),
    ],
    source=delta_table("customer_profile"),
    ttl=timedelta(0),
)

product_sales = FeatureView(
    name="product_sales",
    description="What was sold of a product on a day",
    entities=[product],
    schema=[Field(name="sku", dtype=String), Field(name="sold", dtype=Int64), Field(name="revenue", dtype=Float64)],
    source=SparkSource(
        name="product_sales",
        path=f"{repository_settings().lake}/product_sales",
        table_format=DeltaFormat(),
        timestamp_field="sold_until",
        created_timestamp_column="computed_at",
    ),
    ttl=timedelta(0),
)

ratings = FeatureView(
    name="ratings",
    description="What a customer thinks of a product; the table is another team's",
    entities=[customer, product],
    schema=[Field(name="customer_id", dtype=Int64), Field(name="sku", dtype=String), Field(name="stars", dtype=Int64)],
    source=SparkSource(
        name="ratings",
        path=f"{repository_settings().landing}/ratings",
        table_format=DeltaFormat(),
        timestamp_field="rated_at",
        field_mapping={"rating": "stars"},
    ),
    ttl=timedelta(0),
)


@on_demand_feature_view(
    sources=[customer_profile, RequestSource(name="basket", schema=[Field(name="total", dtype=Float64)])],
    schema=[Field(name="to_pay", dtype=Float64)],
)
def checkout(inputs: pd.DataFrame) -> pd.DataFrame:
    """What a basket costs this customer."""
    return pd.DataFrame({"to_pay": inputs["total"] * (1 - inputs["discount"])})


offer = FeatureService(name="offer", features=[customer_spend, customer_profile, product_sales, ratings, checkout])
