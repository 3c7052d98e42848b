"""The tiles of one slice on its way: what is folded from events, what is read, and what is kept once the slice is published."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from pedigree.features.events import KNOWN_AT
from pedigree.features.lake import Lake
from pedigree.features.table import Table
from pedigree.features.windows import digest
from pedigree.jobs.delta_tables import Commit
from pedigree.jobs.intervals import Interval, held, instant
from pedigree.jobs.sources.reader import SourceRead
from pedigree.jobs.time_slice import TimeSlice
from pedigree.jobs.windows.lookback import Lookback, look_back
from pedigree.jobs.windows.tile_store import TileStore, definition
from pedigree.jobs.windows.tiles import EVENTS, TILE_AT, gathered, row_tiles
from pedigree.jobs.windows.window_features import featured, row_places

ROWS = "a row where a window's content changes"
"""The rule by which tiles become rows. A slice that was built by another one is to be built again."""


@dataclass(frozen=True, slots=True)
class TilePlan:
    """Where the tiles come from that the rows of a slice are made of.

    Attributes:
        rows: the starts of the slice's own tiles.
        store: the tiles that earlier builds kept, at the version that is read.
        lookback: what is folded from events, and what is read from the store.
    """

    table: Table
    time_slice: TimeSlice
    rows: Interval
    store: TileStore
    lookback: Lookback

    @classmethod
    def of(cls, table: Table, time_slice: TimeSlice, spark: SparkSession, lake: Lake) -> TilePlan:
        """The plan for a slice, with the tiles as they stand now."""
        rows = row_tiles(time_slice, table.windows.every)
        store = open_store(table, spark, lake)
        return cls(table, time_slice, rows, store, look_back(table.windows, rows, store.coverage))

    @property
    def extent(self) -> TimeSlice:
        """When the events that are needed became known."""
        return TimeSlice(instant(self.lookback.since), max(instant(self.rows.end), self.time_slice.end_at))

    @property
    def reads_tiles(self) -> bool:
        """True where earlier builds' tiles are read."""
        return bool(self.lookback.fine or self.lookback.coarse)

    def folded(self, events: DataFrame) -> DataFrame:
        """The fine tiles of the events that no kept tile stands for."""
        used = events.where(F.col("outcome").isin(*self.table.used))
        return gathered(used.where(held(F.unix_seconds(KNOWN_AT), self.lookback.events)), self.table.windows)

    def completed(self, tiles: DataFrame) -> DataFrame:
        """The tiles with those that are kept."""
        kept = self.store.read(tiles.sparkSession, self.lookback)
        return tiles if kept is None else tiles.unionByName(kept)

    def features(self, tiles: DataFrame) -> DataFrame:
        """The rows of the slice, out of `completed` tiles."""
        return featured(tiles, self.table.windows, self.rows)

    def count_rows(self, tiles: DataFrame) -> int:
        """How many rows the slice has, out of `completed` tiles."""
        return int(row_places(tiles, self.table.windows, self.rows).count())

    def count_events(self, tiles: DataFrame) -> int:
        """Of how many events the slice's own tiles are."""
        own = tiles.where(held(F.col(TILE_AT), [self.rows]))
        return int(own.agg(F.coalesce(F.sum(EVENTS), F.lit(0))).collect()[0][0])

    def publish(self, tiles: DataFrame, sources: Mapping[str, SourceRead], *, run_id: str) -> Commit:
        """Keep the tiles of the slice, now that it is published."""
        return self.store.publish(tiles, self.rows, built_from=built_from(self.table, sources), run_id=run_id)


def open_store(table: Table, spark: SparkSession, lake: Lake) -> TileStore:
    """The tiles of a table, as they stand now."""
    return TileStore.open(spark, table, lake.tiles(table.name))


def built_from(table: Table, sources: Mapping[str, SourceRead]) -> str:
    """What a slice is made from, in one word: the versions of its sources, its windows and its contract."""
    versions = [f"{read.uri} {read.version}" for _, read in sorted(sources.items())]
    rules = [f"{type(rule).__name__} {rule.meta} {rule.configuration.kwargs}" for rule in table.contract.expectations]
    return digest([definition(table), ROWS, table.windows.digest, *rules, *versions])
