"""Which versions of a table may be served: those whose rows passed a quality gate, as their commits or our audit log say."""

from __future__ import annotations

from delta.tables import DeltaTable
from pyspark.sql import SparkSession

from pedigree.features.lake import current_lake
from pedigree.jobs import audit_log
from pedigree.jobs.delta_tables import commits
from pedigree.jobs.errors import UnauditedTableError, UnbuiltTableError
from pedigree.jobs.gate_mark import Audited, audited, content_of, passed


def audited_version(spark: SparkSession, uri: str, table: str) -> Audited:
    """The newest version of a table that may be served: written by a run that passed its gate, audited, or changed in form only.

    Raises:
        UnbuiltTableError: there is no table.
        UnauditedTableError: none of its commits passed the gate.
    """
    if not DeltaTable.isDeltaTable(spark, uri):
        raise UnbuiltTableError(table, uri)
    every = list(commits(spark, uri))
    found = audited(every, uri, by_audit(spark, uri, table))
    if found is None:
        former = [commit.version for commit in every if commit.run_of_a_release_before]
        raise UnauditedTableError(table, uri, commits=len(every), former=former)
    return found


def version_before(spark: SparkSession, uri: str, version: int, table: str) -> int | None:
    """The last audited version with other rows than `version` has; None where there is none that Delta still tells of."""
    every = list(commits(spark, uri))
    content = content_of(every, version)
    below = version if content is None else content.version
    good = passed(every, uri, by_audit(spark, uri, table))
    return max((commit.version for commit in good if commit.version < below), default=None)


def may_be_named(spark: SparkSession, uri: str, version: int, table: str) -> bool:
    """True where a person may ask for a version: its rows passed the gate, or are of a run of a release without marks."""
    every = list(commits(spark, uri))
    content = content_of(every, version)
    if content is None or version not in {commit.version for commit in every}:
        return False
    return content in passed(every, uri, by_audit(spark, uri, table)) or content.run_of_a_release_before is not None


def by_audit(spark: SparkSession, uri: str, table: str) -> frozenset[int]:
    """The versions that our audit log lets pass; none of a table that we write, which has no log."""
    return audit_log.passed_versions(spark, current_lake().audits(table), uri)
