"""pandas mode, computed by numpy as pandas would do it, except that a row never depends on the rows beside it.

Rows are computed together where the same of their inputs are null: there a column of whole numbers is one, as it would be if
Feast were asked for these rows alone. Where Feast would raise because of a null, the result is null.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from online.expressions.outcome import FAILURES, TooLargeError, failure
from online.expressions.tree import NUMPY, NUMPY_PAIRS, Node, Program

Array = npt.NDArray[Any]
DTYPES = {
    "INT32": np.int64,
    "INT64": np.int64,
    "DOUBLE": np.float64,
    "FLOAT": np.float64,
    "BOOL": np.bool_,
    "STRING": np.object_,
}
"""What pandas has a column of each of Feast's types as: all whole numbers alike, and all others too."""
MOST_TEXT = 1 << 24
"""The most characters that one operation may make, of all rows together."""


class UnevenError(Exception):
    """Rows cannot be computed together: pandas would make whole numbers floats because of those that are `apart`."""

    def __init__(self, apart: Array) -> None:
        self.apart = apart
        super().__init__("some rows have floats where others have whole numbers")


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
            run = Run(self.program, columns, len(group))
            for name in outputs:
                for row, value in zip(group, self.values(run, name, null), strict=True):
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

    def values(self, run: Run, name: str, null: set[int]) -> list[Any]:
        """An output in the rows of a run; where that fails, row by row, so that one row's failure is not another's."""
        node = self.program.outputs[name]
        try:
            return run.list(node)
        except UnevenError as uneven:
            parts: Sequence[Array] = (np.flatnonzero(uneven.apart), np.flatnonzero(~uneven.apart))
        except FAILURES as error:
            if run.rows == 1:
                return [None if null & set(self.used[name]) else failure(error)]
            parts = [np.array([row]) for row in range(run.rows)]
        found: list[Any] = [None] * run.rows
        for rows in parts:
            for row, value in zip(rows, self.values(run.at(rows), name, null), strict=True):
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


class Run:
    """Some rows under way: their inputs, and the steps that were computed so far."""

    def __init__(self, program: Program, columns: Mapping[int, Array], rows: int) -> None:
        self.program = program
        self.columns = columns
        self.rows = rows
        self.steps: dict[int, Any] = {}

    def at(self, rows: Array) -> Run:
        """Some of the rows, anew."""
        return Run(self.program, {place: column[rows] for place, column in self.columns.items()}, len(rows))

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


def is_object(value: Any) -> bool:
    """Whether a value is a text, null, or a column of them."""
    return value.dtype == np.object_ if isinstance(value, np.ndarray) else value is None or isinstance(value, str)


def is_bool(value: Any) -> bool:
    """Whether a value is a bool or a column of them."""
    return value.dtype == np.bool_ if isinstance(value, np.ndarray) else isinstance(value, bool)


def is_missing(value: Any) -> bool:
    """Whether one value is null as pandas has it."""
    return value is None or (isinstance(value, float) and value != value)


def each(function: Callable[..., Any], *values: Any) -> Array:
    """A function of each row."""
    columns = np.broadcast_arrays(*(np.asarray(value, np.object_) for value in values))
    found = np.empty(columns[0].shape, np.object_)
    for row, one in enumerate(zip(*columns, strict=True)):
        found[row] = function(*one)
    return found


def arithmetic(function: Callable[[Any, Any], Any], *, takes_bools: bool = False) -> Callable[[Any, Any], Any]:
    """An operator of numbers. Where pandas has objects only texts can be added; with a null anything is null."""

    def compute(one: Any, other: Any) -> Any:
        if is_object(one) or is_object(other):
            return joined(one, other, is_sum=function is operator.add)
        if not takes_bools and is_bool(one) and is_bool(other):
            raise TypeError
        return function(one, other)

    return compute


def joined(one: Any, other: Any, *, is_sum: bool) -> Array:
    """Texts behind texts."""
    made = 0

    def join(left: Any, right: Any) -> Any:
        nonlocal made
        if is_missing(left) or is_missing(right):
            return None
        if not is_sum or not isinstance(left, str) or not isinstance(right, str):
            raise TypeError
        made += len(left) + len(right)
        if made > MOST_TEXT:
            raise TooLargeError
        return left + right

    return each(join, one, other)


def floordiv(one: Any, other: Any) -> Any:
    """`//`: by zero it is infinite, or NaN for zero itself, as pandas has it."""
    found = np.asarray(np.floor_divide(one, other))
    above, below = np.broadcast_arrays(one, other)
    by_zero = below == 0
    if not by_zero.any():
        return found
    refuse_uneven(found, by_zero)
    found = found.astype(np.float64)
    is_negative = by_zero & np.signbit(below)
    with_sign = np.where(is_negative, -1.0, 1.0) * np.sign(above)
    found[by_zero] = np.where(above == 0, np.nan, with_sign * np.inf)[by_zero]
    return found


def modulo(one: Any, other: Any) -> Any:
    """`%`: NaN by zero."""
    found = np.asarray(np.remainder(one, other))
    by_zero = np.broadcast_to(other == 0, found.shape)
    if not np.any(by_zero) or found.dtype.kind == "f":
        return found
    refuse_uneven(found, by_zero)
    found = found.astype(np.float64)
    found[by_zero] = np.nan
    return found


def refuse_uneven(whole: Array, apart: Array) -> None:
    """Raise where whole numbers would become floats because of other rows."""
    if whole.dtype.kind != "f" and apart.any() and not apart.all():
        raise UnevenError(apart)


def comparison(function: Callable[[Any, Any], Any], *, of_null: bool) -> Callable[[Any, Any], Any]:
    """A comparison; one with a null is `of_null`."""

    def one_by_one(one: Any, other: Any) -> bool:
        return of_null if is_missing(one) or is_missing(other) else bool(function(one, other))

    def compute(one: Any, other: Any) -> Any:
        if is_object(one) or is_object(other):
            return each(one_by_one, one, other).astype(np.bool_)
        return function(one, other)

    return compute


def logical(function: Callable[[Any, Any], Any]) -> Callable[[Any, Any], Any]:
    """`&`, `|` and `^`. As pandas has it a null on the right is False, and with one on the left everything is."""

    def one_by_one(one: Any, other: Any) -> bool:
        return not is_missing(one) and bool(function(one, not is_missing(other) and other))

    def compute(one: Any, other: Any) -> Any:
        if not isinstance(one, np.ndarray):
            one, other = other, one
        if is_object(one) or is_object(other):
            return each(one_by_one, one, other).astype(np.bool_)
        return function(one, other)

    return compute


def invert(value: Any) -> Any:
    """`~`."""
    if is_object(value):
        raise TypeError
    return np.invert(value)


def isna(value: Any) -> Any:
    """Which values are null."""
    if is_object(value):
        return each(is_missing, value).astype(np.bool_)
    return np.isnan(value)


def fillna(value: Any, other: Any) -> Any:
    """The values, with another in place of those that are null."""
    if is_missing(other):
        raise ValueError
    if is_object(value):
        filled = each(lambda one, instead: instead if is_missing(one) else one, value, other)
        return natural(filled)
    is_null = np.isnan(value)
    return np.where(is_null, other, value) if is_null.any() else value


def natural(values: Array) -> Array:
    """A column of bools that is kept as objects, as one of bools."""
    return values.astype(np.bool_) if all(isinstance(value, bool) for value in values) and len(values) else values


def where(condition: Any, one: Any, other: Any) -> Any:
    """One value or the other. Null in place of a number is NaN."""
    one, other = (
        np.nan if this is None and not is_object(that) and not is_bool(that) else this
        for this, that in ((one, other), (other, one))
    )
    if is_object(one) or is_object(other):
        one, other = (np.asarray(value, np.object_) for value in (one, other))
    return np.where(truths(condition), one, other)


def truths(value: Any) -> Any:
    """What counts as true, as numpy has it."""
    return np.asarray(value).astype(np.bool_)


def clip(value: Any, lower: Any, upper: Any) -> Any:
    """The values within bounds; a bound that is null is none."""
    if is_object(value):
        raise TypeError
    for bound, function in ((lower, np.maximum), (upper, np.minimum)):
        if bound is not None:
            within = function(value, bound)
            value = np.where(np.isnan(bound), value, np.where(np.isnan(value), value, within))
    return value


def astype(value: Any, name: str) -> Any:
    """The values as another type."""
    if name == "str":
        return each(str, each(plain, value))
    if is_object(value):
        value = natural(value)
        if name.startswith("int") and any(map(is_missing, value)):
            raise ValueError
        return np.array([np.nan if one is None and name.startswith("float") else one for one in value]).astype(name)
    if name.startswith("int") and not np.isfinite(value).all():
        raise ValueError
    return np.asarray(value).astype(name)


def plain(value: Any) -> Any:
    """A value of numpy's as Python has it."""
    return value.item() if isinstance(value, np.generic) else value


def isin(value: Any, *constants: Any) -> Any:
    """Which values are among constants."""
    if is_object(value):
        known = [one for one in constants if not is_missing(one)]
        nulls = any(map(is_missing, constants))
        return each(lambda one: nulls if is_missing(one) else one in known, value).astype(np.bool_)
    numbers = [one for one in constants if isinstance(one, int | float)]
    has_nan = any(map(is_missing, constants))
    found = np.zeros(np.shape(value), np.bool_)
    for number in numbers:
        found |= value == number
    return found | np.isnan(value) if has_nan else found


def text(function: Callable[..., Any]) -> Callable[..., Any]:
    """A method of texts; of a null it is null."""

    def compute(value: Any, *constants: Any) -> Any:
        if not is_object(value):
            raise TypeError
        found = each(lambda one: None if is_missing(one) else function(one, *constants), value)
        kinds = set(map(type, found))
        return found.astype(np.int64) if kinds == {int} else found.astype(np.bool_) if kinds == {bool} else found

    return compute


def number(function: Callable[..., Any]) -> Callable[..., Any]:
    """A function of numbers alone."""

    def compute(*values: Any) -> Any:
        if any(map(is_object, values)):
            raise TypeError
        return function(*values)

    return compute


OPERATIONS: Mapping[str, Callable[..., Any]] = {
    "add": arithmetic(operator.add, takes_bools=True),
    "sub": arithmetic(operator.sub, takes_bools=True),
    "mul": arithmetic(operator.mul, takes_bools=True),
    "div": arithmetic(np.true_divide),
    "floordiv": arithmetic(floordiv),
    "mod": arithmetic(modulo),
    "pow": arithmetic(operator.pow),
    "neg": number(np.negative),
    "pos": number(np.positive),
    "eq": comparison(operator.eq, of_null=False),
    "ne": comparison(operator.ne, of_null=True),
    "lt": comparison(operator.lt, of_null=False),
    "le": comparison(operator.le, of_null=False),
    "gt": comparison(operator.gt, of_null=False),
    "ge": comparison(operator.ge, of_null=False),
    "and": logical(operator.and_),
    "or": logical(operator.or_),
    "xor": logical(operator.xor),
    "invert": invert,
    "isna": isna,
    "notna": lambda value: ~isna(value),
    "fillna": fillna,
    "where": where,
    "clip": clip,
    "astype": astype,
    "isin": isin,
    "abs": number(np.abs),
    "round": number(lambda value, decimals: np.round(value, decimals)),
    **{name: number(getattr(np, name)) for name in (*NUMPY, *NUMPY_PAIRS)},
    **{name: text(getattr(str, name)) for name in ("lower", "upper", "strip", "startswith", "endswith")},
    "len": text(len),
}
