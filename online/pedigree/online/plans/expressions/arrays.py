"""The operations of pandas mode on arrays, as pandas has them: what numpy does, and what pandas does otherwise."""

from __future__ import annotations

import operator
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from pedigree.online.plans.expressions.outcome import ResultTooLargeError
from pedigree.online.plans.expressions.tree import NUMPY, NUMPY_PAIRS

Array = npt.NDArray[Any]
MOST_TEXT = 1 << 24
"""The most characters that one operation may make, of all rows together."""


class UnevenError(Exception):
    """Rows cannot be computed together: pandas would make whole numbers floats because of those that are `apart`."""

    def __init__(self, apart: Array) -> None:
        self.apart = apart
        super().__init__("some rows have floats where others have whole numbers")


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
            raise ResultTooLargeError
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
