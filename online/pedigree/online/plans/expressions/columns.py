"""pandas mode, computed by numpy as pandas would do it, except that a row never depends on the rows beside it.

Rows are computed together where the same of their inputs are null: there a column of whole numbers is one, as it would be if
Feast were asked for these rows alone. Where Feast would raise because of a null, the result is null.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from pedigree.online.plans.expressions.arrays import OPERATIONS, Array, UnevenError
from pedigree.online.plans.expressions.outcome import FAILURES, failure
from pedigree.online.plans.expressions.tree import Node, Program

DTYPES = {
    "INT32": np.int64,
    "INT64": np.int64,
    "DOUBLE": np.float64,
    "FLOAT": np.float64,
    "BOOL": np.bool_,
    "STRING": np.object_,
}
"""What pandas has a column of each of Feast's types as: all whole numbers alike, and all others too."""


class Columns:
    """A program in pandas mode, made ready.

    Args:
        types: Feast's names of the inputs' types.
    """

    def __init__(self, program: Program, types: Sequence[str]) -> None:
        self.program = program
        self.dtypes = [DTYPES.get(kind, np.object_) for kind in types]
        self.used = {name: program.inputs_of(name) for name in program.outputs}

    def compute(self, inputs: Sequence[Sequence[Any]], outputs: Sequence[str], rows: int) -> dict[str, list[Any]]:
        """For each output its value in every row; `Failed` where pandas would raise.

        Args:
            inputs: the values of each input by row; None is null.
        """
        used = sorted({place for name in outputs for place in self.used[name]})
        found: dict[str, list[Any]] = {name: [None] * rows for name in outputs}
        for nulls, group in alike([inputs[place] for place in used], rows).items():
            null = {place for place, is_null in zip(used, nulls, strict=True) if is_null}
            columns = {place: self.column(inputs[place], group, place, place in null) for place in used}
            batch = RowBatch(self.program, columns, len(group))
            for name in outputs:
                for row, value in zip(group, self.values(batch, name, null), strict=True):
                    found[name][row] = value
        return found

    def column(self, values: Sequence[Any], group: Sequence[int], place: int, is_null: bool) -> Array:
        """An input in some rows, in all of which it is null or in none."""
        dtype = self.dtypes[place]
        if not is_null:
            return np.array([values[row] for row in group], dtype)
        if dtype in (np.int64, np.float64):
            return np.full(len(group), np.nan)
        return np.full(len(group), None, np.object_)

    def values(self, batch: RowBatch, name: str, null: set[int]) -> list[Any]:
        """An output in the rows of a batch; where that fails, row by row, so that one row's failure is not another's."""
        node = self.program.outputs[name]
        try:
            return batch.list(node)
        except UnevenError as uneven:
            parts: Sequence[Array] = (np.flatnonzero(uneven.apart), np.flatnonzero(~uneven.apart))
        except FAILURES as error:
            if batch.rows == 1:
                return [None if null & set(self.used[name]) else failure(error)]
            parts = [np.array([row]) for row in range(batch.rows)]
        found: list[Any] = [None] * batch.rows
        for rows in parts:
            for row, value in zip(rows, self.values(batch.at(rows), name, null), strict=True):
                found[row] = value
        return found


def alike(columns: Sequence[Sequence[Any]], rows: int) -> dict[tuple[bool, ...], list[int]]:
    """The rows by which of their inputs are null."""
    groups: dict[tuple[bool, ...], list[int]] = {}
    if not any(None in column for column in columns):
        return {(False,) * len(columns): list(range(rows))}
    for row in range(rows):
        groups.setdefault(tuple(column[row] is None for column in columns), []).append(row)
    return groups


class RowBatch:
    """Some rows: their inputs, and the steps that were computed so far."""

    def __init__(self, program: Program, columns: Mapping[int, Array], rows: int) -> None:
        self.program = program
        self.columns = columns
        self.rows = rows
        self.steps: dict[int, Any] = {}

    def at(self, rows: Array) -> RowBatch:
        """Some of the rows, anew."""
        return RowBatch(self.program, {place: column[rows] for place, column in self.columns.items()}, len(rows))

    def list(self, node: Node) -> list[Any]:
        """A node as plain values, one per row."""
        with np.errstate(all="ignore"):
            found = self.compute(node)
        if not isinstance(found, np.ndarray):
            return [found] * self.rows
        return list(found.tolist())

    def compute(self, node: Node) -> Any:
        """A node as an array, or as the constant that it is."""
        if node.op == "const":
            return node.value
        if node.op == "input":
            return self.columns[node.value]
        if node.op == "step":
            if node.value not in self.steps:
                self.steps[node.value] = self.compute(self.program.steps[node.value])
            return self.steps[node.value]
        arguments = [self.compute(argument) for argument in node.args]
        found = OPERATIONS[node.op](*arguments)
        return found.astype(np.object_) if isinstance(found, np.ndarray) and found.dtype.kind == "U" else found
