"""The one way in which a slice of a feature table comes to be: read, transform, conform, check, publish, in one recorded run."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace

from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from pedigree.features.columns import EVENT_AT
from pedigree.features.lake import Lake
from pedigree.features.repository import Repository
from pedigree.features.table import Table
from pedigree.jobs import delta_tables
from pedigree.jobs.build.lineage_datasets import (
    account_note,
    fields_of,
    quarantine_dataset,
    source_dataset,
    table_dataset,
    tiles_dataset,
)
from pedigree.jobs.build.quality_gate import judge, mark
from pedigree.jobs.build.row_reconciliation import EventCounts, RowCounts, account_for
from pedigree.jobs.build.verdict import BROKEN_FACTS, Verdict
from pedigree.jobs.cache import cached
from pedigree.jobs.conform import conform
from pedigree.jobs.contention import contended, exclusive
from pedigree.jobs.errors import QualityGateFailedError, RowsUnaccountedError
from pedigree.jobs.sources.events import EventCache
from pedigree.jobs.sources.reader import SourceRead, read, refuse_changed, told_when_broken
from pedigree.jobs.time_slice import TimeSlice
from pedigree.jobs.windows.tile_plan import TilePlan
from pedigree.jobs.windows.tiles import with_event_time
from pedigree.lineage.recorder import Recorder, Run

Progress = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Jobs:
    """What every build needs: a session, the repository, the recorder, whom to tell how far it is, and events at hand."""

    spark: SparkSession
    repository: Repository
    recorder: Recorder
    progress: Progress
    events: EventCache = field(default_factory=EventCache)

    def telling(self, progress: Progress) -> Jobs:
        """The same, telling `progress`."""
        return replace(self, progress=progress)


@dataclass(frozen=True, slots=True)
class Built:
    """A slice that was published as `version` of its table."""

    table: str
    time_slice: TimeSlice
    run_id: str
    version: int
    rows: RowCounts
    verdict: Verdict


def build(table: Table, time_slice: TimeSlice, jobs: Jobs) -> Built:
    """Build one slice of one table; the same slice again replaces itself.

    Raises:
        SourceMissingError, SourceBrokenError, SourceChangedError, SchemaBrokenError, ContractError, RowsUnaccountedError: nothing
            was published.
        QualityGateFailedError: the table stays as it was, and the whole slice is in quarantine.
    """
    nominal = (time_slice.start_at, time_slice.end_at)
    with jobs.recorder.run("build", table.name, nominal=nominal, description=table.view.description) as run:
        jobs.progress("reading")
        plan = TilePlan.of(table, time_slice, jobs.spark, jobs.repository.lake)
        sources = read_sources(table, plan, jobs)
        facts = with_event_time(jobs.events.of(table.events, sources), table.windows)
        with told_when_broken(source.uri for source in sources.values()):
            account = account_for(facts, table, time_slice)
        read_rows = declare_sources(sources, run)
        refuse_changed(sources.values(), jobs.spark)
        expect(
            table.name, "before publishing, the facts", expected=read_rows[table.sources[0].name], found=account.total
        )
        jobs.progress(f"transforming {account.used:,} facts")
        with cached(plan.folded(facts)) as folded:
            tiles = plan.completed(folded)
            undated = undated_rows(table, facts) if account.undated else None
            expected = count_rows(plan, folded, account, undated)
            rows = conform(transformed(plan, tiles, undated, sources), table.view, created_at=run.started_at)
            with cached(mark(rows, table.contract)) as marked:
                return gate(Slice(jobs.repository.lake, plan, tiles, marked, expected, account, sources), run, jobs)


def read_sources(table: Table, plan: TilePlan, jobs: Jobs) -> dict[str, SourceRead]:
    """The table's sources; those of facts for no more time than the slice needs, where they can be read so."""
    facts = {source.name: read(jobs.spark, source, jobs.repository, plan.extent) for source in table.events.sources}
    return facts | {source.name: read(jobs.spark, source, jobs.repository) for source in table.joined}


@dataclass(frozen=True, slots=True)
class Slice:
    """A computed slice on its way to the gate.

    Attributes:
        lake: where it is published.
        tiles: the tiles that it was made of.
        marked: its rows, each with the names of the facts it breaks.
        expected: how many rows it must have.
    """

    lake: Lake
    plan: TilePlan
    tiles: DataFrame
    marked: DataFrame
    expected: int
    account: EventCounts
    sources: Mapping[str, SourceRead]

    @property
    def table(self) -> Table:
        """The table that it is a slice of."""
        return self.plan.table

    @property
    def time_slice(self) -> TimeSlice:
        """The event times that it is for."""
        return self.plan.time_slice


def gate(computed: Slice, run: Run, jobs: Jobs) -> Built:
    """Publish what keeps the contract, or stop the slice."""
    jobs.progress("checking")
    verdict = judge(computed.marked, computed.table.contract)
    refuse_changed(computed.sources.values(), jobs.spark)
    expect(computed.table.name, "after the transform, the slice", expected=computed.expected, found=verdict.rows)
    jobs.progress(f"publishing {verdict.rows:,} rows" if verdict.passed else "stopping")
    with exclusive(computed.lake.table(computed.table.name)):
        if not verdict.passed:
            stop(computed, verdict, run, jobs)
        return publish(computed, verdict, run)


def publish(computed: Slice, verdict: Verdict, run: Run) -> Built:
    """Write the rejected rows, then the good ones, and account for all of them."""
    table, uri = computed.table, computed.lake.table(computed.table.name)
    is_good = F.size(BROKEN_FACTS) == 0
    kept = set_apart(computed, computed.marked.where(~is_good), run, published=True)
    good = computed.marked.where(is_good).drop(BROKEN_FACTS)
    commit = contended(
        lambda: delta_tables.publish(
            good,
            uri,
            table=table.name,
            time_slice=computed.time_slice,
            run_id=run.id,
            passed_rows=verdict.rows - kept,
        ),
        table.name,
    )
    rows = RowCounts(computed.account, computed=verdict.rows, published=commit.rows, quarantined=kept)
    expect(table.name, "after publishing, table and quarantine", expected=verdict.rows, found=commit.rows + kept)
    run.note("rows", account_note(rows))
    run.writes(table_dataset(table, uri, computed.sources, version=commit.version, rows=commit.rows, verdict=verdict))
    keep_tiles(computed, run)
    return Built(table.name, computed.time_slice, run.id, commit.version, rows, verdict)


def keep_tiles(computed: Slice, run: Run) -> None:
    """Keep the tiles of a published slice for those that look back on it, and record what was read and written of them."""
    plan, sources, fields = computed.plan, computed.sources, fields_of(computed.tiles.schema)
    if plan.reads_tiles:
        run.reads(tiles_dataset(plan.table, plan.store.uri, sources, fields, version=plan.store.version))
    kept = contended(lambda: plan.publish(computed.tiles, sources, run_id=run.id), f"the tiles of {plan.table.name}")
    run.writes(tiles_dataset(plan.table, plan.store.uri, sources, fields, version=kept.version))


def stop(computed: Slice, verdict: Verdict, run: Run, jobs: Jobs) -> None:
    """Keep the whole slice in quarantine and end the run with the reason."""
    name = computed.table.name
    kept = set_apart(computed, computed.marked, run, published=False, verdict=verdict)
    expect(name, "at the gate, the quarantined", expected=verdict.rows, found=kept)
    run.note("rows", account_note(RowCounts(computed.account, computed=verdict.rows, published=0, quarantined=kept)))
    raise QualityGateFailedError(
        name,
        rows=kept,
        broken=verdict.reasons,
        version=delta_tables.current_version(jobs.spark, computed.lake.table(name)),
        quarantine=computed.lake.quarantine(name),
    )


def set_apart(
    computed: Slice, rejected: DataFrame, run: Run, *, published: bool, verdict: Verdict | None = None
) -> int:
    """Write rejected rows to the table's quarantine; returns how many."""
    uri = computed.lake.quarantine(computed.table.name)
    commit = contended(
        lambda: delta_tables.quarantine(
            rejected, uri, time_slice=computed.time_slice, run_id=run.id, published=published
        ),
        uri,
    )
    dataset = quarantine_dataset(
        computed.table, uri, computed.sources, version=commit.version, rows=commit.rows, verdict=verdict
    )
    run.writes(dataset)
    return commit.rows


def transformed(
    plan: TilePlan, tiles: DataFrame, undated: DataFrame | None, sources: Mapping[str, SourceRead]
) -> DataFrame:
    """The view's columns for the slice; facts without an event time have a row without one, so that the contract names it."""
    rows = plan.features(tiles)
    every = rows if undated is None else rows.unionByName(undated, allowMissingColumns=True)
    return plan.table.transform(every, {name: source.rows for name, source in sources.items()})


def undated_rows(table: Table, facts: DataFrame) -> DataFrame:
    """One row per key that has used facts of which nobody knows when they were known."""
    undated = facts.where(F.col(EVENT_AT).isNull() & F.col("outcome").isin(*table.used))
    return undated.select(*table.windows.keys, EVENT_AT).distinct()


def count_rows(plan: TilePlan, tiles: DataFrame, account: EventCounts, undated: DataFrame | None) -> int:
    """How many rows the slice must have; raises where facts got lost on their way into tiles."""
    rows, facts = plan.counts(tiles)
    expect(plan.table.name, "in the slice, the tiles", expected=account.used, found=facts)
    return rows + (0 if undated is None else undated.count())


def declare_sources(sources: Mapping[str, SourceRead], run: Run) -> dict[str, int]:
    """Tell the run what it reads; returns the number of rows of each source."""
    counts = {name: source.rows.count() for name, source in sources.items()}
    for name, source in sources.items():
        run.reads(source_dataset(source, rows=counts[name]))
    return counts


def expect(table: str, step: str, *, expected: int, found: int) -> None:
    """Raise where rows went missing or appeared."""
    if expected != found:
        raise RowsUnaccountedError(table, step, expected=expected, found=found)
