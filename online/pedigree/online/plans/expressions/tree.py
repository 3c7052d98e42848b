"""The tree that a function is compiled to: a closed set of operations, bounded in size. Reading one runs nothing."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from pedigree.online.errors import ExpressionError

MOST_NODES = 2_000
DEEPEST = 100
LONGEST_TEXT = 1_024
WHOLE_BITS = 63
MOST_DECIMALS = 300


class Mode(StrEnum):
    """How a function is meant: over columns, as pandas has it, or row by row, as Python has it."""

    PANDAS = "pandas"
    PYTHON = "python"


LEAVES = frozenset({"input", "step", "const"})
MANY = 200
"""The most operands that an operation takes which takes any number."""

ARITHMETIC = dict.fromkeys(("add", "sub", "mul", "div", "floordiv", "mod", "pow"), (2, 2)) | {
    "neg": (1, 1),
    "pos": (1, 1),
}
COMPARISONS = dict.fromkeys(("eq", "ne", "lt", "le", "gt", "ge"), (2, 2))
TEXT = dict.fromkeys(("lower", "upper", "strip", "len"), (1, 1)) | {"startswith": (2, 2), "endswith": (2, 2)}

NUMPY = (
    *("log", "log1p", "log2", "log10", "exp", "expm1", "sqrt", "square", "sign", "floor", "ceil", "trunc"),
    *("sin", "cos", "tan", "arcsin", "arccos", "arctan", "sinh", "cosh", "tanh", "radians", "degrees"),
    *("isnan", "isinf", "isfinite"),
)
"""numpy's functions of one operand, under numpy's names."""
NUMPY_PAIRS = ("maximum", "minimum", "fmax", "fmin", "hypot", "arctan2")
MATH = (
    *("log1p", "log2", "log10", "exp", "expm1", "sqrt", "floor", "ceil", "trunc", "fabs"),
    *("sin", "cos", "tan", "asin", "acos", "atan", "sinh", "cosh", "tanh", "radians", "degrees"),
    *("isnan", "isinf", "isfinite"),
)
"""Functions of Python's `math` of one operand."""
MATH_PAIRS = ("pow", "atan2", "hypot", "fmod", "copysign")
DTYPES = frozenset({"int32", "int64", "float32", "float64", "bool", "str"})

OPERATIONS: Mapping[Mode, Mapping[str, tuple[int, int]]] = {
    Mode.PANDAS: {
        **ARITHMETIC,
        **COMPARISONS,
        **TEXT,
        **dict.fromkeys(("and", "or", "xor", "fillna", "astype", *NUMPY_PAIRS), (2, 2)),
        **dict.fromkeys(("invert", "abs", "isna", "notna", *NUMPY), (1, 1)),
        "where": (3, 3),
        "clip": (3, 3),
        "round": (2, 2),
        "isin": (1, MANY),
    },
    Mode.PYTHON: {
        **ARITHMETIC,
        **COMPARISONS,
        **TEXT,
        **dict.fromkeys(("not", "isnone", "abs", "int", "float", "bool", "str"), (1, 1)),
        **{f"math.{name}": (1, 1) for name in MATH},
        **{f"math.{name}": (2, 2) for name in MATH_PAIRS},
        **dict.fromkeys(("and", "or", "min", "max"), (2, MANY)),
        "math.log": (1, 2),
        "if": (3, 3),
        "in": (1, MANY),
        "contains": (2, 2),
        "round": (1, 2),
        "concat": (1, MANY),
    },
}
"""By mode every operation that there is, with the fewest and the most operands that it takes."""

MUST_BE_CONSTANT: Mapping[tuple[Mode, str], int] = {
    (Mode.PANDAS, "isin"): 1,
    (Mode.PANDAS, "astype"): 1,
    (Mode.PANDAS, "round"): 1,
    (Mode.PANDAS, "startswith"): 1,
    (Mode.PANDAS, "endswith"): 1,
    (Mode.PYTHON, "in"): 1,
}
"""From which operand on the operands of an operation are constants."""


@dataclass(frozen=True, slots=True)
class Node:
    """One operation and its operands. `value`: which input or step a leaf stands for, or the constant that it is."""

    op: str
    args: tuple[Node, ...] = ()
    value: Any = None


@dataclass(frozen=True, slots=True)
class Program:
    """What a function computes.

    Attributes:
        steps: what is computed once and used in several places; each may use those before it.
        outputs: the function's columns, in its order.
    """

    mode: Mode
    steps: tuple[Node, ...]
    outputs: Mapping[str, Node]

    def inputs_of(self, output: str) -> tuple[int, ...]:
        """The inputs that a column depends on, in the order in which the function first uses them."""
        return tuple(dict.fromkeys(self.leaves(self.outputs[output], set())))

    def leaves(self, node: Node, seen: set[int]) -> Iterator[int]:
        """The inputs below a node; each step is looked at once."""
        if node.op == "input":
            yield node.value
        elif node.op == "step" and node.value not in seen:
            seen.add(node.value)
            yield from self.leaves(self.steps[node.value], seen)
        for argument in node.args:
            yield from self.leaves(argument, seen)


def input_at(place: int) -> Node:
    """An input."""
    return Node("input", value=place)


def constant(value: object) -> Node:
    """A constant."""
    return Node("const", value=value)


def written(program: Program) -> dict[str, Any]:
    """A program as JSON has it."""
    return {
        "mode": program.mode.value,
        "steps": [parts_of(node) for node in program.steps],
        "outputs": [[name, parts_of(node)] for name, node in program.outputs.items()],
    }


def parts_of(node: Node) -> list[Any]:
    """A node as JSON has it."""
    return [node.op, node.value] if node.op in LEAVES else [node.op, *map(parts_of, node.args)]


def read(parts: Mapping[str, Any], *, inputs: int) -> Program:
    """The program that JSON holds.

    Args:
        inputs: how many inputs there are.
    Raises:
        ExpressionError: it is none of this release, or larger than one may be.
        KeyError, TypeError, ValueError: it is none at all.
    """
    mode = Mode(parts["mode"])
    program = Program(
        mode,
        tuple(node_of(step, mode, 0) for step in parts["steps"]),
        {str(name): node_of(node, mode, 0) for name, node in parts["outputs"]},
    )
    check(program, inputs=inputs)
    return program


def node_of(parts: Any, mode: Mode, depth: int) -> Node:
    """One node and all below it."""
    if depth > DEEPEST or not isinstance(parts, list) or not parts or not isinstance(parts[0], str):
        raise ExpressionError("an expression is nested too deep, or is none")
    op = parts[0]
    if op in LEAVES:
        return Node(op, value=leaf_value(op, parts))
    fewest, most = OPERATIONS[mode].get(op, (0, -1))
    if not fewest <= len(parts) - 1 <= most:
        raise ExpressionError(f"there is no operation {op[:40]!r} of {len(parts) - 1} operands")
    return Node(op, tuple(node_of(part, mode, depth + 1) for part in parts[1:]))


def leaf_value(op: str, parts: Sequence[Any]) -> Any:
    """What a leaf holds."""
    _, value = parts
    if op != "const" and type(value) is not int:
        raise ExpressionError(f"{op} has no number")
    return value


def check(program: Program, *, inputs: int) -> None:
    """Raise where a program is larger than one may be, names what is not there, or holds a constant of another kind."""
    depths: list[int] = []
    count = 0
    for place, node in enumerate((*program.steps, *program.outputs.values())):
        steps = min(place, len(program.steps))
        for one in every(node):
            count += 1
            check_node(one, program.mode, steps=steps, inputs=inputs)
        depths.append(depth_of(node, depths))
    if count > MOST_NODES:
        raise ExpressionError(f"{count} operations are more than the {MOST_NODES} that one view may have")
    if max(depths, default=0) > DEEPEST:
        raise ExpressionError(f"its expressions are nested more than {DEEPEST} deep")


def check_node(node: Node, mode: Mode, *, steps: int, inputs: int) -> None:
    """Raise where one node cannot be."""
    if node.op == "const":
        check_constant(node.value)
    elif node.op in LEAVES:
        if not 0 <= node.value < (steps if node.op == "step" else inputs):
            raise ExpressionError(f"there is no {node.op} {node.value}")
    else:
        first = MUST_BE_CONSTANT.get((mode, node.op), len(node.args))
        if any(argument.op != "const" for argument in node.args[first:]):
            raise ExpressionError(f"an operand of {node.op} is no constant")
        check_constants_of(node, mode)


def check_constants_of(node: Node, mode: Mode) -> None:
    """Raise where the constant of an operation is none that it knows."""
    if mode is not Mode.PANDAS or len(node.args) != 2:
        return
    value = node.args[1].value
    is_known = {
        "astype": isinstance(value, str) and value in DTYPES,
        "round": type(value) is int and abs(value) <= MOST_DECIMALS,
        "startswith": isinstance(value, str),
        "endswith": isinstance(value, str),
    }.get(node.op, True)
    if not is_known:
        raise ExpressionError(f"{node.op} does not know {value!r}")


def check_constant(value: object) -> None:
    """Raise where a constant is of no kind that there is, or too large."""
    is_small = (
        value.bit_length() <= WHOLE_BITS
        if isinstance(value, int)
        else len(value) <= LONGEST_TEXT and is_text(value)
        if isinstance(value, str)
        else value is None or isinstance(value, float)
    )
    if not is_small:
        raise ExpressionError("a constant is too large, or of another type than number, text, True, False and None")


def is_text(value: str) -> bool:
    """Whether a text can be written as UTF-8: half of a surrogate pair cannot."""
    try:
        value.encode()
    except UnicodeEncodeError:
        return False
    return True


def every(node: Node) -> Iterator[Node]:
    """A node and all below it."""
    yield node
    for argument in node.args:
        yield from every(argument)


def depth_of(node: Node, steps: Sequence[int]) -> int:
    """How deep a node goes, through the steps that it uses."""
    if node.op == "step":
        return 1 + steps[int(node.value)]
    return 1 + max((depth_of(argument, steps) for argument in node.args), default=0)
