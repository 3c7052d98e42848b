"""A real Spark session with Delta, and ten days of real flights."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from feast import FeatureStore
from pydantic import SecretStr
from pyspark.sql import SparkSession

from feature_repo.sources import SOURCES
from pedigree.features.repository import Repository, current_repository
from pedigree.jobs.build.build import Jobs
from pedigree.jobs.settings import job_settings
from pedigree.jobs.spark.session import open_session
from pedigree.lineage.recorder import Recorder
from pedigree.lineage.settings import LineageSettings
from pedigree.online.store.redis_store import RedisStore

from .loaded_shop import CUSTOMER, Shop, config_of, purchases
from .sample import sample

QUICK = {
    "spark.sql.codegen.wholeStage": "false",
    "spark.sql.codegen.factoryMode": "NO_CODEGEN",
    "spark.sql.adaptive.enabled": "false",
    "spark.sql.shuffle.partitions": "2",
    "spark.databricks.delta.snapshotPartitions": "1",
    "spark.sql.sources.parallelPartitionDiscovery.parallelism": "2",
}
"""For few rows: plans are interpreted, which saves compiling each of them. The slow tests, and all commands, compile theirs."""


@pytest.fixture(scope="session")
def spark(request: pytest.FixtureRequest) -> SparkSession:
    settings = job_settings()
    is_quick = request.config.option.markexpr == "not slow"
    conf = {**dict(settings.spark_conf), **(QUICK if is_quick else {})}
    return open_session(replace(settings, spark_conf=tuple(conf.items())))


@pytest.fixture
def repository(tmp_path: Path) -> Repository:
    """The flights, with a lake of the test's own.

    The first ten days of March 2013 are landed; the clocks go forward on the tenth.
    """
    for source in SOURCES:
        content = sample(source.name)
        (tmp_path / source.file).write_bytes(content)
    loaded = current_repository()
    places = replace(loaded.settings, landing=tmp_path.as_uri(), lake=(tmp_path / "lake").as_uri())
    return replace(loaded, settings=places)


@pytest.fixture
def outbox(tmp_path: Path) -> Path:
    """Where the events of `jobs` wait: nothing listens at the backend's address."""
    return tmp_path / "outbox"


@pytest.fixture
def jobs(spark: SparkSession, repository: Repository, outbox: Path) -> Iterator[Jobs]:
    unreachable = LineageSettings("http://127.0.0.1:9", "tests", outbox, SecretStr("sqlite://"), None)
    recorder = Recorder.open(unreachable)
    jobs = Jobs(spark=spark, repository=repository, recorder=recorder, progress=lambda _stage: None)
    yield jobs
    jobs.events.clear()
    recorder.close()


@pytest.fixture
def shop(spark: SparkSession, tmp_path: Path, redis_store: RedisStore) -> Iterator[Shop]:
    made = Shop(spark, tmp_path, FeatureStore(config=config_of("shop", tmp_path, redis_store)), redis_store)
    made.store.apply([CUSTOMER, purchases(tmp_path)])
    yield made
    asyncio.run(made.store.close())
