"""How Spark is started: one frozen value, read once."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

from pedigree.features.settings import read_yaml, repository_settings
from pedigree.jobs.errors import JobSettingsError


@dataclass(frozen=True, slots=True)
class JobSettings:
    """How a session is opened. `spark_conf` may hold keys of object stores, so no text shows it."""

    feature_store_yaml: Path
    spark_conf: tuple[tuple[str, str], ...] = field(repr=False)


@cache
def job_settings() -> JobSettings:
    """The Spark settings of the repository that is worked in; `PEDIGREE_SPARK_MASTER` wins over the file.

    Raises:
        RepositoryError: there is no `feature_store.yaml`, or it cannot be read.
        JobSettingsError: it holds no Spark settings.
    """
    path = repository_settings().feature_store_yaml
    return JobSettings(feature_store_yaml=path, spark_conf=spark_conf(path))


def spark_conf(path: Path) -> tuple[tuple[str, str], ...]:
    """The settings of the Spark session, as Feast's own offline store reads them from `feature_store.yaml`."""
    conf = (read_yaml(path).get("offline_store") or {}).get("spark_conf")
    if not conf:
        raise JobSettingsError(
            f"{path} has no offline_store.spark_conf. `pedigree init` writes a file that has it; docs/settings.md lists it."
        )
    master = os.environ.get("PEDIGREE_SPARK_MASTER")
    merged = {**conf, **({"spark.master": master} if master else {})}
    return tuple((str(name), str(value)) for name, value in merged.items())
