"""The gate. Great Expectations decides whether a slice may pass; here its row-level facts become Spark columns as well,
so that each rejected row can be kept with the names of the facts it broke.
"""

from __future__ import annotations

import functools
import operator
import os
from collections.abc import Callable, Iterable, Mapping

import great_expectations as gx
import great_expectations.expectations as gxe
from great_expectations.core.batch import Batch
from great_expectations.data_context.types.base import ProgressBarsConfig
from great_expectations.expectations.expectation import (
    ColumnMapExpectation,
    ColumnPairMapExpectation,
    Expectation,
    MulticolumnMapExpectation,
)
from pyspark.sql import Column, DataFrame, Window
from pyspark.sql import functions as F

from pedigree.jobs.build.verdict import BROKEN_FACTS, RuleResult, Verdict
from pedigree.jobs.errors import ContractError

ROW_LEVEL = (ColumnMapExpectation, ColumnPairMapExpectation, MulticolumnMapExpectation)


def mark(rows: DataFrame, contract: gx.ExpectationSuite) -> DataFrame:
    """The rows with `broken_facts`: the names of the row-level facts that each one breaks, in the contract's order.

    Raises:
        ContractError: a fact has no name or another's, or is of a kind or with a setting that cannot be told row by row.
    """
    refuse_repeated_names(contract)
    broken = [F.when(breaks(fact), F.lit(fact_name(fact))) for fact in contract.expectations if is_row_level(fact)]
    return rows.select("*", F.array_compact(F.array(*broken)).cast("array<string>").alias(BROKEN_FACTS))


def judge(marked: DataFrame, contract: gx.ExpectationSuite) -> Verdict:
    """The verdict of Great Expectations' own engine over rows from `mark`, with how many rows broke each fact."""
    names = [fact_name(fact) for fact in contract.expectations]
    tallies = [F.count_if(F.array_contains(BROKEN_FACTS, name)).alias(name) for name in names]
    counts = marked.agg(F.count(F.lit(1)).alias("rows"), *tallies).collect()[0].asDict()
    batch = batch_of(marked.drop(BROKEN_FACTS))
    held = {
        result.expectation_config.meta["fact"]: bool(result.success)
        for result in batch.validate(contract, result_format="BOOLEAN_ONLY").results
    }
    facts = (verdict_on(fact, batch, counts, held=held[fact_name(fact)]) for fact in contract.expectations)
    return Verdict(rows=counts["rows"], facts=tuple(facts))


def verdict_on(fact: Expectation, batch: Batch, counts: Mapping[str, int], *, held: bool) -> RuleResult:
    """One fact's result, in words that a person can act on where it did not hold."""
    name = fact_name(fact)
    broken = counts[name]
    if held:
        detail = ""
    elif is_row_level(fact):
        allowed = 1 - fact.mostly
        detail = f"{broken:,} of {counts['rows']:,} rows broke it, at most {allowed:.0%} may"
    else:
        observed = batch.validate(fact, result_format="BASIC").result.get("observed_value")
        shown = f"{observed:.6g}" if isinstance(observed, float) else observed
        detail = f"observed {shown}, must be {bounds(fact)}"
    return RuleResult(name=name, held=held, column=getattr(fact, "column", None), broken_rows=broken, detail=detail)


def bounds(fact: Expectation) -> str:
    """What an aggregate had to be."""
    low, high = getattr(fact, "min_value", None), getattr(fact, "max_value", None)
    limits = [f"at least {low:g}"] * (low is not None) + [f"at most {high:g}"] * (high is not None)
    return " and ".join(limits) or fact.expectation_type


def batch_of(rows: DataFrame) -> Batch:
    """The rows as a batch of an ephemeral Great Expectations context, which reports to nobody and draws no bars."""
    os.environ.setdefault("GX_ANALYTICS_ENABLED", "false")
    context = gx.get_context(mode="ephemeral")
    context.variables.progress_bars = ProgressBarsConfig(globally=False)
    asset = context.data_sources.add_spark("slice", persist=False).add_dataframe_asset("rows")
    return asset.add_batch_definition_whole_dataframe("all").get_batch(batch_parameters={"dataframe": rows})


def refuse_repeated_names(contract: gx.ExpectationSuite) -> None:
    """Raise where two facts have one name, since a verdict on one would hide the other's."""
    names = [fact_name(fact) for fact in contract.expectations]
    repeated = sorted({name for name in names if names.count(name) > 1})
    if repeated:
        raise ContractError(
            f"{contract.name} states {', '.join(repeated)} more than once", "Give each fact its own name."
        )


def is_row_level(fact: Expectation) -> bool:
    """True where each row keeps or breaks the fact by itself."""
    return isinstance(fact, ROW_LEVEL)


def fact_name(fact: Expectation) -> str:
    """The name under which a contract states a fact."""
    name = (fact.meta or {}).get("fact")
    if not name:
        raise ContractError(
            f"{fact.expectation_type} states no fact", 'Give it meta={"fact": "<the fact that must hold>"}.'
        )
    return str(name)


def breaks(fact: Expectation) -> Column:
    """True where a row breaks a row-level fact; never null, and like Great Expectations it lets nulls pass.

    Raises:
        ContractError: the kind of the fact is not in `BREAKS`, or it is restricted to some rows by `row_condition`.
    """
    compiled = BREAKS.get(type(fact))
    if compiled is None:
        kinds = ", ".join(kind.__name__ for kind in BREAKS)
        raise ContractError(f"{fact_name(fact)} is a {type(fact).__name__}", f"Row by row can be told: {kinds}.")
    if fact.row_condition:
        raise ContractError(f"{fact_name(fact)} has a row_condition", "State the condition within the transform.")
    return F.coalesce(compiled(fact), F.lit(False))


def is_null(fact: gxe.ExpectColumnValuesToNotBeNull) -> Column:
    """Breaks `column_is_present`."""
    return F.col(fact.column).isNull()


def is_outside(fact: gxe.ExpectColumnValuesToBeBetween) -> Column:
    """Breaks a range; the bounds are part of it unless they are strict."""
    value = F.col(fact.column)
    below = operator.le if fact.strict_min else operator.lt
    above = operator.ge if fact.strict_max else operator.gt
    sides = [
        compare(value, F.lit(limit))
        for compare, limit in ((below, fact.min_value), (above, fact.max_value))
        if limit is not None
    ]
    return any_of(sides)


def is_not_in_set(fact: gxe.ExpectColumnValuesToBeInSet) -> Column:
    """Breaks a set of values."""
    return ~F.col(fact.column).isin(list(fact.value_set or []))


def does_not_match(fact: gxe.ExpectColumnValuesToMatchRegex) -> Column:
    """Breaks a pattern."""
    return ~F.col(fact.column).rlike(str(fact.regex))


def is_repeated(fact: gxe.ExpectCompoundColumnsToBeUnique) -> Column:
    """Breaks uniqueness: every row of a repeated combination does; a combination of nulls only does not count."""
    alike = F.count(F.lit(1)).over(Window.partitionBy(*fact.column_list)) > 1
    return alike & any_of(F.col(column).isNotNull() for column in fact.column_list)


def any_of(conditions: Iterable[Column]) -> Column:
    """True where at least one condition is."""
    return functools.reduce(operator.or_, conditions, F.lit(False))


BREAKS: Mapping[type[Expectation], Callable[..., Column]] = {
    gxe.ExpectColumnValuesToNotBeNull: is_null,
    gxe.ExpectColumnValuesToBeBetween: is_outside,
    gxe.ExpectColumnValuesToBeInSet: is_not_in_set,
    gxe.ExpectColumnValuesToMatchRegex: does_not_match,
    gxe.ExpectCompoundColumnsToBeUnique: is_repeated,
}
