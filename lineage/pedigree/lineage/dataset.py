"""What a job says about a dataset it reads or writes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from pedigree.lineage.naming import DatasetName

OriginKind = Literal["identity", "transformation", "aggregation"]


@dataclass(frozen=True, slots=True)
class Field:
    """A column: its name, its type as the engine writes it, and what it means."""

    name: str
    type: str
    description: str = ""


@dataclass(frozen=True, slots=True)
class Origin:
    """A column that another column is made of, and how."""

    dataset: DatasetName
    field: str
    kind: OriginKind = "transformation"


@dataclass(frozen=True, slots=True)
class Assertion:
    """The verdict on one rule that must hold; `broken_rows` broke it."""

    rule: str
    held: bool
    column: str | None = None
    broken_rows: int = 0
    detail: str = ""


@dataclass(frozen=True, slots=True)
class Dataset:
    """A dataset at the moment of one run.

    Attributes:
        version: the version read or written, as its own system counts (a Delta version, a file's time and size).
        rows: how many rows this run read or wrote.
        origins: for a dataset that is written, what each of its columns is made of.
        assertions: what the quality gate found.
        alias: another name of the same place, e.g. a table's beside its path.
    """

    name: DatasetName
    fields: tuple[Field, ...] = ()
    version: str | None = None
    rows: int | None = None
    origins: Mapping[str, tuple[Origin, ...]] = field(default_factory=dict)
    assertions: tuple[Assertion, ...] = ()
    description: str = ""
    alias: DatasetName | None = None
