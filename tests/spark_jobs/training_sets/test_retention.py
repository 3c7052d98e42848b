"""VACUUM, ours and Delta's own, never takes what a kept training set needs."""

from __future__ import annotations

from datetime import timedelta

import pyarrow as pa
import pytest
from delta.tables import DeltaTable
from deltalake import DeltaTable as DeltaRs
from deltalake import write_deltalake
from deltalake.exceptions import DeltaError
from pyspark.errors import IllegalArgumentException

from pedigree.jobs.training_sets.errors import VacuumUnsafeError
from pedigree.jobs.training_sets.retention import Cleaned, clean, table_properties
from pedigree.jobs.training_sets.service import delete, rebuild
from pedigree.jobs.training_sets.verification import verify

from .conftest import World, asked, delays

FLIGHTS = asked(("UA", 3), ("AA", 1))
NOTHING = timedelta(seconds=-5)
"""A retention that even a file of this moment is older than."""


def cleaned(world: World, *, retention: timedelta = NOTHING, is_dry_run: bool = False) -> Cleaned:
    return clean(world.spark, world.uri(), world.set_store, retention=retention, is_dry_run=is_dry_run)


def data_files(world: World) -> int:
    return len(list((world.folder / "delays").glob("*.parquet")))


@pytest.fixture
def moved_on(world: World) -> World:
    """A table that was rewritten twice since a set was cut from it: three data files, the middle one needed by nobody."""
    world.create(FLIGHTS)
    for minutes in (1.0, 2.0):
        write_deltalake(world.folder / "delays", pa.Table.from_pandas(delays(("UA", 1, minutes))), mode="overwrite")
    assert data_files(world) == 3
    return world


def test_stock_vacuum_refuses_to_take_a_version_that_is_held(moved_on: World) -> None:
    """`VACUUM RETAIN 0 HOURS` is refused in Delta's own words, by Spark and by delta-rs; a plain one removes nothing."""
    with pytest.raises(IllegalArgumentException, match="DELTA_VACUUM_RETENTION_PERIOD_TOO_SHORT"):
        moved_on.spark.sql(f"VACUUM delta.`{moved_on.uri()}` RETAIN 0 HOURS")
    with pytest.raises(DeltaError, match="retention"):
        DeltaRs(moved_on.uri()).vacuum(retention_hours=0, dry_run=False)
    moved_on.spark.conf.set("spark.sql.sources.parallelPartitionDiscovery.parallelism", "2")
    moved_on.spark.sql(f"VACUUM delta.`{moved_on.uri()}` RETAIN 168 HOURS")
    assert data_files(moved_on) == 3


def test_our_vacuum_frees_the_rest_and_says_who_holds_what(moved_on: World) -> None:
    """The version between goes; the set's and the current one stay, and the set is made again all the same."""
    kept = moved_on.set_store.manifests()[0]
    planned = cleaned(moved_on, is_dry_run=True)
    assert data_files(moved_on) == 3
    done = cleaned(moved_on)
    assert (planned.files, planned.size) == (done.files, done.size) == (1, done.size)
    assert data_files(moved_on) == 2
    held = done.held[0]
    assert (held.version, held.sets, held.files) == (1, (kept,), 1)
    assert held.size > 0
    assert rebuild(kept, moved_on.training_sets).is_same
    assert verify(kept, moved_on.set_store).gone == ()
    assert moved_on.spark.read.format("delta").load(moved_on.uri()).count() == 1


def test_what_a_table_stopped_needing_just_now_stays(moved_on: World) -> None:
    """Within the retention nothing is freed, so that a reader of yesterday's version can finish."""
    assert cleaned(moved_on, retention=timedelta(days=7)).files == 0
    assert data_files(moved_on) == 3


def test_the_check_that_was_off_for_a_moment_is_on_again(moved_on: World) -> None:
    """Delta's own safety check stands after our vacuum as before."""
    cleaned(moved_on)
    with pytest.raises(IllegalArgumentException, match="DELTA_VACUUM_RETENTION_PERIOD_TOO_SHORT"):
        moved_on.spark.sql(f"VACUUM delta.`{moved_on.uri()}` RETAIN 0 HOURS")


def test_log_clean_up_leaves_the_log_of_a_held_table(moved_on: World) -> None:
    """A checkpoint does not remove the log entries that the set's version is read from, whatever their age."""
    log = DeltaTable.forPath(moved_on.spark, moved_on.uri())
    before = sorted(path.name for path in (moved_on.folder / "delays" / "_delta_log").glob("*.json"))
    DeltaRs(moved_on.uri()).create_checkpoint()
    DeltaRs(moved_on.uri()).cleanup_metadata()
    assert sorted(path.name for path in (moved_on.folder / "delays" / "_delta_log").glob("*.json")) == before
    assert log.history().count() == len(before)


def test_letting_a_set_go_lets_its_versions_go(moved_on: World) -> None:
    """Without the set its files are freed, and the table is back under the retention that it had."""
    delete(moved_on.set_store.manifests()[0], moved_on.training_sets)
    assert table_properties(moved_on.uri()) == {}
    assert cleaned(moved_on).files == 2
    assert data_files(moved_on) == 1


def test_a_retention_of_the_tables_own_comes_back(world: World) -> None:
    """What the owner of a table had set is remembered while the table is held."""
    world.spark.sql(
        f"ALTER TABLE delta.`{world.uri()}` SET TBLPROPERTIES ('delta.logRetentionDuration' = 'interval 90 days')"
    )
    made = world.create(FLIGHTS)
    assert table_properties(world.uri())["delta.logRetentionDuration"] == "interval 36500 days"
    delete(made, world.training_sets)
    assert table_properties(world.uri()) == {"delta.logRetentionDuration": "interval 90 days"}


def test_a_table_is_held_once(world: World) -> None:
    """A second set from a held table makes no commit in it."""
    first, second = world.create(FLIGHTS), world.create(FLIGHTS)
    assert first.ingredients.sources == second.ingredients.sources
    assert DeltaRs(world.uri()).version() == first.ingredients.sources[0].version == 1


def test_nothing_is_freed_where_a_need_is_not_known_for_certain(moved_on: World) -> None:
    """A held version with a missing file stops the vacuum of its table: the error names set and file, nothing is removed."""
    needed = min((moved_on.folder / "delays").glob("*.parquet"), key=lambda path: path.stat().st_mtime)
    needed.rename(moved_on.folder / "away")
    with pytest.raises(VacuumUnsafeError, match=r"version 1, which .* are not in its folder"):
        cleaned(moved_on)
    assert data_files(moved_on) == 2


def test_deletion_vectors_and_partitions_are_no_obstacle(world: World) -> None:
    """A table with deletion vectors and odd partition values keeps what a set needs; the set stays the same."""
    frame = world.spark.createDataFrame(delays(("U A:%", 0, 5.0), ("U A:%", 1, 7.0), ("AA", 0, 1.0))).coalesce(1)
    writer = frame.write.format("delta").mode("overwrite").option("overwriteSchema", "true").partitionBy("carrier")
    writer.option("delta.enableDeletionVectors", "true").save(world.uri())
    world.spark.sql(f"DELETE FROM delta.`{world.uri()}` WHERE minutes = 7.0")
    made = world.create(asked(("U A:%", 3), ("AA", 1)), "alone")
    assert world.set_store.table(made.id, "rows")["delays__minutes"].to_pylist() == [5.0, 1.0]
    world.spark.sql(f"DELETE FROM delta.`{world.uri()}` WHERE minutes = 5.0")
    world.spark.sql(f"DELETE FROM delta.`{world.uri()}`")
    assert cleaned(world).files > 0
    assert rebuild(made, world.training_sets).is_same
