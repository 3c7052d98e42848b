"""The gate against Great Expectations' own engine on pandas, which names the rows that it finds wrong."""

from __future__ import annotations

import random
from datetime import UTC, datetime, timedelta
from pathlib import Path

import great_expectations as gx
import great_expectations.expectations as gxe
import pandas as pd
import pytest
from great_expectations.core.batch import Batch
from pyspark.sql import SparkSession
from pyspark.sql import functions as F

from feature_repo import contracts
from pedigree.features.columns import EVENT_AT
from pedigree.jobs import delta_tables
from pedigree.jobs.build.quality_gate import is_row_level, judge, mark, rule_name
from pedigree.jobs.build.verdict import BROKEN_RULES
from pedigree.jobs.errors import ContractError
from pedigree.jobs.time_slice import TimeSlice

CONTRACTS = {
    suite.name: suite
    for suite in (contracts.carrier_delays, contracts.origin_weather, contracts.plane_usage, contracts.route_delays)
}
KEYS = {
    "carrier": ["AA", "UA"],
    "origin": ["EWR", "JFK", "BOS"],
    "dest": ["IAH"],
    "tail_number": ["N1", "N12345", "X9", "D942DN"],
}


def rows_for(contract: gx.ExpectationSuite, seed: int) -> pd.DataFrame:
    """300 rows of a contract's columns with values in, at and out of bounds, nulls, and repeated keys."""
    chance = random.Random(seed)
    columns = {rule.column for rule in contract.expectations if getattr(rule, "column", None)} - {"event_at", *KEYS}
    start = datetime(2013, 3, 1, tzinfo=UTC)
    rows = []
    for number in range(300):
        row: dict[str, object] = {"row": number, "event_at": start + timedelta(hours=chance.randrange(150))}
        row |= {
            key: chance.choice([*values, None]) if chance.random() < 0.1 else values[0] for key, values in KEYS.items()
        }
        limits = [-120.0, -1.0, 0.0, 0.5, 1.0, 1.5, 20.0, 1440.0, 1441.0, 1e6, None]
        row |= {column: chance.choice(limits) for column in columns}
        rows.append(row)
    return pd.DataFrame(rows)


@pytest.mark.parametrize("table", sorted(CONTRACTS))
def test_the_rows_that_break_a_fact_are_those_that_great_expectations_names(spark: SparkSession, table: str) -> None:
    """For each row-level rule of each contract, our Spark column and Great Expectations on pandas mark the same rows."""
    contract = CONTRACTS[table]
    frame = rows_for(contract, seed=len(table))
    marked = mark(spark.createDataFrame(frame), contract).select("row", BROKEN_RULES).collect()
    batch = pandas_batch(frame)
    compared = 0
    for rule in contract.expectations:
        if is_row_level(rule):
            name = rule_name(rule)
            ours = {row["row"] for row in marked if name in row[BROKEN_RULES]}
            result = batch.validate(rule, result_format="COMPLETE").result
            assert ours == set(result["unexpected_index_list"]), name
            compared += len(ours)
    assert compared > 50


@pytest.mark.parametrize("table", sorted(CONTRACTS))
def test_the_verdict_is_that_of_great_expectations_on_pandas(spark: SparkSession, table: str) -> None:
    """A rule holds in our verdict exactly where Great Expectations' pandas engine says that it does."""
    contract = CONTRACTS[table]
    frame = rows_for(contract, seed=7)
    verdict = judge(mark(spark.createDataFrame(frame), contract), contract)
    results = pandas_batch(frame).validate(contract, result_format="BOOLEAN_ONLY").results
    theirs = {result.expectation_config.meta["rule"]: result.success for result in results}
    assert {rule.name: rule.held for rule in verdict.rules} == theirs
    assert verdict.rows == 300
    assert not verdict.passed
    assert all(rule.detail for rule in verdict.broken)


def test_a_row_is_kept_with_every_fact_it_breaks(spark: SparkSession) -> None:
    """One row may break several rules; all of them are named, in the contract's order."""
    suite = gx.ExpectationSuite(
        name="two",
        expectations=[
            gxe.ExpectColumnValuesToBeBetween(column="x", min_value=0, meta={"rule": "x_is_not_negative"}),
            gxe.ExpectColumnValuesToBeInSet(column="x", value_set=[1], meta={"rule": "x_is_one"}),
        ],
    )
    marked = mark(spark.createDataFrame([(-1,), (1,), (2,), (None,)], "x INT"), suite).collect()
    assert [row[BROKEN_RULES] for row in marked] == [["x_is_not_negative", "x_is_one"], [], ["x_is_one"], []]


@pytest.mark.parametrize(
    ("rule", "told"),
    [
        (gxe.ExpectColumnValuesToNotBeNull(column="x"), "has no name"),
        (gxe.ExpectColumnValueLengthsToEqual(column="x", value=1, meta={"rule": "x_is_short"}), "x_is_short is a"),
        (
            gxe.ExpectColumnValuesToNotBeNull(
                column="x",
                row_condition='col("y") > 1',
                condition_parser="great_expectations",
                meta={"rule": "x_is_there"},
            ),
            "x_is_there has a row_condition",
        ),
    ],
)
def test_a_rule_that_cannot_be_told_row_by_row_is_refused(spark: SparkSession, rule: object, told: str) -> None:
    """A contract that the gate could only half keep is an error of the program, and says what to change."""
    suite = gx.ExpectationSuite(name="odd", expectations=[rule])
    with pytest.raises(ContractError, match=told):
        mark(spark.createDataFrame([(1, 1)], "x INT, y INT"), suite)


def test_two_rules_of_one_name_are_refused(spark: SparkSession) -> None:
    """A verdict goes by a rule's name, so a name stands for one rule."""
    twice = [gxe.ExpectColumnValuesToNotBeNull(column=column, meta={"rule": "it_is_there"}) for column in ("x", "y")]
    with pytest.raises(ContractError, match="states it_is_there more than once"):
        mark(spark.createDataFrame([(1, 1)], "x INT, y INT"), gx.ExpectationSuite(name="twins", expectations=twice))


def pandas_batch(frame: pd.DataFrame) -> Batch:
    context = gx.get_context(mode="ephemeral")
    asset = context.data_sources.add_pandas("oracle").add_dataframe_asset("rows")
    return asset.add_batch_definition_whole_dataframe("all").get_batch(batch_parameters={"dataframe": frame})


def test_a_rule_of_the_release_before_is_read(spark: SparkSession) -> None:
    """A contract that calls a rule's name a fact is judged under that name."""
    rule = gxe.ExpectColumnValuesToNotBeNull(column="x", mostly=1, meta={"fact": "x_is_there"})
    suite = gx.ExpectationSuite(name="old", expectations=[rule])
    verdict = judge(mark(spark.createDataFrame([(None,)], "x INT"), suite), suite)
    assert [(rule.name, rule.held, rule.broken_rows) for rule in verdict.rules] == [("x_is_there", False, 1)]


def test_a_quarantine_of_the_release_before_keeps_its_rows(spark: SparkSession, tmp_path: Path) -> None:
    """Rows under the old column's name stay, and new ones are written beside them under the new name."""
    uri, day = (tmp_path / "quarantine").as_uri(), datetime(2026, 1, 1, tzinfo=UTC)
    columns = f"x INT, {EVENT_AT} TIMESTAMP, {BROKEN_RULES} ARRAY<STRING>"
    for number, column in enumerate(("broken_facts", BROKEN_RULES)):
        event_at = day + timedelta(days=number)
        rows = spark.createDataFrame([(number, event_at, ["x_is_not_there"])], columns)
        time_slice = TimeSlice(event_at, event_at + timedelta(days=1))
        renamed = rows.withColumnRenamed(BROKEN_RULES, column)
        delta_tables.quarantine(renamed, uri, event=EVENT_AT, time_slice=time_slice, run_id="a-run", published=True)
    broken = F.coalesce(BROKEN_RULES, "broken_facts").alias("broken")
    kept = spark.read.format("delta").load(uri).orderBy("x").select("x", broken).collect()
    assert [tuple(row) for row in kept] == [(0, ["x_is_not_there"]), (1, ["x_is_not_there"])]
