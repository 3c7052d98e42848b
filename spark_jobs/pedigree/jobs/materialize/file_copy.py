"""A view over a Parquet file, before it is loaded: the file is copied into the lake where it or the view has changed."""

from __future__ import annotations

import copy
import logging
from datetime import UTC, datetime

from feast import FeatureView, RepoConfig
from pyspark.sql import SparkSession

from pedigree.features.file_table import copied_view, file_table, file_uri, is_parquet_file, spark_source
from pedigree.features.repository import current_repository
from pedigree.features.settings import repository_settings
from pedigree.jobs.errors import UnsupportedSourceError
from pedigree.jobs.time_slice import TimeSlice
from pedigree.lineage.recorder import Recorder

log = logging.getLogger(__name__)

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def over_the_lake(view: FeatureView, config: RepoConfig, spark: SparkSession, recorder: Recorder) -> FeatureView:
    """The view over its Delta table. A Parquet file is copied into the lake first, where it or the view has changed.

    Raises:
        UnsupportedSourceError: a table of the repository has the view's name.
        SourceMissingError, SchemaBrokenError: the file is not there, or is not what the view promises.
        QualityGateFailedError: too many rows have no key or no event time.
    """
    if not is_parquet_file(view.batch_source):
        return over_its_table(view, config)
    from pedigree.jobs.build.build import (
        build,  # Great Expectations takes seconds, which `feast apply` need not wait for
    )
    from pedigree.jobs.build.file_slice import is_copied
    from pedigree.jobs.build.jobs import Jobs

    repository = current_repository()
    if view.name in repository.tables:
        raise UnsupportedSourceError(
            view.name, "its rows are built, and its source is a file", f'Give the view `delta_table("{view.name}")`.'
        )
    copied, file = copied_view(view, repository.settings), file_uri(view.batch_source, config)
    if not is_copied(copied, file, spark):
        log.info("copying %s into the lake", file)
        jobs = Jobs(spark=spark, repository=repository, recorder=recorder, progress=lambda _stage: None)
        build(file_table(copied, file), TimeSlice(EPOCH, datetime.now(UTC)), jobs)
    return copied


def over_its_table(view: FeatureView, config: RepoConfig) -> FeatureView:
    """The view over its Delta table, also where its source is declared as a file; nothing is copied."""
    if is_parquet_file(view.batch_source):
        return copied_view(view, repository_settings())
    source = spark_source(view.batch_source, config)
    if source is view.batch_source:
        return view
    table = copy.copy(view)
    table.batch_source = source
    return table
