"""Facts: one row per thing that happened, with its outcome and the instant at which it could be known."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from pyspark.sql import DataFrame

from pedigree.jobs.sources.reader import Source, SourceRead
from pedigree.jobs.time_slice import TimeSlice

KNOWN_AT = "known_at"
"""The column of a fact with the instant at which it could be known; tiles hold `[start, end)` of it."""

Inputs = Mapping[str, DataFrame]
"""Rows by the name of their source."""

SourceColumn = tuple[str, str]
"""The name of a source and of one of its columns."""

Versions = tuple[tuple[str, str, TimeSlice | None], ...]


@dataclass(frozen=True, slots=True)
class EventSet:
    """Facts that tables share.

    Attributes:
        name: what they are about.
        sources: what they are made of; each row of the first one is one fact.
        derive: turns the sources into facts with `known_at` and `outcome`. Pure.
        columns: the source columns that each column of a fact is made of.
    """

    name: str
    sources: tuple[Source, ...]
    derive: Callable[[Inputs], DataFrame]
    columns: Mapping[str, tuple[SourceColumn, ...]]


@dataclass(slots=True)
class EventCache:
    """Facts that are computed once for as long as their sources stay at the versions and the times they were read for."""

    kept: dict[str, tuple[Versions, DataFrame]] = field(default_factory=dict)

    def facts(self, wanted: EventSet, sources: Mapping[str, SourceRead]) -> DataFrame:
        """The facts of the sources as they were read; those of other versions are let go of first."""
        reads = [sources[source.name] for source in wanted.sources]
        versions = tuple((read.uri, read.version, read.extent) for read in reads)
        if wanted.name in self.kept and self.kept[wanted.name][0] != versions:
            self.kept.pop(wanted.name)[1].unpersist(blocking=True)
        if wanted.name not in self.kept:
            derived = wanted.derive({source.name: sources[source.name].rows for source in wanted.sources})
            self.kept[wanted.name] = versions, derived.persist()
        return self.kept[wanted.name][1]

    def clear(self) -> None:
        """Let go of all facts."""
        while self.kept:
            self.kept.popitem()[1][1].unpersist()
