"""What a computation ends with: a value of the declared type, null, or that it failed, which is a value too."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

FAILURES = (ArithmeticError, ValueError, TypeError, AttributeError)
"""What computing may raise because of the values of a row."""

RANGES = {"INT32": 31, "INT64": 63}
LARGEST_FLOAT = 3.4028235677973366e38
"""From here on a double is no float but infinite."""


class ResultTooLargeError(ValueError):
    """A number or a text became larger than one may be."""


@dataclass(frozen=True, slots=True)
class Failed:
    """Feast would have raised. `reason` tells of no value: who asks may not be somebody who may read the sources."""

    reason: str


def failure(error: BaseException) -> Failed:
    """What is told of an error."""
    if isinstance(error, ZeroDivisionError):
        return Failed("it divides by zero")
    if isinstance(error, ResultTooLargeError | OverflowError | MemoryError):
        return Failed("a number or a text becomes too large")
    if isinstance(error, ValueError | ArithmeticError):
        return Failed("a function is given what it is not defined for")
    return Failed("an operation is given a value of a type that it cannot take")


def conformed(value: Any, kind: str) -> Any:
    """A computed value as the declared type has it, as Feast converts it; None is null, and so is a NaN.

    Args:
        kind: Feast's name of the type.
    """
    if value is None or isinstance(value, Failed) or (isinstance(value, float) and math.isnan(value)):
        return None if not isinstance(value, Failed) else value
    try:
        return CONVERSIONS[kind](value)
    except FAILURES:
        return Failed(f"the result is no {kind}")


def whole(bits: int) -> Callable[[Any], int]:
    """A whole number, cut off behind the point, in the range of its type."""

    def convert(value: Any) -> int:
        number = int(value)
        if not -(1 << bits) <= number < 1 << bits:
            raise ValueError
        return number

    return convert


def double(value: Any) -> float:
    """A double; Feast takes neither a bool nor a text for one."""
    if isinstance(value, bool | str):
        raise TypeError
    return float(value)


def single(value: Any) -> float:
    """A float: infinite where it is too large for one."""
    number = float(value)
    return math.copysign(math.inf, number) if abs(number) >= LARGEST_FLOAT else number


def truth(value: Any) -> bool:
    """A bool; a whole number is one too, and other numbers are none."""
    if not isinstance(value, int):
        raise TypeError
    return bool(value)


CONVERSIONS: Mapping[str, Callable[[Any], Any]] = {
    "INT32": whole(RANGES["INT32"]),
    "INT64": whole(RANGES["INT64"]),
    "FLOAT": single,
    "DOUBLE": double,
    "BOOL": truth,
    "STRING": str,
}
COMPUTABLE = frozenset(CONVERSIONS)
"""The types that can be computed with, and that a result can have."""
