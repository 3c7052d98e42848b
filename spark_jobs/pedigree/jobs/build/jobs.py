"""What builds are given, and what they give back."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace

from pyspark.sql import SparkSession

from pedigree.features.repository import Repository
from pedigree.jobs.build.row_reconciliation import RowCounts
from pedigree.jobs.build.verdict import Verdict
from pedigree.jobs.sources.events import EventCache
from pedigree.jobs.time_slice import TimeSlice
from pedigree.lineage.recorder import Recorder

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
