"""An on-demand view's features out of the values that its function reads. Pure: known operations on plain values."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from struct import Struct
from typing import Any

from pedigree.online.plans.expressions.columns import Columns
from pedigree.online.plans.expressions.outcome import Failed, conformed
from pedigree.online.plans.expressions.rows import Rows
from pedigree.online.plans.expressions.tree import Mode
from pedigree.online.plans.plan import Feature, OnDemand, View
from pedigree.serving.catalog import inputs_of, used_by
from pedigree.serving.codec.protowire import UNSIGNED, VALUE_TAGS, varint
from pedigree.serving.errors import NotComputedError
from pedigree.serving.v1.serving_pb2 import INVALID, NULL_VALUE, PRESENT
from pedigree.serving.v1.value_pb2 import Value

DOUBLE, FLOAT = Struct("<d"), Struct("<f")


@dataclass(frozen=True, slots=True)
class OnDemandColumn:
    """A column as plain values, None where there is none, and the status of each."""

    values: Sequence[Any]
    statuses: Sequence[int]

    @classmethod
    def present(cls, values: Sequence[Any]) -> OnDemandColumn:
        """Values that were sent; one that was sent as a null is one."""
        return cls(values, [NULL_VALUE if value is None else PRESENT for value in values])


@dataclass(frozen=True)
class Computation:
    """How the features that are asked for of one on-demand view are computed."""

    view: OnDemand

    @cached_property
    def engine(self) -> Columns | Rows:
        """The view's function, made ready."""
        if self.view.program.mode is Mode.PYTHON:
            return Rows(self.view.program)
        return Columns(self.view.program, [one.value_type for one in self.view.inputs])

    @cached_property
    def input_places(self) -> tuple[tuple[int, ...], ...]:
        """For each feature the inputs that it depends on."""
        return tuple(self.view.program.inputs_of(feature.name) for feature in self.view.features)

    @cached_property
    def used(self) -> frozenset[int]:
        """The inputs that anything which is asked for depends on."""
        return used_by(self.view)

    @cached_property
    def sources(self) -> tuple[View, ...]:
        """The views that are read, each with the features that are needed of it."""
        return inputs_of(self.view)

    def compute(self, inputs: Sequence[OnDemandColumn], rows: int) -> list[OnDemandColumn]:
        """The features that are asked for.

        Args:
            inputs: what the view reads; anything for what nothing depends on.
        Raises:
            NotComputedError: a row has values that the function is not defined for.
        """
        names = [feature.name for feature in self.view.features]
        found = self.engine.compute([one.values for one in inputs], names, rows)
        return [
            self.cells(feature, found[feature.name], [inputs[place] for place in places])
            for feature, places in zip(self.view.features, self.input_places, strict=True)
        ]

    def cells(self, feature: Feature, values: Sequence[Any], inputs: Sequence[OnDemandColumn]) -> OnDemandColumn:
        """One feature; a null has the status of the first of its inputs that is not PRESENT. Out of what is damaged nothing is
        computed, not even what the function has for a null.
        """
        statuses, found = [], []
        for row, value in enumerate(values):
            mine = conformed(value, feature.value_type)
            gap = next(gaps(inputs, row), None)
            if any(one.statuses[row] == INVALID for one in inputs):
                mine, gap = None, INVALID
            elif isinstance(mine, Failed):
                raise NotComputedError(self.view.name, feature.name, row=row, reason=mine.reason)
            found.append(mine)
            statuses.append(PRESENT if mine is not None else NULL_VALUE if gap is None else gap)
        return OnDemandColumn(found, statuses)


def gaps(inputs: Sequence[OnDemandColumn], row: int) -> Iterator[int]:
    """What is to be said of the inputs of a row that are not PRESENT."""
    return (one.statuses[row] for one in inputs if one.statuses[row] != PRESENT)


def plain(value: bytes, kind: str) -> Any:
    """What a serialized `Value` of a type holds."""
    if kind == "DOUBLE":
        return DOUBLE.unpack_from(value, 1)[0]
    if kind == "FLOAT":
        return FLOAT.unpack_from(value, 1)[0]
    message = Value.FromString(value)
    name = message.WhichOneof("val")
    return None if name is None else getattr(message, name)


def serialized(value: Any, kind: str) -> bytes:
    """A value as a serialized `Value`; empty where it is null."""
    if value is None:
        return b""
    tag = VALUE_TAGS[kind]
    if kind == "DOUBLE":
        return tag + DOUBLE.pack(value)
    if kind == "FLOAT":
        return tag + FLOAT.pack(value)
    if kind == "STRING":
        text: bytes = value.encode()
        return tag + varint(len(text)) + text
    return tag + varint(int(value) & UNSIGNED)
