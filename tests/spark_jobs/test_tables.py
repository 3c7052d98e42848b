"""Tables that a transform makes: by functions and queries, whole tables, and spans of validity."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from feast import Entity, FeatureView, Field, ValueType
from feast.infra.offline_stores.contrib.spark_offline_store.spark_source import SparkSource
from feast.table_format import DeltaFormat
from feast.types import Float64, String
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from pedigree.features import ExternalTable, Inputs, Source, TransformTable, valid_rows, validity_in_order
from pedigree.features.contract import between, contract
from pedigree.features.errors import SourceDeclarationError
from pedigree.features.repository import Repository
from pedigree.features.settings import RepositorySettings
from pedigree.jobs.build.build import Built, Jobs, build
from pedigree.jobs.errors import SchemaBrokenError, TransformError
from pedigree.jobs.time_slice import TimeSlice
from pedigree.lineage.recorder import Recorder
from pedigree.lineage.settings import lineage_settings

DAY = timedelta(days=1)
START = datetime(2026, 1, 1, tzinfo=UTC)
WEEK = TimeSlice(START, START + 7 * DAY)
SALES = Source(
    name="sales", file="sales", format="parquet", schema="shop STRING, price DOUBLE, at TIMESTAMP", description="Sales"
)
TIERS = Source(
    name="tiers",
    file="tiers",
    format="parquet",
    schema="shop STRING, tier STRING, since TIMESTAMP, until TIMESTAMP",
    description="What a shop counts as, and from when to when",
)


def view_of(name: str, lake: str, *fields: Field, event: str = "event_at", created: str = "created_at") -> FeatureView:
    shop = Entity(name="shop", join_keys=["shop"], value_type=ValueType.STRING)
    source = SparkSource(
        name=name,
        path=f"{lake}/{name}",
        table_format=DeltaFormat(),
        timestamp_field=event,
        created_timestamp_column=created,
    )
    schema = [Field(name="shop", dtype=String), *fields]
    return FeatureView(name=name, entities=[shop], schema=schema, source=source, ttl=timedelta(0))


class Workplace:
    """A repository's places, and a table of takings by day."""

    def __init__(self, folder: Path, jobs: Jobs) -> None:
        self.folder, self.jobs = folder, jobs
        self.lake = jobs.repository.settings.lake
        price = Field(name="takings", dtype=Float64)
        self.view = view_of("takings", self.lake, price, event="day_at", created="learnt_at")
        rules = [between("takings_are_no_debt", "takings", 0, None)]
        self.table = TransformTable(
            view=self.view, contract=contract(self.view, rules), sources=(SALES,), transform=takings
        )

    def deliver(self, name: str, rows: list[dict[str, Any]]) -> None:
        """Put a source in place."""
        (self.folder / name).mkdir(exist_ok=True)
        pd.DataFrame(rows).to_parquet(self.folder / name / "part-0.parquet", coerce_timestamps="us")

    def build(self, table: TransformTable, time_slice: TimeSlice = WEEK) -> Built:
        return build(table, time_slice, self.jobs)

    def rows(self, table: TransformTable, *columns: str) -> list[tuple[Any, ...]]:
        """What is in a table, in order of its columns."""
        found = self.jobs.spark.read.format("delta").load(f"{self.lake}/{table.name}")
        return sorted(tuple(row) for row in found.select(*columns).collect())

    def quarantined(self, table: TransformTable) -> list[Any]:
        return list(
            self.jobs.spark.read.format("delta").load(self.jobs.repository.lake.quarantine(table.name)).collect()
        )


def takings(inputs: Inputs) -> DataFrame:
    """What each shop took on a day, known at its end."""
    end = (F.date_trunc("day", "at") + F.expr("INTERVAL 1 DAY")).alias("day_at")
    return inputs["sales"].groupBy("shop", end).agg(F.sum("price").alias("takings"))


def sales(*prices: float, shop: str = "north") -> list[dict[str, Any]]:
    """One sale a day, at noon."""
    noon = START + DAY / 2
    return [{"shop": shop, "price": price, "at": noon + number * DAY} for number, price in enumerate(prices)]


@pytest.fixture
def work(spark: SparkSession, tmp_path: Path) -> Workplace:
    places = RepositorySettings(tmp_path / "feature_store.yaml", "p", (tmp_path / "lake").as_uri(), tmp_path.as_uri())
    with Recorder.open(replace(lineage_settings(), url="http://127.0.0.1:9", outbox=tmp_path / "outbox")) as recorder:
        jobs = Jobs(spark, Repository(places, {}, {}), recorder, progress=lambda _stage: None)
        return Workplace(tmp_path, jobs)


def test_a_slice_of_a_transform_replaces_its_own_time_alone(work: Workplace) -> None:
    """Rows of other times that the transform gives stay out; times have the names that the view's source gives them."""
    work.deliver("sales", sales(1.0, 2.0, 3.0, 4.0))
    first = work.build(work.table, TimeSlice(START, START + 3 * DAY))
    assert (first.rows.sources, first.rows.computed, first.rows.published) == ({"sales": 4}, 2, 2)
    work.deliver("sales", sales(10.0, 20.0, 30.0, 40.0))
    work.build(work.table, TimeSlice(START + 2 * DAY, START + 9 * DAY))
    kept = [(taken, at.day) for taken, at in work.rows(work.table, "takings", "day_at")]
    assert kept == [(1.0, 2), (20.0, 3), (30.0, 4), (40.0, 5)]
    assert len(work.rows(work.table, "learnt_at")) == 4


def test_a_query_sees_its_sources_by_name_and_leaves_no_view(work: Workplace) -> None:
    """A `.sql` file gives the rows that the same words give as a function; afterwards the session has no such view."""
    work.deliver("sales", sales(1.0, 2.0, shop="south"))
    text = (
        "SELECT shop, sum(price) AS takings, date_trunc('day', at) + INTERVAL 1 DAY AS day_at FROM sales GROUP BY ALL"
    )
    (work.folder / "takings.sql").write_text(text)
    work.build(replace(work.table, transform="takings.sql"))
    assert work.rows(work.table, "shop", "takings") == [("south", 1.0), ("south", 2.0)]
    assert not work.jobs.spark.catalog.tableExists("sales")


@pytest.mark.parametrize(
    ("text", "told"),
    [(None, "there is no such file"), ("SELECT colour FROM sales", "colour"), ("SELEKT 1", "SELEKT")],
)
def test_a_query_that_cannot_run_is_told_with_its_file(work: Workplace, text: str | None, told: str) -> None:
    """The file is named, and Spark's reason; nothing is published."""
    work.deliver("sales", sales(1.0))
    if text is not None:
        (work.folder / "takings.sql").write_text(text)
    with pytest.raises(TransformError, match=told) as caught:
        work.build(replace(work.table, transform="takings.sql"))
    assert "takings.sql" in str(caught.value)


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (lambda rows: rows.withColumn("takings", F.lit("much")), "takings is string, promised is double"),
        (lambda rows: rows.drop("takings"), "takings is missing"),
        (lambda rows: rows.withColumn("colour", F.lit(1)), "colour was not promised"),
    ],
)
def test_what_will_not_fit_is_told_before_a_row_is_computed(
    work: Workplace, change: Callable[[DataFrame], DataFrame], told: str
) -> None:
    """Column, found type and promised type are in the message, and the transform was never run: its rows would have failed."""
    work.deliver("sales", sales(1.0))

    def failing(inputs: Inputs) -> DataFrame:
        rows = takings(inputs)
        return change(rows).where(F.raise_error(F.lit("a row was computed")).isNull())

    with pytest.raises(SchemaBrokenError, match=told):
        work.build(replace(work.table, transform=failing))


def test_a_whole_table_is_replaced_whatever_the_slice(work: Workplace) -> None:
    """Rows far from the slice are published, and those of before go, those in quarantine too."""
    table = replace(work.table, is_whole=True)
    work.deliver("sales", [*sales(1.0, *[2.0] * 30), *sales(-5.0, shop="south")])
    built = work.build(table)
    assert (built.rows.published, built.rows.quarantined) == (31, 1)
    assert [(row["shop"], row["broken_rules"]) for row in work.quarantined(table)] == [
        ("south", ["takings_are_no_debt"])
    ]
    work.deliver("sales", sales(7.0, shop="east"))
    work.build(table)
    assert work.rows(table, "shop", "takings") == [("east", 7.0)]
    assert work.quarantined(table) == []


def test_a_table_without_a_key_has_one_row_an_instant(work: Workplace) -> None:
    """Rows of one instant are quarantined, all of them; the others are published."""
    source = work.view.batch_source
    view = FeatureView(name="takings", schema=[Field(name="takings", dtype=Float64)], source=source, ttl=timedelta(0))

    def by_sale(inputs: Inputs) -> DataFrame:
        return inputs["sales"].select(F.col("price").alias("takings"), F.col("at").alias("day_at"))

    rules = contract(view)
    [unique] = [one for one in rules.expectations if one.meta["rule"] == "key_and_instant_are_unique"]
    unique.mostly = 0.5
    work.deliver("sales", [*sales(1.0, 2.0, 3.0, 4.0), *sales(10.0, shop="south")])
    table = TransformTable(view=view, contract=rules, sources=(SALES,), transform=by_sale)
    built = work.build(table)
    assert (built.rows.published, built.rows.quarantined) == (3, 2)
    kept = {(row["takings"], tuple(row["broken_rules"])) for row in work.quarantined(table)}
    assert kept == {(1.0, ("key_and_instant_are_unique",)), (10.0, ("key_and_instant_are_unique",))}


def tier_table(work: Workplace) -> TransformTable:
    """Tiers of shops that hold from one instant to another."""
    view = view_of("tier", work.lake, Field(name="tier", dtype=String))

    def transform(inputs: Inputs) -> DataFrame:
        return valid_rows(inputs["tiers"], keys=["shop"], valid_from="since", valid_to="until")

    in_order = validity_in_order()
    in_order.mostly = 0.5
    return TransformTable(
        view=view, contract=contract(view, [in_order]), sources=(TIERS,), transform=transform, is_whole=True
    )


def test_spans_of_validity_hold_as_long_as_they_say(work: Workplace) -> None:
    """At every instant a shop has the tier of the span that holds it, or none: by a loop over random spans with gaps."""
    chance = random.Random(6)
    spans: list[dict[str, Any]] = []
    for shop in ("north", "south", "east"):
        at = START
        for number in range(6):
            since = at + chance.randrange(0, 3) * DAY
            at = since + chance.randrange(1, 4) * DAY
            until = None if number == 5 and shop == "east" else at
            spans.append({"shop": shop, "tier": f"{shop} {number}", "since": since, "until": until})
    work.deliver("tiers", spans)
    table = tier_table(work)
    work.build(table)
    rows = work.jobs.spark.read.format("delta").load(f"{work.lake}/tier").collect()
    for shop in ("north", "south", "east"):
        for hour in range(0, 40 * 24, 12):
            at = START + timedelta(hours=hour)
            held = [
                span["tier"]
                for span in spans
                if span["shop"] == shop and span["since"] <= at and (span["until"] is None or at < span["until"])
            ]
            seen = [row for row in rows if row["shop"] == shop and row["event_at"].replace(tzinfo=UTC) <= at]
            newest = max(seen, key=lambda row: row["event_at"])["tier"] if seen else None
            assert newest == (held[0] if held else None), (shop, at)


def test_spans_that_overlap_are_quarantined_by_name(work: Workplace) -> None:
    """One that begins before another has ended, and one that ends before it begins, are refused; the others are published."""
    noon = START + DAY / 2
    spans: list[dict[str, Any]] = [
        {"shop": "a", "tier": "gold", "since": START, "until": START + 5 * DAY},
        {"shop": "a", "tier": "lead", "since": START + 3 * DAY, "until": START + 9 * DAY},
        {"shop": "b", "tier": "back", "since": noon, "until": START},
        {"shop": "c", "tier": "tin", "since": START, "until": None},
        {"shop": "c", "tier": "late", "since": START + DAY, "until": START + 2 * DAY},
        {"shop": "d", "tier": "tin", "since": START, "until": START + DAY},
        {"shop": "d", "tier": "zinc", "since": START + DAY, "until": None},
    ]
    work.deliver("tiers", spans)
    table = tier_table(work)
    work.build(table)
    assert sorted(row["tier"] for row in work.quarantined(table)) == ["back", "late", "lead"]
    assert {tuple(row["broken_rules"]) for row in work.quarantined(table)} == {("validity_is_in_order",)}
    kept = work.jobs.spark.read.format("delta").load(f"{work.lake}/tier")
    assert sorted(row["tier"] or "" for row in kept.collect()) == ["", "gold", "tin", "tin", "zinc"]
    assert "validity_is_in_order" not in kept.columns


def test_a_table_of_others_is_declared_by_its_path() -> None:
    """A view over anything else is refused where it is declared, with what to write."""
    view = FeatureView(
        name="theirs", entities=[], schema=[Field(name="a", dtype=Float64)], source=SparkSource(table="a")
    )
    with pytest.raises(SourceDeclarationError, match=r"'theirs' is no Delta table by its path.*table_format"):
        ExternalTable(view=view, contract=contract(view))
