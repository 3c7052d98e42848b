"""What must be there before a job can start, and what is said where it is not."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from feature_repo.landing import SampleDataError, land_samples, landing_folder
from pedigree.jobs.build.build import Jobs
from pedigree.jobs.errors import JavaMissingError, JobSettingsError
from pedigree.jobs.settings import spark_conf
from pedigree.jobs.spark.java import require_java


def test_a_missing_java_is_told_with_the_way_to_get_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Spark's own words for a missing Java help nobody; ours name the version and a command."""
    monkeypatch.setenv("JAVA_HOME", str(tmp_path))
    with pytest.raises(JavaMissingError, match="Java 17 or newer"):
        require_java()


def test_an_old_java_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Java 11 starts and then fails deep within Spark; it is refused by its version before that."""
    java = tmp_path / "bin" / "java"
    java.parent.mkdir()
    java.write_text("#!/bin/sh\necho 'openjdk version \"11.0.2\" 2019-01-15' >&2\n")
    java.chmod(0o755)
    monkeypatch.setenv("JAVA_HOME", str(tmp_path))
    with pytest.raises(JavaMissingError, match=r"11\.0\.2"):
        require_java()


def test_a_file_without_spark_settings_runs_locally(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What feature_store.yaml does not say has a default: local Spark with Delta, in UTC, with the jars of the folder."""
    yaml = tmp_path / "feature_store.yaml"
    yaml.write_text("project: shop\n")
    monkeypatch.setenv("PEDIGREE_JARS", str(tmp_path / "jars"))
    conf, jars = spark_conf(yaml)
    assert jars == tmp_path / "jars"
    assert dict(conf)["spark.master"] == "local[*]"
    assert dict(conf)["spark.sql.session.timeZone"] == "UTC"


def test_the_file_wins_over_the_defaults(tmp_path: Path) -> None:
    """A setting of the file stands in place of the default, and with packages of its own no jars are fetched."""
    yaml = tmp_path / "feature_store.yaml"
    settings = {"spark.master": "spark://host:7077", "spark.jars.packages": "io.delta:delta-spark_4.1_2.13:4.4.0"}
    yaml.write_text(json.dumps({"project": "shop", "offline_store": {"spark_conf": settings}}))
    conf, jars = spark_conf(yaml)
    assert jars is None
    assert dict(conf).items() >= settings.items()
    assert "spark.driver.extraClassPath" not in dict(conf)


def test_spark_settings_that_are_no_mapping_are_refused(tmp_path: Path) -> None:
    """The message names the block and the file."""
    yaml = tmp_path / "feature_store.yaml"
    yaml.write_text("project: shop\noffline_store: {spark_conf: fast}\n")
    with pytest.raises(JobSettingsError, match=r"offline_store\.spark_conf"):
        spark_conf(yaml)


def test_landing_twice_copies_once(jobs: Jobs, tmp_path: Path) -> None:
    """The sample is landed whole, and again only where it is not there or differs."""
    places = replace(jobs.repository.settings, landing=(tmp_path / "landing").as_uri())
    empty = replace(jobs, repository=replace(jobs.repository, settings=places))
    assert land_samples(empty) == {"flights": 336_776, "weather": 26_115, "planes": 3_322, "airports": 1_458}
    assert land_samples(empty) == {}
    (tmp_path / "landing" / "planes.csv").write_text("tailnum\n")
    assert land_samples(empty) == {"planes": 3_322}


def test_the_sample_is_not_landed_in_an_object_store() -> None:
    """Copying into a bucket is the bucket's own tool's work; the message says so."""
    with pytest.raises(SampleDataError, match="s3a://bucket"):
        landing_folder("s3a://bucket/landing")
