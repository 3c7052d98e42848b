"""What an author declares with: windows, tables, sources and contracts. Importing it needs no Spark.

    from pedigree.features import DAY, HOUR, Aggregation, Operation, Table, Windows, delta_table

Contracts are in `pedigree.features.contract`, which imports Great Expectations and takes seconds; Feast's own definitions need
none of it.
"""

from __future__ import annotations

from pedigree.features.columns import CREATED_AT, EVENT_AT
from pedigree.features.events import KNOWN_AT, EventSet, Inputs
from pedigree.features.lake import delta_table
from pedigree.features.sources import Source
from pedigree.features.table import Table
from pedigree.features.windows import DAY, HOUR, MINUTE, SECOND, Aggregation, Kind, Operation, Windows

__all__ = [
    "CREATED_AT",
    "DAY",
    "EVENT_AT",
    "HOUR",
    "KNOWN_AT",
    "MINUTE",
    "SECOND",
    "Aggregation",
    "EventSet",
    "Inputs",
    "Kind",
    "Operation",
    "Source",
    "Table",
    "Windows",
    "delta_table",
]
