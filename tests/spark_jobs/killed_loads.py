"""Loads that a test may kill: a program that forks a child for each, which works on the Spark of the test's own process.

Each line of its input is a load as JSON. Its answer is the child's process id, and then, once the child has ended, how it ended.
A killed child's executors write on for a while, as those of a real cluster may.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable
from dataclasses import replace
from importlib import import_module
from typing import Any

from pyspark import SparkConf, SparkContext
from pyspark.java_gateway import launch_gateway
from pyspark.sql import SparkSession

from pedigree.jobs.materialize.load import load, refresh, roll_back
from pedigree.jobs.materialize.redis_writer import Loading
from pedigree.online.store.address import parse
from pedigree.online.store.redis_store import RedisStore

LOADING: Loading = import_module("purchases").LOADING
"""From beside this program: a package of another distribution is called `tests` as well."""

WAYS: dict[str, Callable[..., Any]] = {"materialize": load, "rollback": roll_back, "rebuild": refresh}


def joined_session() -> SparkSession:
    """A session on the Spark whose gateway the environment names."""
    gateway = launch_gateway()
    jvm: Any = gateway.jvm
    jsc = jvm.JavaSparkContext.fromSparkContext(jvm.org.apache.spark.SparkContext.getOrCreate())
    conf = SparkConf(_jconf=jsc.getConf())
    return SparkSession(SparkContext(gateway=gateway, jsc=jsc, conf=conf)).newSession()


def run(order: dict[str, Any]) -> None:
    """One load, a few rows at a time."""
    spark = joined_session()
    spark.conf.set("spark.sql.execution.arrow.maxRecordsPerBatch", "50")
    loading = replace(LOADING, uri=order["uri"], version=order["version"], published=order["version"])
    redis_store = RedisStore.open("shop", parse(order["address"]))
    WAYS[order["way"]](loading, redis_store, spark, run_id="killed", progress=lambda _rows: None)


def main() -> None:
    """Fork a child for each line."""
    for line in sys.stdin:
        child = os.fork()
        if child == 0:
            run(json.loads(line))
            os._exit(0)
        sys.stdout.write(f"{child}\n")
        sys.stdout.flush()
        _, status = os.waitpid(child, 0)
        sys.stdout.write(f"{status}\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
