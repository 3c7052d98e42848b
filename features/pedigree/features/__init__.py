"""What an author declares with: windows, tables, sources and contracts. Importing it needs no Spark.

    from pedigree.features import DAY, HOUR, Aggregation, Operation, Table, Windows, delta_table

Contracts are in `pedigree.features.contract`, which imports Great Expectations and takes seconds. A name is imported when it is
first used, so that whoever needs one module does not wait for Feast.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pedigree.features.columns import CREATED_AT, EVENT_AT
    from pedigree.features.delta_source import delta_table
    from pedigree.features.events import KNOWN_AT, EventSet, Inputs
    from pedigree.features.sources import JdbcSource, Source
    from pedigree.features.table import ExternalTable, Table, TransformTable
    from pedigree.features.validity import valid_rows, validity_in_order
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
    "ExternalTable",
    "Inputs",
    "JdbcSource",
    "Kind",
    "Operation",
    "Source",
    "Table",
    "TransformTable",
    "Windows",
    "delta_table",
    "valid_rows",
    "validity_in_order",
]

HOMES = {
    "columns": ("CREATED_AT", "EVENT_AT"),
    "delta_source": ("delta_table",),
    "events": ("KNOWN_AT", "EventSet", "Inputs"),
    "sources": ("JdbcSource", "Source"),
    "table": ("ExternalTable", "Table", "TransformTable"),
    "validity": ("valid_rows", "validity_in_order"),
    "windows": ("DAY", "HOUR", "MINUTE", "SECOND", "Aggregation", "Kind", "Operation", "Windows"),
}
"""The module of each name."""


def __getattr__(name: str) -> object:
    """A name of `__all__`, from its module."""
    for module, names in HOMES.items():
        if name in names:
            return getattr(importlib.import_module(f"{__name__}.{module}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
