"""Python mode, computed: what happens to one row, as Python would do it, without bombs: numbers and texts stay small."""

from __future__ import annotations

import math
import operator
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

from pedigree.online.plans.expressions.outcome import FAILURES, ResultTooLargeError, failure
from pedigree.online.plans.expressions.tree import MATH, MATH_PAIRS, Node, Program

MOST_BITS = 4_096
LONGEST_TEXT = 1 << 16
MOST_DIGITS = 400


class NullOperandError(Exception):
    """An operation was given a null that it cannot take. Python would raise; here what it is part of is null."""


class State:
    """One row under way: its inputs, and the steps that were computed so far."""

    __slots__ = ("inputs", "steps")

    def __init__(self, inputs: Sequence[Any]) -> None:
        self.inputs = inputs
        self.steps: dict[int, Any] = {}


Step = Callable[[State], Any]


class Rows:
    """A program in Python mode, made ready."""

    def __init__(self, program: Program) -> None:
        self.steps: list[Step] = []
        for step in program.steps:
            self.steps.append(self.ready(step))
        self.outputs: Mapping[str, Step] = {name: self.ready(node) for name, node in program.outputs.items()}

    def compute(self, inputs: Sequence[Sequence[Any]], outputs: Sequence[str], rows: int) -> dict[str, list[Any]]:
        """For each output its value in every row; `Failed` where Python would raise.

        Args:
            inputs: the values of each input by row; None is null.
        """
        found: dict[str, list[Any]] = {name: [] for name in outputs}
        for row in range(rows):
            state = State([column[row] for column in inputs])
            for name, values in found.items():
                values.append(outcome(self.outputs[name], state))
        return found

    def ready(self, node: Node) -> Step:
        """A node as something that can be called with a row."""
        if node.op == "const":
            value = node.value
            return lambda _: value
        if node.op == "input":
            place = node.value
            return lambda state: state.inputs[place]
        if node.op == "step":
            return partial(step_in, number=node.value, run=self.steps[node.value])
        arguments = [self.ready(argument) for argument in node.args]
        if node.op in LAZY:
            return partial(LAZY[node.op], arguments)
        function = EAGER[node.op]
        if len(arguments) == 1:
            return partial(applied, function, arguments[0])
        if len(arguments) == 2:
            return partial(paired, function, arguments[0], arguments[1])
        return partial(called, function, arguments)


def outcome(run: Step, state: State) -> Any:
    """A value, None where it is null, or that it failed."""
    try:
        return run(state)
    except NullOperandError:
        return None
    except FAILURES as error:
        return failure(error)


def step_in(state: State, *, number: int, run: Step) -> Any:
    """What a step is in a row."""
    if number not in state.steps:
        state.steps[number] = run(state)
    return state.steps[number]


def applied(function: Callable[[Any], Any], argument: Step, state: State) -> Any:
    """An operation of one value."""
    value = argument(state)
    try:
        return function(value)
    except (TypeError, AttributeError) as error:
        raise (NullOperandError if value is None else error) from error


def paired(function: Callable[[Any, Any], Any], left: Step, right: Step, state: State) -> Any:
    """An operation of two values."""
    one, other = left(state), right(state)
    try:
        return function(one, other)
    except (TypeError, AttributeError) as error:
        raise (NullOperandError if one is None or other is None else error) from error


def called(function: Callable[..., Any], arguments: Sequence[Step], state: State) -> Any:
    """An operation of any number of values."""
    values = [argument(state) for argument in arguments]
    try:
        return function(*values)
    except (TypeError, AttributeError) as error:
        raise (NullOperandError if None in values else error) from error


def choose(arguments: Sequence[Step], state: State) -> Any:
    """`a if condition else b`: only one of them is computed."""
    condition, one, other = arguments
    return one(state) if condition(state) else other(state)


def conjunction(arguments: Sequence[Step], state: State) -> Any:
    """`a and b and …`."""
    value: Any = True
    for argument in arguments:
        value = argument(state)
        if not value:
            return value
    return value


def disjunction(arguments: Sequence[Step], state: State) -> Any:
    """`a or b or …`."""
    value: Any = False
    for argument in arguments:
        value = argument(state)
        if value:
            return value
    return value


def add(one: Any, other: Any) -> Any:
    """`+`: numbers, or texts that do not become too long."""
    if isinstance(one, str) and isinstance(other, str) and len(one) + len(other) > LONGEST_TEXT:
        raise ResultTooLargeError
    return small(one + other)


def mul(one: Any, other: Any) -> Any:
    """`*` of numbers."""
    refuse_texts(one, other)
    return small(one * other)


def mod(one: Any, other: Any) -> Any:
    """`%` of numbers."""
    refuse_texts(one)
    return one % other


def power(one: Any, other: Any) -> Any:
    """`**` of numbers."""
    if isinstance(one, int) and isinstance(other, int) and other > 0 and one.bit_length() * other > MOST_BITS:
        raise ResultTooLargeError
    found = one**other
    if isinstance(found, complex):
        raise ValueError
    return found


def rounded(value: Any, digits: Any = None) -> Any:
    """`round`."""
    if isinstance(digits, int) and abs(digits) > MOST_DIGITS:
        raise ResultTooLargeError
    return round(value) if digits is None else round(value, digits)


def small(value: Any) -> Any:
    """A number that is not too large."""
    if isinstance(value, int) and value.bit_length() > MOST_BITS:
        raise ResultTooLargeError
    return value


def refuse_texts(*values: Any) -> None:
    """Raise where a text is used as a number."""
    if any(isinstance(value, str) for value in values):
        raise TypeError


def concat(*texts: str) -> str:
    """The parts of an f-string."""
    if sum(map(len, texts)) > LONGEST_TEXT:
        raise ResultTooLargeError
    return "".join(texts)


def contains(whole: Any, part: Any) -> bool:
    """`part in whole`, of texts."""
    if not isinstance(whole, str) or not isinstance(part, str):
        raise TypeError
    return part in whole


def is_in(value: Any, *constants: Any) -> bool:
    """`value in (…)`."""
    return value in constants


LAZY: Mapping[str, Callable[[Sequence[Step], State], Any]] = {"if": choose, "and": conjunction, "or": disjunction}
"""Operations that do not compute all their operands."""

EAGER: Mapping[str, Callable[..., Any]] = {
    **{name: getattr(operator, name) for name in ("eq", "ne", "lt", "le", "gt", "ge", "sub", "floordiv", "neg", "pos")},
    **{f"math.{name}": getattr(math, name) for name in (*MATH, *MATH_PAIRS, "log")},
    **{name: getattr(str, name) for name in ("lower", "upper", "strip", "startswith", "endswith")},
    "add": add,
    "mul": mul,
    "div": operator.truediv,
    "mod": mod,
    "pow": power,
    "not": operator.not_,
    "abs": abs,
    "min": min,
    "max": max,
    "round": rounded,
    "int": int,
    "float": float,
    "bool": bool,
    "str": str,
    "len": len,
    "isnone": lambda value: value is None,
    "concat": concat,
    "contains": contains,
    "in": is_in,
}
