"""What keeps the table versions alive that kept training sets need, and what frees the rest.

A table that a set was cut from gets Delta properties that make stock VACUUM and the clean-up of the log leave every version
alone. `clean` then removes what neither the table nor any kept set needs.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from deltalake import DeltaTable
from deltalake.exceptions import TableNotFoundError
from pyspark.errors import AnalysisException
from pyspark.sql import SparkSession
from pyspark.sql import functions as F

from pedigree.jobs.settings import job_settings
from pedigree.jobs.spark.session import open_session
from pedigree.jobs.training_sets.errors import VacuumUnsafeError
from pedigree.jobs.training_sets.manifest import Manifest, Pin
from pedigree.jobs.training_sets.store import TrainingSetStore
from pedigree.jobs.training_sets.table_versions import delta_place

FOREVER = "interval 36500 days"
HELD = ("delta.deletedFileRetentionDuration", "delta.logRetentionDuration")
FORMER = "pedigree.before.{}"
"""Where a table remembers what a property was before it was held."""

RETENTION = timedelta(days=7)
"""How long a file stays after the table stopped needing it, as Delta's own default."""

CHECK = "spark.databricks.delta.retentionDurationCheck.enabled"
PARALLELISM = "spark.sql.sources.parallelPartitionDiscovery.parallelism"
"""Into how many tasks VACUUM cuts the inventory: 10,000, where nobody says otherwise."""

DELETION_VECTOR = "deletion_vector_"
INVENTORY = "path STRING, length LONG, isDir BOOLEAN, modificationTime LONG"

PIN_LASTS = timedelta(days=7)
"""How long a set may be under way. What was pinned before is of one that was killed."""

Holder = Manifest | Pin
Needs = Mapping[int, tuple[Holder, ...]]
"""The sets, kept or under way, that need each version of a table."""


@dataclass(frozen=True, slots=True)
class Retention:
    """What the sets of one version keep alive that the table itself does not need any more."""

    version: int
    sets: tuple[Holder, ...]
    files: int
    size: int


@dataclass(frozen=True, slots=True)
class Cleaned:
    """What was, or would be, removed from a table, and what is held. Sizes are bytes."""

    uri: str
    files: int
    size: int
    held: tuple[Retention, ...]


@dataclass(frozen=True, slots=True)
class Listed:
    """A file of a table's folder."""

    path: str
    size: int
    changed_at: datetime

    @property
    def name(self) -> str:
        """The last part of the path. Delta gives every file a name of its own."""
        return self.path.rsplit("/", 1)[-1]


def needs(holders: Iterable[Holder], uri: str) -> Needs:
    """Which versions of a table the sets need."""
    oldest = datetime.now(UTC) - PIN_LASTS
    found: dict[int, tuple[Holder, ...]] = {}
    for holder in holders:
        if isinstance(holder, Pin) and holder.begun_at < oldest:
            continue
        for source in holder.sources:
            if source.uri == uri:
                found[source.version] = (*found.get(source.version, ()), holder)
    return dict(sorted(found.items()))


def hold(uri: str) -> None:
    """Make stock VACUUM and log clean-up leave every version of a table alone; what the properties were is remembered.

    Only a table that is not held yet takes a Spark session, and a commit.
    """
    properties = table_properties(uri)
    if is_held(properties):
        return
    spark = open_session(job_settings())
    former = {FORMER.format(name): properties[name] for name in HELD if name in properties}
    settings = {**dict.fromkeys(HELD, FOREVER), **former}
    pairs = ", ".join(f"'{name}' = '{value}'" for name, value in settings.items())
    spark.sql(f"ALTER TABLE delta.`{uri}` SET TBLPROPERTIES ({pairs})")


def is_held(properties: Mapping[str, str]) -> bool:
    """True for the properties of a table whose versions are kept."""
    return all(properties.get(name) == FOREVER for name in HELD)


def release(uri: str) -> None:
    """Give a table that no set needs any more its former properties back."""
    properties = table_properties(uri)
    if not is_held(properties):
        return
    spark = open_session(job_settings())
    former = {name: properties[FORMER.format(name)] for name in HELD if FORMER.format(name) in properties}
    if former:
        pairs = ", ".join(f"'{name}' = '{value}'" for name, value in former.items())
        spark.sql(f"ALTER TABLE delta.`{uri}` SET TBLPROPERTIES ({pairs})")
    gone = [name for name in HELD if name not in former] + [FORMER.format(name) for name in former]
    names = ", ".join(f"'{name}'" for name in gone)
    spark.sql(f"ALTER TABLE delta.`{uri}` UNSET TBLPROPERTIES IF EXISTS ({names})")


def table_properties(uri: str) -> dict[str, str]:
    """A table's own properties; none where there is no table."""
    try:
        return dict(DeltaTable(delta_place(uri)).metadata().configuration)
    except TableNotFoundError:
        return {}


def clean(
    spark: SparkSession,
    uri: str,
    set_store: TrainingSetStore,
    *,
    retention: timedelta = RETENTION,
    is_dry_run: bool = False,
) -> Cleaned:
    """Remove the data files that the table has not needed for `retention` and no set, kept or under way, needs.

    Deletion vectors and change data stay; what is not older than `retention` stays too, since a writer may not have
    committed it yet. A set that is begun meanwhile reads the version that is current here, or a later one, so the current
    version is looked at before the sets are, and the folder last.

    Raises:
        VacuumUnsafeError: it cannot be told what the sets need; nothing was removed.
    """
    since = datetime.now(UTC) - retention
    current = files_of(spark, uri, None)
    needed = needs(set_store.holders(), uri)
    listed = files_below(spark, uri)
    by_version = {version: held_files(spark, uri, version, sets, listed) for version, sets in needed.items()}
    kept = current.union(removed_since(spark, uri, since), *by_version.values())
    goes = [file for name, file in listed.items() if name not in kept and file.changed_at < since]
    if goes and not is_dry_run:
        remove(spark, uri, goes)
    held = tuple(
        Retention(version, needed[version], len(names - current), sum(listed[name].size for name in names - current))
        for version, names in by_version.items()
    )
    return Cleaned(uri, len(goes), sum(file.size for file in goes), held)


def files_below(spark: SparkSession, uri: str) -> dict[str, Listed]:
    """The data files in a table's folder by their names, whether the table knows them or not."""
    found = spark.read.format("binaryFile").option("recursiveFileLookup", "true").load(uri)
    columns = found.select("path", "length", F.unix_micros("modificationTime").alias("changed_at")).collect()
    files = (
        Listed(row["path"], row["length"], datetime.fromtimestamp(0, UTC) + timedelta(microseconds=row["changed_at"]))
        for row in columns
    )
    return {file.name: file for file in files if not file.name.startswith(DELETION_VECTOR)}


def files_of(spark: SparkSession, uri: str, version: int | None) -> set[str]:
    """The names of the data files of one version, or of the current one."""
    reader = spark.read.format("delta")
    reader = reader if version is None else reader.option("versionAsOf", version)
    return {path.rsplit("/", 1)[-1] for path in reader.load(uri).inputFiles()}


def held_files(
    spark: SparkSession, uri: str, version: int, sets: tuple[Holder, ...], listed: Mapping[str, Listed]
) -> set[str]:
    """The names of the files that sets need; every one of them must be there."""
    names = ", ".join(holder.label for holder in sets)
    try:
        files = files_of(spark, uri, version)
    except AnalysisException as error:
        raise VacuumUnsafeError(
            uri, f"version {version}, which {names} need, cannot be read ({error.getCondition()})"
        ) from error
    absent = files - set(listed)
    if absent:
        what = f"{len(absent)} files of version {version}, which {names} need, are not in its folder, such as {min(absent)}"
        raise VacuumUnsafeError(uri, what)
    return files


def removed_since(spark: SparkSession, uri: str, since: datetime) -> set[str]:
    """The names of the files that the table stopped needing after an instant, by its log."""
    log = spark.read.schema("remove STRUCT<path: STRING>").option("pathGlobFilter", "*.json")
    commits = log.option("modifiedAfter", since.strftime("%Y-%m-%dT%H:%M:%S")).option("timeZone", "UTC")
    paths = commits.json(f"{uri}/_delta_log").where("remove.path IS NOT NULL").select("remove.path").collect()
    return {row["path"].rsplit("/", 1)[-1] for row in paths}


def remove(spark: SparkSession, uri: str, files: list[Listed]) -> None:
    """Have Delta itself remove the files; it leaves alone whatever the current version needs.

    Its check of the retention is off meanwhile, since the inventory has a retention of its own.
    """
    zero = datetime.fromtimestamp(0, UTC)
    rows = [(file.path, file.size, False, (file.changed_at - zero) // timedelta(milliseconds=1)) for file in files]
    spark.createDataFrame(rows, INVENTORY).createOrReplaceTempView("pedigree_inventory")
    with settings(spark, {CHECK: "false", PARALLELISM: "8"}):
        spark.sql(f"VACUUM delta.`{uri}` USING INVENTORY (FROM pedigree_inventory) RETAIN 0 HOURS")


@contextmanager
def settings(spark: SparkSession, values: Mapping[str, str]) -> Iterator[None]:
    """Within the block the session has these settings; after it, those that it had."""
    former = {name: spark.conf.get(name, None) for name in values}
    for name, value in values.items():
        spark.conf.set(name, value)
    try:
        yield
    finally:
        for name, value in former.items():
            spark.conf.unset(name) if value is None else spark.conf.set(name, value)
