"""A real Spark session with Delta, and ten days of real flights."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from pydantic import SecretStr
from pyspark.sql import SparkSession

from pedigree.jobs.build.build import Jobs
from pedigree.jobs.settings import JobSettings, job_settings
from pedigree.jobs.sources.reader import SOURCES
from pedigree.jobs.spark.session import open_session
from pedigree.lineage.recorder import Recorder
from pedigree.lineage.settings import LineageSettings

from .sample import sample


@pytest.fixture(scope="session")
def spark() -> SparkSession:
    return open_session(job_settings())


@pytest.fixture
def settings(tmp_path: Path) -> JobSettings:
    """Settings whose landing place holds the first ten days of March 2013: the clocks go forward on the tenth."""
    for source in SOURCES:
        content = sample(source.name)
        (tmp_path / source.file).write_bytes(content)
    return replace(job_settings(), landing=tmp_path.as_uri())


@pytest.fixture
def outbox(tmp_path: Path) -> Path:
    """Where the events of `jobs` wait: nothing listens at the backend's address."""
    return tmp_path / "outbox"


@pytest.fixture
def jobs(spark: SparkSession, settings: JobSettings, outbox: Path) -> Iterator[Jobs]:
    unreachable = LineageSettings("http://127.0.0.1:9", "tests", outbox, SecretStr("sqlite://"), None)
    recorder = Recorder.open(unreachable)
    jobs = Jobs(spark=spark, settings=settings, recorder=recorder, progress=lambda _stage: None)
    yield jobs
    jobs.facts.clear()
    recorder.close()
