"""Events that are computed once for several tables."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from pyspark.sql import DataFrame

from pedigree.features.events import EventSet
from pedigree.jobs.sources.reader import SourceRead
from pedigree.jobs.time_slice import TimeSlice

Versions = tuple[tuple[str, str, TimeSlice | None], ...]


@dataclass(slots=True)
class EventCache:
    """Events that are computed once for as long as their sources stay at the versions and the times they were read for."""

    kept: dict[str, tuple[Versions, DataFrame]] = field(default_factory=dict)

    def of(self, wanted: EventSet, sources: Mapping[str, SourceRead]) -> DataFrame:
        """The events of the sources as they were read; those of other versions are let go of first."""
        reads = [sources[source.name] for source in wanted.sources]
        versions = tuple((read.uri, read.version, read.extent) for read in reads)
        if wanted.name in self.kept and self.kept[wanted.name][0] != versions:
            self.kept.pop(wanted.name)[1].unpersist(blocking=True)
        if wanted.name not in self.kept:
            derived = wanted.derive({source.name: sources[source.name].rows for source in wanted.sources})
            self.kept[wanted.name] = versions, derived.persist()
        return self.kept[wanted.name][1]

    def clear(self) -> None:
        """Let go of all events."""
        while self.kept:
            self.kept.popitem()[1][1].unpersist()
