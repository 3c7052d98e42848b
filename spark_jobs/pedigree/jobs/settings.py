"""Where jobs run and what they read: one frozen value, read once from `PEDIGREE_…`."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

import yaml

from pedigree.jobs.errors import JobSettingsError


@dataclass(frozen=True, slots=True)
class JobSettings:
    """`landing` is the URI of the folder with the source files; `spark_conf` is what every session is opened with.

    `spark_conf` may hold keys of object stores, so no text shows it.
    """

    feature_store_yaml: Path
    landing: str
    spark_conf: tuple[tuple[str, str], ...] = field(repr=False)

    def source(self, file: str) -> str:
        """The URI of one source file."""
        return f"{self.landing}/{file}"


@cache
def job_settings() -> JobSettings:
    """Read `PEDIGREE_FEATURE_STORE_YAML`, `PEDIGREE_LANDING` and `PEDIGREE_SPARK_MASTER` (which wins over the YAML).

    Raises:
        SettingsError: the YAML is missing or holds no Spark settings.
    """
    path = Path(os.environ.get("PEDIGREE_FEATURE_STORE_YAML", "feature_repo/feature_store.yaml"))
    landing = os.environ.get("PEDIGREE_LANDING", Path(".pedigree/landing").absolute().as_uri())
    return JobSettings(feature_store_yaml=path.absolute(), landing=landing.rstrip("/"), spark_conf=spark_conf(path))


def spark_conf(path: Path) -> tuple[tuple[str, str], ...]:
    """The settings of the Spark session, as Feast's own offline store reads them from `feature_store.yaml`."""
    if not path.is_file():
        raise JobSettingsError(
            f"There is no {path}. Run from the repository's root, or set PEDIGREE_FEATURE_STORE_YAML to the file."
        )
    config = yaml.safe_load(os.path.expandvars(path.read_text()))
    conf = (config.get("offline_store") or {}).get("spark_conf")
    if not conf:
        raise JobSettingsError(
            f"{path} has no offline_store.spark_conf. Copy the block of feature_repo/feature_store.yaml."
        )
    master = os.environ.get("PEDIGREE_SPARK_MASTER")
    merged = {**conf, **({"spark.master": master} if master else {})}
    return tuple((str(name), str(value)) for name, value in merged.items())
