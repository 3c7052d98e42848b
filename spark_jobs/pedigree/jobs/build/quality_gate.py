"""The gate. Great Expectations decides whether a slice may pass; here its row-level rules become Spark columns as well,
so that each rejected row can be kept with the names of the rules it broke.
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

from pedigree.jobs.build.verdict import BROKEN_RULES, RuleResult, Verdict
from pedigree.jobs.column_names import all_named, named
from pedigree.jobs.errors import ContractError

ROW_LEVEL = (ColumnMapExpectation, ColumnPairMapExpectation, MulticolumnMapExpectation)


def mark(rows: DataFrame, contract: gx.ExpectationSuite) -> DataFrame:
    """The rows with `broken_rules`: the names of the row-level rules that each one breaks, in the contract's order.

    Raises:
        ContractError: a rule has no name or another's, or is of a kind or with a setting that cannot be told row by row.
    """
    refuse_repeated_names(contract)
    broken = [F.when(breaks(rule), F.lit(rule_name(rule))) for rule in contract.expectations if is_row_level(rule)]
    return rows.select("*", F.array_compact(F.array(*broken)).cast("array<string>").alias(BROKEN_RULES))


def judge(marked: DataFrame, contract: gx.ExpectationSuite) -> Verdict:
    """The verdict of Great Expectations' own engine over rows from `mark`, with how many rows broke each rule."""
    names = [rule_name(rule) for rule in contract.expectations]
    tallies = [F.count_if(F.array_contains(BROKEN_RULES, name)).alias(name) for name in names]
    counts = marked.agg(F.count(F.lit(1)).alias("rows"), *tallies).collect()[0].asDict()
    batch = batch_of(marked.drop(BROKEN_RULES))
    held = {
        stated_name(result.expectation_config.meta): bool(result.success)
        for result in batch.validate(contract, result_format="BOOLEAN_ONLY").results
    }
    rules = (verdict_on(rule, batch, counts, held=held[rule_name(rule)]) for rule in contract.expectations)
    return Verdict(rows=counts["rows"], rules=tuple(rules))


def verdict_on(rule: Expectation, batch: Batch, counts: Mapping[str, int], *, held: bool) -> RuleResult:
    """One rule's result, in words that a person can act on where it did not hold."""
    name = rule_name(rule)
    broken = counts[name]
    if held:
        detail = ""
    elif is_row_level(rule):
        allowed = 1 - rule.mostly
        detail = f"{broken:,} of {counts['rows']:,} rows broke it, at most {allowed:.0%} may"
    else:
        observed = batch.validate(rule, result_format="BASIC").result.get("observed_value")
        shown = f"{observed:.6g}" if isinstance(observed, float) else observed
        detail = f"observed {shown}, must be {bounds(rule)}"
    return RuleResult(name=name, held=held, column=getattr(rule, "column", None), broken_rows=broken, detail=detail)


def bounds(rule: Expectation) -> str:
    """What an aggregate had to be."""
    low, high = getattr(rule, "min_value", None), getattr(rule, "max_value", None)
    limits = [f"at least {low:g}"] * (low is not None) + [f"at most {high:g}"] * (high is not None)
    return " and ".join(limits) or rule.expectation_type


def batch_of(rows: DataFrame) -> Batch:
    """The rows as a batch of an ephemeral Great Expectations context, which reports to nobody and draws no bars."""
    os.environ.setdefault("GX_ANALYTICS_ENABLED", "false")
    context = gx.get_context(mode="ephemeral")
    context.variables.progress_bars = ProgressBarsConfig(globally=False)
    asset = context.data_sources.add_spark("slice", persist=False).add_dataframe_asset("rows")
    return asset.add_batch_definition_whole_dataframe("all").get_batch(batch_parameters={"dataframe": rows})


def columns_checked(contract: gx.ExpectationSuite) -> frozenset[str]:
    """The columns that a contract's rules look at."""
    attributes = ("column", "column_A", "column_B")
    named = {getattr(rule, name, None) for rule in contract.expectations for name in attributes}
    listed = {name for rule in contract.expectations for name in getattr(rule, "column_list", None) or ()}
    return frozenset(str(name) for name in named | listed if name)


def refuse_repeated_names(contract: gx.ExpectationSuite) -> None:
    """Raise where two rules have one name, since a verdict on one would hide the other's."""
    names = [rule_name(rule) for rule in contract.expectations]
    repeated = sorted({name for name in names if names.count(name) > 1})
    if repeated:
        raise ContractError(
            f"{contract.name} states {', '.join(repeated)} more than once", "Give each rule its own name."
        )


def is_row_level(rule: Expectation) -> bool:
    """True where each row keeps or breaks the rule by itself."""
    return isinstance(rule, ROW_LEVEL)


def rule_name(rule: Expectation) -> str:
    """The name of a contract's rule."""
    name = stated_name(rule.meta)
    if not name:
        raise ContractError(f"{rule.expectation_type} has no name", 'Give it meta={"rule": "<what must hold>"}.')
    return name


def stated_name(meta: Mapping[str, object] | None) -> str:
    """The name of a rule; contracts of the release before have it under `fact`. Empty where there is none."""
    stated = meta or {}
    return str(stated.get("rule") or stated.get("fact") or "")


def breaks(rule: Expectation) -> Column:
    """True where a row breaks a row-level rule; never null, and like Great Expectations it lets nulls pass.

    Raises:
        ContractError: the kind of the rule is not in `BREAKS`, or it is restricted to some rows by `row_condition`.
    """
    compiled = BREAKS.get(type(rule))
    if compiled is None:
        kinds = ", ".join(kind.__name__ for kind in BREAKS)
        raise ContractError(f"{rule_name(rule)} is a {type(rule).__name__}", f"Row by row can be told: {kinds}.")
    if rule.row_condition:
        raise ContractError(f"{rule_name(rule)} has a row_condition", "State the condition within the transform.")
    return F.coalesce(compiled(rule), F.lit(False))


def is_null(rule: gxe.ExpectColumnValuesToNotBeNull) -> Column:
    """Breaks `column_is_present`."""
    return named(rule.column).isNull()


def is_outside(rule: gxe.ExpectColumnValuesToBeBetween) -> Column:
    """Breaks a range; the bounds are part of it unless they are strict."""
    value = named(rule.column)
    below = operator.le if rule.strict_min else operator.lt
    above = operator.ge if rule.strict_max else operator.gt
    sides = [
        compare(value, F.lit(limit))
        for compare, limit in ((below, rule.min_value), (above, rule.max_value))
        if limit is not None
    ]
    return any_of(sides)


def is_not_in_set(rule: gxe.ExpectColumnValuesToBeInSet) -> Column:
    """Breaks a set of values."""
    return ~named(rule.column).isin(list(rule.value_set or []))


def does_not_match(rule: gxe.ExpectColumnValuesToMatchRegex) -> Column:
    """Breaks a pattern."""
    return ~named(rule.column).rlike(str(rule.regex))


def is_repeated(rule: gxe.ExpectCompoundColumnsToBeUnique | gxe.ExpectColumnValuesToBeUnique) -> Column:
    """Breaks uniqueness: every row of a repeated combination does; a combination of nulls only does not count."""
    columns = getattr(rule, "column_list", None) or [rule.column]
    alike = F.count(F.lit(1)).over(Window.partitionBy(*all_named(columns))) > 1
    return alike & any_of(named(column).isNotNull() for column in columns)


def any_of(conditions: Iterable[Column]) -> Column:
    """True where at least one condition is."""
    return functools.reduce(operator.or_, conditions, F.lit(False))


BREAKS: Mapping[type[Expectation], Callable[..., Column]] = {
    gxe.ExpectColumnValuesToNotBeNull: is_null,
    gxe.ExpectColumnValuesToBeBetween: is_outside,
    gxe.ExpectColumnValuesToBeInSet: is_not_in_set,
    gxe.ExpectColumnValuesToMatchRegex: does_not_match,
    gxe.ExpectColumnValuesToBeUnique: is_repeated,
    gxe.ExpectCompoundColumnsToBeUnique: is_repeated,
}
