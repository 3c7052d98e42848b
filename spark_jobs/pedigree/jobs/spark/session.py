"""The one Spark session of a process. Feast's own stores and engines use the session that is already active."""

from __future__ import annotations

import os
import sys

from pyspark import SparkConf
from pyspark.sql import SparkSession

from pedigree.jobs.library_logs import quiet_libraries
from pedigree.jobs.settings import JobSettings
from pedigree.jobs.spark.jars import fetch_missing
from pedigree.jobs.spark.java import require_java


def open_session(settings: JobSettings) -> SparkSession:
    """The active session, or a new one with the settings of `feature_store.yaml`. Python workers are this interpreter."""
    quiet_libraries()
    active = SparkSession.getActiveSession()
    if active is not None:
        return active
    require_java()
    if settings.jars is not None:
        fetch_missing(settings.jars)
    os.environ.setdefault("PYSPARK_PYTHON", sys.executable)
    os.environ.setdefault("PYSPARK_DRIVER_PYTHON", sys.executable)
    return SparkSession.builder.config(conf=SparkConf().setAll(list(settings.spark_conf))).getOrCreate()
