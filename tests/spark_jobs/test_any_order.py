"""Apply, publish, delete, restore, vacuum, load, push and roll back in any order: what is served is what a plain model says.

The model is a few dicts. It knows the versions of the table, what of them is loaded, and the row that each key has in the store.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from delta.tables import DeltaTable
from feast import FeatureStore, Field
from feast.types import Float64, Int64
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule, run_state_machine_as_test
from pyspark.sql import SparkSession

from pedigree.jobs.errors import NothingToRollBackError, WithheldError
from pedigree.online.errors import NotLoadedError
from pedigree.online.store.redis_store import RedisStore

from .loaded_shop import Shop, config_of
from .purchases import DAY, START
from .test_changed_definitions import WIDE, declare, publish

SEQUENCES = int(os.environ.get("PEDIGREE_SEQUENCES", "4"))
"""How many sequences the slow test tries; five hundred take about half an hour on two idle cores."""

FEATURES = {
    "spend": Field(name="spend", dtype=Float64),
    "items": Field(name="items", dtype=Int64),
    "amount": Field(name="amount", dtype=Float64),
}
MAPPING = {"paid": "amount"}
CUSTOMERS = (1, 2, 3)
DAYS = 9

Rows = tuple["Purchase", ...]


@dataclass(frozen=True)
class Purchase:
    """A row of the table, or one that was pushed; the number makes all of them different."""

    customer: int
    at: datetime
    number: int

    @property
    def created_at(self) -> datetime:
        return self.at + DAY + timedelta(seconds=self.number)

    @property
    def values(self) -> dict[str, Any]:
        return {"spend": self.number + 0.5, "items": self.number * 10, "amount": self.number + 0.25}

    @property
    def columns(self) -> tuple[Any, ...]:
        values = self.values
        return (self.customer, "north", self.at, self.created_at, values["spend"], values["amount"], values["items"])


@dataclass(frozen=True)
class Stored:
    """What the store has of a key: a row, the features that it was written with, and whether it was pushed."""

    row: Purchase
    features: frozenset[str]
    is_pushed: bool


@dataclass
class Model:
    """What a user may expect.

    Attributes:
        head: what the table holds.
        versions: what each commit of the gate left, by its version, as far as the files are there.
        span: what is loaded of the time.
        loaded: the version of which.
        withheld: the version that was rolled back.
    """

    features: frozenset[str] = frozenset({"spend"})
    head: Rows = ()
    versions: dict[int, Rows] = field(default_factory=dict)
    span: tuple[datetime, datetime] | None = None
    loaded: int | None = None
    withheld: int | None = None
    store: dict[int, Stored] = field(default_factory=dict)

    @property
    def newest(self) -> int:
        return max(self.versions)

    def take(self, version: int) -> None:
        """The store has a version of the table, for the time that is loaded; what was pushed stays where it is newer."""
        assert self.span is not None
        since, until = self.span
        within = [row for row in self.versions[version] if since <= row.at <= until]
        for customer in CUSTOMERS:
            rows = [row for row in within if row.customer == customer]
            newest = max(rows, key=lambda row: (row.at, row.created_at), default=None)
            before = self.store.pop(customer, None)
            if before is not None and before.is_pushed and (newest is None or before.row.at > newest.at):
                self.store[customer] = before
            elif newest is not None:
                self.store[customer] = Stored(newest, self.features, is_pushed=False)
        self.loaded = version

    def load(self, since: datetime, until: datetime) -> None:
        low, high = self.span or (since, until)
        self.span = min(low, since), max(high, until)
        self.take(self.newest)

    def push(self, row: Purchase) -> None:
        before = self.store.get(row.customer)
        if before is None or row.at > before.row.at:
            self.store[row.customer] = Stored(row, self.features, is_pushed=True)

    def served(self, customer: int) -> dict[str, Any]:
        there = self.store.get(customer)
        found = {} if there is None else {name: there.row.values[name] for name in there.features}
        return {name: found.get(name) for name in self.features}


def machine(spark: SparkSession, redis_store: RedisStore, folder: Callable[[], Path]) -> type[RuleBasedStateMachine]:
    """The steps, over a session and a store."""
    customers, days = st.sampled_from(CUSTOMERS), st.integers(0, DAYS)

    class AnyOrder(RuleBasedStateMachine):
        def __init__(self) -> None:
            super().__init__()
            place = folder()
            redis_store.redis.flushall()
            self.shop = Shop(spark, place, FeatureStore(config=config_of("shop", place, redis_store)), redis_store)
            self.model, self.number = Model(), 0

        def row(self, customer: int, day: int, hours: int = 0) -> Purchase:
            self.number += 1
            return Purchase(customer, START + day * DAY + timedelta(hours=hours, seconds=self.number), self.number)

        def head_version(self) -> int:
            return int(DeltaTable.forPath(spark, self.shop.uri).history(1).collect()[0]["version"])

        def published(self, rows: Rows) -> None:
            self.model.head = rows
            self.model.versions[self.head_version()] = rows

        @initialize(customer=customers, day=days)
        def begin(self, customer: int, day: int) -> None:
            row = self.row(customer, day)
            publish(self.shop, row.columns)
            self.published((row,))
            declare(self.shop, FEATURES["spend"])

        @rule(places=st.lists(st.tuples(customers, days), min_size=1, max_size=3))
        def append(self, places: list[tuple[int, int]]) -> None:
            rows = tuple(self.row(*place) for place in places)
            publish(self.shop, *(row.columns for row in rows))
            self.published((*self.model.head, *rows))

        @rule(customer=customers, day=days)
        def replace_a_customer(self, customer: int, day: int) -> None:
            row = self.row(customer, day)
            publish(self.shop, row.columns, where=f"customer = {customer}")
            self.published((*(one for one in self.model.head if one.customer != customer), row))

        @rule(customer=customers, day=days)
        def overwrite(self, customer: int, day: int) -> None:
            row = self.row(customer, day)
            publish(self.shop, (*row.columns, 1), schema=f"{WIDE}, more_{self.number} BIGINT", overwrite=True)
            self.published((row,))
            # A table of other columns takes none of those before, so the next commits have these, too.
            publish(self.shop, row.columns, overwrite=True)
            self.published((row,))

        @rule(customer=customers)
        def delete_behind_the_gate(self, customer: int) -> None:
            DeltaTable.forPath(spark, self.shop.uri).delete(f"customer = {customer}")
            self.model.head = tuple(row for row in self.model.head if row.customer != customer)

        @rule()
        def optimize(self) -> None:
            DeltaTable.forPath(spark, self.shop.uri).optimize().executeCompaction()

        @precondition(lambda self: self.model.versions[self.model.newest] == self.model.head)
        @rule()
        def vacuum(self) -> None:
            check = "spark.databricks.delta.retentionDurationCheck.enabled"
            spark.conf.set(check, "false")
            DeltaTable.forPath(spark, self.shop.uri).vacuum(0)
            spark.conf.unset(check)
            self.model.versions = {self.model.newest: self.model.head}

        @rule(data=st.data())
        def restore(self, data: st.DataObject) -> None:
            version = data.draw(st.sampled_from(sorted(self.model.versions)))
            DeltaTable.forPath(spark, self.shop.uri).restoreToVersion(version)
            self.model.head = self.model.versions[version]

        @rule(names=st.sets(st.sampled_from(sorted(FEATURES)), min_size=1))
        def apply(self, names: set[str]) -> None:
            self.model.features = frozenset(names)
            declare(self.shop, *(FEATURES[name] for name in sorted(names)), mapping=MAPPING)

        @rule(first=days, length=st.integers(0, DAYS))
        def materialize(self, first: int, length: int) -> None:
            since, until = START + first * DAY, START + (first + length + 1) * DAY
            if self.model.withheld is not None and self.model.newest <= self.model.withheld:
                with pytest.raises(WithheldError):
                    self.shop.load(since, until)
                return
            self.shop.load(since, until)
            self.model.load(since, until)

        @rule(customer=customers, day=days)
        def push(self, customer: int, day: int) -> None:
            row = self.row(customer, day, hours=12)
            values = {name: row.values[name] for name in self.model.features}
            frame = pd.DataFrame([{"customer": customer, **values, "event_at": row.at, "created_at": row.created_at}])
            self.shop.store.write_to_online_store("purchases", frame)
            self.model.push(row)

        @precondition(lambda self: self.model.loaded in self.model.versions)
        @rule()
        def roll_back(self) -> None:
            assert self.model.loaded is not None
            before = [version for version in self.model.versions if version < self.model.loaded]
            if not before:
                with pytest.raises(NothingToRollBackError):
                    self.shop.rollback()
                return
            assert self.shop.rollback() == max(before)
            self.model.withheld = self.model.loaded
            self.model.take(max(before))

        def check_invariants(self, *arguments: Any, **more: Any) -> None:
            super().check_invariants(*arguments, **more)
            if self.number:
                self.check()

        def check(self) -> None:
            names = sorted(self.model.features)
            rows = [{"customer": customer} for customer in CUSTOMERS]
            asked = [f"purchases:{name}" for name in names]
            if self.model.span is None and not any(one.is_pushed for one in self.model.store.values()):
                with pytest.raises(NotLoadedError):
                    self.shop.store.get_online_features(asked, rows)
                return
            answer = self.shop.store.get_online_features(asked, rows).to_dict()
            found = [{name: answer[name][place] for name in names} for place in range(len(CUSTOMERS))]
            assert found == [self.model.served(customer) for customer in CUSTOMERS]

    return AnyOrder


@pytest.mark.parametrize("count", [20, pytest.param(SEQUENCES, marks=pytest.mark.slow)], ids=["few", "many"])
def test_what_is_served_is_what_the_model_says(
    spark: SparkSession, redis_store: RedisStore, tmp_path_factory: pytest.TempPathFactory, count: int
) -> None:
    """After each step of a sequence, every customer's features are the model's."""
    run_state_machine_as_test(
        machine(spark, redis_store, lambda: tmp_path_factory.mktemp("shop")),
        settings=settings(
            max_examples=count,
            stateful_step_count=5 if count == 20 else 12,
            deadline=None,
            derandomize=count == 20,
            database=None,
            phases=(Phase.generate,) if count == 20 else (Phase.generate, Phase.shrink),
            suppress_health_check=list(HealthCheck),
        ),
    )
