"""Slowly changing dimensions: rows that are valid from one instant to another, as rows of a feature table.

TransformTable(
view=customer_tier,
contract=contract(customer_tier, [validity_in_order()]),
sources=(TIERS,),
transform=lambda inputs: valid_rows(inputs["tiers"], keys=["customer"], valid_from="since", valid_to="until"),
is_whole=True,
)
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from pedigree.features.columns import EVENT_AT

if TYPE_CHECKING:
    from great_expectations.expectations.expectation import Expectation
    from pyspark.sql import DataFrame

IN_ORDER = "validity_is_in_order"
"""The column, and the rule, that a span of validity ends after it starts and begins when the one before it has ended."""


def valid_rows(
    rows: DataFrame, *, keys: Sequence[str], valid_from: str, valid_to: str, event: str = EVENT_AT
) -> DataFrame:
    """One row at the instant from which values are valid; and one of nulls at the instant at which they end, if no others begin.

    Whoever looks at an instant within `[valid_from, valid_to)` sees the values, and nulls after they ended.

    Args:
        rows: the keys, the two instants, and the features. A null `valid_to` is an open end.
        event: what to call the event time.
    Returns:
        the keys, the features, the event time and `validity_is_in_order`.
    """
    from pyspark.sql import Window
    from pyspark.sql import functions as F

    start, end = F.col(valid_from).cast("timestamp"), F.col(valid_to).cast("timestamp")
    by_start = Window.partitionBy(*keys).orderBy(start, end.asc_nulls_last())
    before = by_start.rowsBetween(Window.unboundedPreceding, -1)
    is_last_open = F.max(F.when(end.isNull(), F.lit(1))).over(before).isNotNull()
    overlaps = F.coalesce(is_last_open | (F.max(end).over(before) > start), F.lit(False))
    is_in_order = start.isNotNull() & (end.isNull() | (end > start)) & ~overlaps
    features = [name for name in rows.columns if name not in {*keys, valid_from, valid_to}]
    spans = rows.select(*keys, *features, start.alias("__start"), end.alias("__end"), is_in_order.alias(IN_ORDER))
    following = F.lead("__start").over(Window.partitionBy(*keys).orderBy("__start"))
    in_order = spans.where(IN_ORDER).withColumn("__next", following)
    ended = in_order.where(F.col("__end").isNotNull() & (F.col("__next").isNull() | (F.col("__next") > F.col("__end"))))
    nulls = [F.lit(None).cast(rows.schema[name].dataType).alias(name) for name in features]
    begins = spans.select(*keys, *features, F.col("__start").alias(event), IN_ORDER)
    return begins.unionByName(ended.select(*keys, *nulls, F.col("__end").alias(event), IN_ORDER))


def validity_in_order() -> Expectation:
    """The rule that spans of validity are in order; a row that breaks it is quarantined."""
    import great_expectations.expectations as gxe

    from pedigree.features.contract import MOSTLY, rule

    return rule(IN_ORDER, gxe.ExpectColumnValuesToBeInSet, column=IN_ORDER, value_set=[True], mostly=MOSTLY)
