"""A shop's repository, of which the product knows nothing: its orders, database and another team's table, to what is served.

Every value is held against plain Python over the rows that were put in.
"""

from __future__ import annotations

import asyncio
import dataclasses
import json
import os
import random
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import sqlalchemy as sa
from deltalake import write_deltalake
from feast import FeatureStore
from pyspark.sql import SparkSession

from pedigree.features.repository import Repository, current_repository
from pedigree.features.settings import repository_settings
from pedigree.jobs.build.build import Built, Jobs, build
from pedigree.jobs.errors import VersionRefusedError
from pedigree.jobs.time_slice import TimeSlice
from pedigree.lineage.recorder import Recorder
from pedigree.lineage.settings import lineage_settings

from ..commands import run_command
from ..postgres_server import PostgresServer
from ..redis_server import RedisServer

SHOP = Path(__file__).resolve().parents[1] / "repositories" / "shop"
START = datetime(2026, 1, 1, tzinfo=UTC)
DAY = timedelta(days=1)
JANUARY = TimeSlice(START, START + 31 * DAY)
NOW = START + 30 * DAY
SKUS = ("apple", "bread", "crème brûlée")
YAML = """
project: shop
provider: local
registry: {{registry_type: sql, path: "sqlite:///{folder}/registry.db", cache_ttl_seconds: 0}}
offline_store: {{type: pedigree.jobs.historical.offline_store.PedigreeOfflineStore, knowledge_time: false}}
online_store: {{type: pedigree.online.feast_plugin.PedigreeOnlineStore, connection_string: "127.0.0.1:{port}"}}
batch_engine: {{type: pedigree.jobs.materialize.compute_engine.PedigreeSparkEngine}}
entity_key_serialization_version: 3
"""


def orders() -> list[dict[str, Any]]:
    """Two hundred orders of ten customers within 28 days; every fifth arrives three days late."""
    chance = random.Random(3)
    rows = []
    for number in range(200):
        ordered_at = START + timedelta(minutes=chance.randrange(28 * 24 * 60))
        late = timedelta(days=3) if number % 5 == 0 else timedelta(minutes=5)
        rows.append(
            {
                "customer_id": chance.randrange(1, 11),
                "sku": chance.choice(SKUS),
                "price": Decimal(chance.randrange(100, 10_000)) / 100,
                "ordered_at": ordered_at,
                "arrived_at": ordered_at + late,
            }
        )
    return rows


def ratings() -> list[dict[str, Any]]:
    """Each customer's rating of each product, and a later one of some."""
    chance = random.Random(4)
    first: list[dict[str, Any]] = [
        {"customer_id": customer, "sku": sku, "rating": chance.randrange(1, 6), "rated_at": START + 2 * DAY}
        for customer in range(1, 11)
        for sku in SKUS
    ]
    return [*first, *({**row, "rating": 1 + row["rating"] % 5, "rated_at": START + 9 * DAY} for row in first[::3])]


CUSTOMERS = [(number, f"city {number}", Decimal(number) / 100, START - number * DAY) for number in range(1, 11)]
ORDERS, RATINGS = orders(), ratings()


@dataclass(frozen=True)
class Shop:
    """The repository with everything in place, built and loaded."""

    folder: Path
    repository: Repository
    jobs: Jobs
    built: dict[str, Built]
    store: FeatureStore


def deliver(landing: Path, database: str) -> None:
    """Put the shop's data where it comes from."""
    (landing / "orders").mkdir(parents=True)
    schema = pa.schema({"customer_id": pa.int64(), "sku": pa.string(), "price": pa.decimal128(10, 2)})
    for name in ("ordered_at", "arrived_at"):
        schema = schema.append(pa.field(name, pa.timestamp("us", "UTC")))
    pq.write_table(pa.Table.from_pylist(ORDERS, schema), landing / "orders" / "part-0.parquet")
    write_deltalake(landing / "ratings", rated(RATINGS))
    with sa.create_engine(database).begin() as connection:
        connection.execute(
            sa.text("CREATE TABLE customers (id BIGINT, city TEXT, discount NUMERIC(4,3), since TIMESTAMPTZ)")
        )
        insert = sa.text("INSERT INTO customers VALUES (:id, :city, :discount, :since)")
        names = ("id", "city", "discount", "since")
        connection.execute(insert, [dict(zip(names, row, strict=True)) for row in CUSTOMERS])


def rated(rows: list[dict[str, Any]]) -> pa.Table:
    """Ratings as the other team writes them."""
    schema = pa.schema({"customer_id": pa.int64(), "sku": pa.string(), "rating": pa.int64()})
    return pa.Table.from_pylist(rows, schema.append(pa.field("rated_at", pa.timestamp("us", "UTC"))))


@pytest.fixture(scope="module")
def shop(spark: SparkSession, redis_server: RedisServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shop]:
    folder = tmp_path_factory.mktemp("shop") / "shop"
    shutil.copytree(SHOP, folder)
    (folder / "feature_store.yaml").write_text(YAML.format(folder=folder, port=redis_server.port))
    postgres = PostgresServer()
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("PEDIGREE_FEATURE_STORE_YAML", str(folder / "feature_store.yaml"))
        environment.setenv("PEDIGREE_LAKE", (folder / "lake").as_uri())
        environment.setenv("PEDIGREE_LANDING", (folder / "landing").as_uri())
        environment.setenv("SHOP_DATABASE", postgres.jdbc_url)
        environment.setenv("SHOP_USER", "postgres")
        repository_settings.cache_clear()
        deliver(folder / "landing", postgres.url)
        repository = current_repository()
        settings = dataclasses.replace(lineage_settings(), url="http://127.0.0.1:9", outbox=folder / "outbox")
        with Recorder.open(settings) as recorder:
            jobs = Jobs(spark, repository, recorder, progress=lambda _stage: None)
            built = {name: build(table, JANUARY, jobs) for name, table in repository.tables.items()}
            applied = run_command("feast", "apply", cwd=folder, environment=os.environ)
            assert applied.returncode == 0, applied.stdout
            store = FeatureStore(repo_path=str(folder))
            store.materialize(START - 365 * DAY, NOW)
            yield Shop(folder, repository, jobs, built, store)
            jobs.events.clear()
            asyncio.run(store.close())
    postgres.stop()
    repository_settings.cache_clear()


def spent(customer: int, at: datetime, over: timedelta) -> list[Decimal] | None:
    """What a customer's window holds at the last full hour before an instant; None before the first order has arrived."""
    hour = timedelta(hours=1)
    end = START + (at - START) // hour * hour
    arrived = [row for row in ORDERS if row["customer_id"] == customer and row["arrived_at"] < end]
    return [row["price"] for row in arrived if end - over <= row["arrived_at"]] if arrived else None


def rating(customer: int, sku: str, at: datetime) -> int | None:
    """A customer's newest rating of a product at an instant."""
    known = [row for row in RATINGS if (row["customer_id"], row["sku"]) == (customer, sku) and row["rated_at"] <= at]
    return max(known, key=lambda row: row["rated_at"])["rating"] if known else None


def sold(sku: str, at: datetime) -> tuple[int, float] | None:
    """How much of a product was sold on the newest day with a sale before an instant, and for how much."""
    days = [(row["ordered_at"] - START) // DAY for row in ORDERS if row["sku"] == sku]
    ended = [day for day in days if START + (day + 1) * DAY <= at]
    if not ended:
        return None
    prices = [row["price"] for row in ORDERS if row["sku"] == sku and (row["ordered_at"] - START) // DAY == max(ended)]
    return len(prices), float(sum(prices))


def expected(customer: int, sku: str, at: datetime, total: float) -> dict[str, Any]:
    """The vector that must be served of a customer and a product."""
    week, month, day = spent(customer, at, 7 * DAY), spent(customer, at, 30 * DAY), sold(sku, at)
    return {
        "amount_sum_7d": float(sum(week)) if week else None,
        "amount_max_30d": float(max(month)) if month else None,
        "orders_count_30d": None if month is None else len(month),
        "city": f"City {customer}",
        "discount": customer / 100,
        "sold": day and day[0],
        "revenue": day and day[1],
        "stars": rating(customer, sku, at),
        "to_pay": total * (1 - customer / 100),
    }


def test_every_table_is_built_and_counted(shop: Shop) -> None:
    """Windows, a function, a query over a database and another team's table: each accounts for what it read."""
    assert {name: (built.rows.published, built.rows.quarantined) for name, built in shop.built.items()} == {
        "customer_profile": (10, 0),
        "customer_spend": (shop.built["customer_spend"].rows.computed, 0),
        "product_sales": (len({(row["sku"], row["ordered_at"].date()) for row in ORDERS}), 0),
        "ratings": (len(RATINGS), 0),
    }
    assert shop.built["customer_spend"].rows.events.used == len(ORDERS)
    assert shop.built["customer_profile"].rows.sources == {"customers": 10}
    assert shop.built["product_sales"].rows.sources == {"orders": 200}


def test_what_is_served_is_what_was_put_in(shop: Shop) -> None:
    """Keys of whole numbers and of text, a key of both, money as decimals, late orders, and a basket sent with the request."""
    wanted = [(customer, sku, 10.0 * customer) for customer in (1, 5, 10) for sku in SKUS]
    rows = [{"customer_id": customer, "sku": sku, "total": total} for customer, sku, total in wanted]
    found = shop.store.get_online_features(shop.store.get_feature_service("offer"), rows).to_dict()
    for place, (customer, sku, total) in enumerate(wanted):
        vector = {name: found[name][place] for name in expected(customer, sku, NOW, total)}
        assert vector == pytest.approx(expected(customer, sku, NOW, total)), (customer, sku)


@pytest.mark.parametrize("engine", ["duckdb", "spark"])
def test_what_is_trained_on_is_what_was_known(shop: Shop, engine: str) -> None:
    """At each label's instant a row has what had arrived by then, of either engine."""
    chance = random.Random(5)
    labels = [
        {
            "customer_id": chance.randrange(1, 11),
            "sku": chance.choice(SKUS),
            "total": 50.0,
            "event_timestamp": START + timedelta(minutes=chance.randrange(30 * 24 * 60)),
        }
        for _ in range(40)
    ]
    store = shop.store
    before = store.config.offline_store.engine
    store.config.offline_store.engine = engine
    try:
        frame = store.get_historical_features(pd.DataFrame(labels), store.get_feature_service("offer")).to_df()
    finally:
        store.config.offline_store.engine = before
    assert len(frame) == len(labels)
    for row in frame.to_dict("records"):
        at = row["event_timestamp"].to_pydatetime()
        for name, value in expected(row["customer_id"], row["sku"], at, 50.0).items():
            assert (None if pd.isna(row[name]) else row[name]) == pytest.approx(value), (name, row)


def test_a_version_that_breaks_the_contract_is_refused_and_the_one_before_stays(shop: Shop) -> None:
    """Six stars are no rating: the version stays out as a whole, the row is kept by name, and what was served is served on."""
    before, table = shop.built["ratings"], shop.repository.tables["ratings"]
    bad = {"customer_id": 1, "sku": "apple", "rating": 6, "rated_at": START + 20 * DAY}
    place = shop.folder / "landing" / "ratings"
    write_deltalake(place, rated([bad]), mode="append")
    with pytest.raises(VersionRefusedError, match=f"version {before.version} is the one that may be loaded"):
        build(table, JANUARY, shop.jobs)
    kept = shop.jobs.spark.read.format("delta").load(shop.repository.lake.quarantine("ratings")).collect()
    assert [(row["rating"], row["broken_rules"]) for row in kept] == [(6, ["rating_is_one_to_five"])]
    shop.store.materialize(START - 365 * DAY, NOW, feature_views=["ratings"])
    key = [{"customer_id": 1, "sku": "apple"}]
    served = shop.store.get_online_features(["ratings:stars"], key).to_dict()["stars"]
    assert served == [rating(1, "apple", NOW)]
    write_deltalake(place, rated(RATINGS), mode="overwrite")
    mended = build(table, JANUARY, shop.jobs)
    assert mended.version == before.version + 2
    shop.store.materialize(START - 365 * DAY, NOW, feature_views=["ratings"])
    assert shop.store.get_online_features(["ratings:stars"], key).to_dict()["stars"] == served
    assert not list((place / "_delta_log").glob("*pedigree*"))


def test_the_events_tell_what_was_read(shop: Shop) -> None:
    """The database's table, the other team's version with the verdict on it, and declared columns; no password anywhere."""
    events = [json.loads(path.read_text()) for path in sorted((shop.folder / "outbox").glob("*.json"))]
    ended = {event["job"]["name"]: event for event in events if event["eventType"] == "COMPLETE"}
    [customers] = ended["build.customer_profile"]["inputs"]
    assert customers["namespace"].startswith("postgres://127.0.0.1:")
    assert customers["name"] == "postgres.public.customers"
    [audited] = ended["audit.ratings"]["inputs"]
    assert audited["name"].endswith("landing/ratings")
    assert len(audited["facets"]["dataQualityAssertions"]["assertions"]) == 6
