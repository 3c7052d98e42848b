"""How Spark is started: one frozen value, read once."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

from pedigree.features.settings import read_yaml, repository_settings
from pedigree.jobs.errors import JobSettingsError

DEFAULT_JARS = Path(".pedigree") / "jars"
"""Where the jars of local sessions are kept, relative to the working directory."""


def defaults(jars: Path) -> dict[str, str]:
    """What a session has where `feature_store.yaml` says nothing else: local Spark with Delta, in UTC, for small data.

    Args:
        jars: the folder with the jars that Spark does not ship.
    """
    return {
        "spark.master": "local[*]",
        "spark.app.name": "pedigree",
        "spark.driver.extraClassPath": f"{jars}/*",
        "spark.sql.extensions": "io.delta.sql.DeltaSparkSessionExtension",
        "spark.sql.catalog.spark_catalog": "org.apache.spark.sql.delta.catalog.DeltaCatalog",
        "spark.sql.session.timeZone": "UTC",
        "spark.sql.execution.arrow.pyspark.enabled": "true",
        "spark.sql.shuffle.partitions": "4",
        "spark.databricks.delta.snapshotPartitions": "2",
        "spark.driver.memory": "3g",
        "spark.driver.extraJavaOptions": "-XX:+UseParallelGC",
        "spark.driver.host": "127.0.0.1",
        "spark.driver.bindAddress": "127.0.0.1",
        "spark.ui.enabled": "false",
        "spark.ui.showConsoleProgress": "false",
        "spark.log.level": "ERROR",
    }


@dataclass(frozen=True, slots=True)
class JobSettings:
    """How a session is opened.

    Attributes:
        spark_conf: what every session is opened with. It may hold keys of object stores, so no text shows it.
        jars: the folder that the jars are in, and fetched to where it is empty; None where the settings name other jars.
    """

    feature_store_yaml: Path
    spark_conf: tuple[tuple[str, str], ...] = field(repr=False)
    jars: Path | None = None


@cache
def job_settings() -> JobSettings:
    """The Spark settings of the repository that is worked in.

    The file's `offline_store.spark_conf` wins over the defaults and `PEDIGREE_SPARK_MASTER` over the file. `PEDIGREE_JARS` is the
    folder of the jars.

    Raises:
        RepositoryError: there is no `feature_store.yaml`, or it cannot be read.
    """
    path = repository_settings().feature_store_yaml
    return JobSettings(path, *spark_conf(path))


def spark_conf(path: Path) -> tuple[tuple[tuple[str, str], ...], Path | None]:
    """The settings of the Spark session, and the folder of jars that they use, where it is ours.

    Raises:
        JobSettingsError: `offline_store.spark_conf` is not a mapping.
    """
    jars, conf = jars_folder(), (read_yaml(path).get("offline_store") or {}).get("spark_conf") or {}
    if not isinstance(conf, dict):
        raise JobSettingsError(f"offline_store.spark_conf of {path} must be a mapping of Spark's settings.")
    merged = completed(conf)
    uses_ours = merged.get("spark.driver.extraClassPath") == f"{jars}/*"
    return tuple(merged.items()), jars if uses_ours else None


def jars_folder() -> Path:
    """Where the jars of local sessions are."""
    return Path(os.environ.get("PEDIGREE_JARS") or DEFAULT_JARS)


def completed(conf: Mapping[str, object]) -> dict[str, str]:
    """Spark's settings with defaults for what they do not say; `PEDIGREE_SPARK_MASTER` wins over them."""
    master = os.environ.get("PEDIGREE_SPARK_MASTER")
    merged = {**defaults(jars_folder()), **conf, **({"spark.master": master} if master else {})}
    if "spark.jars.packages" in conf:
        merged.pop("spark.driver.extraClassPath")
    return {str(name): str(value) for name, value in merged.items()}
