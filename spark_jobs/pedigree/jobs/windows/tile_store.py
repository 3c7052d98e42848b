"""Tiles kept in Delta beside the table that they are for: one commit per published slice, with marks that say what it covers.

A mark is a row without a key. It is written and replaced together with the tiles that it stands for, so what is marked is
there; a mark that is lost costs only that tiles are folded from events again.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from pedigree.features.table import Table
from pedigree.features.windows import Windows, digest
from pedigree.jobs import delta_tables
from pedigree.jobs.delta_tables import Commit
from pedigree.jobs.intervals import Interval, held, joined, whole
from pedigree.jobs.windows.lookback import Coverage, Lookback
from pedigree.jobs.windows.operations import partials_for
from pedigree.jobs.windows.tiles import EVENTS, SECONDS, TILE_AT, folded, tile_columns
from pedigree.jobs.windows.window_frames import kept_unit

TILE = "tile"
"""What a row of the store is: a fine or a coarse tile, or a mark."""

FINE, COARSE, FINE_MARK, COARSE_MARK = "fine", "coarse", "fine_mark", "coarse_mark"
DEFINITION = "definition"
BUILT_FROM = "built_from"


@dataclass(frozen=True, slots=True)
class TileMark:
    """That the tiles of a span are there, and out of what they were made."""

    kind: str
    span: Interval
    built_from: str


@dataclass(frozen=True, slots=True)
class TileStore:
    """The tiles of a table as they stand at one version.

    Attributes:
        version: None where there are no tiles yet.
        marks: what is kept of the table's present definition. Tiles of another are not read, and replaced by the next build.
    """

    table: Table
    uri: str
    version: int | None
    marks: tuple[TileMark, ...]

    @classmethod
    def open(cls, spark: SparkSession, table: Table, uri: str) -> TileStore:
        """The store at `uri`, at its newest version, with all of its marks (a few for each day)."""
        version = delta_tables.current_version(spark, uri)
        if version is None:
            return cls(table, uri, version, marks=())
        rows = delta_tables.at_version(spark, uri, version).where(F.col(TILE).isin(FINE_MARK, COARSE_MARK))
        ours = rows.where(F.col(DEFINITION) == definition(table)).select(TILE, TILE_AT, SECONDS, BUILT_FROM).collect()
        marks = (
            TileMark(row[TILE], Interval(row[TILE_AT], row[TILE_AT] + row[SECONDS]), row[BUILT_FROM]) for row in ours
        )
        return cls(table, uri, version, tuple(marks))

    @property
    def coverage(self) -> Coverage:
        """What is kept."""
        fine = tuple(mark.span for mark in self.marks if mark.kind == FINE_MARK)
        return Coverage(fine, frozenset(mark.span.start for mark in self.marks if mark.kind == COARSE_MARK))

    def is_built(self, rows: Interval, built_from: str) -> bool:
        """True where all of a slice was published out of exactly this."""
        ours = (mark.span for mark in self.marks if mark.kind == FINE_MARK and mark.built_from == built_from)
        return not rows.without(ours)

    def read(self, spark: SparkSession, lookback: Lookback) -> DataFrame | None:
        """The kept tiles that a slice looks back on; None where it needs none."""
        chosen = [(kind, spans) for kind, spans in ((FINE, lookback.fine), (COARSE, lookback.coarse)) if spans]
        if not chosen:
            return None
        wanted = [(F.col(TILE) == kind) & held(F.col(TILE_AT), spans) for kind, spans in chosen]
        rows = delta_tables.at_version(spark, self.uri, self.version or 0)
        return rows.where(wanted[0] if len(wanted) == 1 else wanted[0] | wanted[1]).select(
            *tile_columns(self.table.windows)
        )

    def has_published(self, span: Interval) -> bool:
        """True where everything in a span went through a gate of its own; an empty one has nothing that could not have."""
        return not span.without(self.coverage.fine)

    def publish(self, tiles: DataFrame, rows: Interval, *, built_from: str, run_id: str) -> Commit:
        """Keep the tiles of a published slice, in place of those that were there, in one commit.

        Args:
            tiles: the fine tiles of the slice, and those before it in the unit in which it starts.
            rows: the starts of the slice's own tiles.
        """
        windows = self.table.windows
        ended = [unit for unit in ended_units(rows, windows) if self.has_published(Interval(unit.start, rows.start))]
        marks = [(FINE_MARK, part) for part in rows.cut(kept_unit(windows))] + [(COARSE_MARK, unit) for unit in ended]
        coarse = folded(tiles.where(held(F.col(TILE_AT), joined(ended))), windows, kept_unit(windows))
        kept = [kind_of(tiles.where(held(F.col(TILE_AT), [rows])), FINE), *([kind_of(coarse, COARSE)] if ended else [])]
        every = marked(tiles.sparkSession, marks, definition(self.table), built_from)
        for each in kept:
            every = each.unionByName(every, allowMissingColumns=True)
        few = int(str(tiles.sparkSession.conf.get("spark.sql.shuffle.partitions")))
        ordered = every.coalesce(few).sortWithinPartitions(TILE, TILE_AT)
        if not self.marks:
            return delta_tables.start_over(ordered, self.uri, partition=TILE, run_id=run_id)
        return delta_tables.replace(ordered, self.uri, predicate=replaced(rows, windows), run_id=run_id)


def marked(spark: SparkSession, marks: Iterable[tuple[str, Interval]], defined: str, built_from: str) -> DataFrame:
    """Marks as rows of the store."""
    rows = [f"('{kind}', {span.start}L, {span.end - span.start}L)" for kind, span in marks]
    placed = spark.sql(f"VALUES {', '.join(rows)} AS marks({TILE}, {TILE_AT}, {SECONDS})")
    return placed.select("*", F.lit(defined).alias(DEFINITION), F.lit(built_from).alias(BUILT_FROM))


def kind_of(tiles: DataFrame, kind: str) -> DataFrame:
    """Tiles as rows of the store."""
    return tiles.select(F.lit(kind).alias(TILE), "*")


def ended_units(rows: Interval, windows: Windows) -> list[Interval]:
    """The units whose last tile is in a slice, so that they are complete; none where no window is long enough to use one."""
    unit = kept_unit(windows)
    if whole(windows.lookback) < 2 * unit:
        return []
    first, end = rows.start // unit * unit, rows.end // unit * unit
    return [Interval(start, start + unit) for start in range(first, end, unit)]


def replaced(rows: Interval, windows: Windows) -> str:
    """What the tiles of a slice replace: its fine ones, and the coarse ones of units that it touches."""
    fine = f"{TILE} IN ('{FINE}', '{FINE_MARK}') AND {TILE_AT} >= {rows.start} AND {TILE_AT} < {rows.end}"
    touched = f"{TILE_AT} > {rows.start - kept_unit(windows)} AND {TILE_AT} < {rows.end}"
    return f"({fine}) OR ({TILE} IN ('{COARSE}', '{COARSE_MARK}') AND {touched})"


def definition(table: Table) -> str:
    """What tiles depend on beside the events: keys, length, partials, and what the events are made of."""
    windows = table.windows
    partials = [partial.name for partial in partials_for(windows)]
    sources = [f"{source.name} {source.schema}" for source in table.events.sources]
    length = f"{windows.every} {kept_unit(windows)}"
    return digest([EVENTS, *windows.keys, length, *partials, table.events.name, *sources, *sorted(table.used)])
