"""A function's text, taken apart. It is parsed, never run, and nothing of it is imported."""

from __future__ import annotations

import ast
import math
from collections.abc import Iterator, Mapping, Sequence
from textwrap import dedent
from typing import Any

from pedigree.online.errors import UncompiledError
from pedigree.online.plans.expressions.tree import LONGEST_TEXT, WHOLE_BITS, Node, constant, input_at

LONGEST_SOURCE = 1 << 16
MODULES = {"np": "numpy", "numpy": "numpy", "pd": "pandas", "pandas": "pandas", "math": "math"}
"""What the names of modules stand for. Feast keeps a function's text without the imports above it."""
CONSTANTS = {
    f"{module}.{name}": getattr(math, name) for module in ("numpy", "math") for name in ("pi", "e", "inf", "nan")
}
OPERATORS: Mapping[type[ast.AST], str] = {
    ast.Add: "add",
    ast.Sub: "sub",
    ast.Mult: "mul",
    ast.Div: "div",
    ast.FloorDiv: "floordiv",
    ast.Mod: "mod",
    ast.Pow: "pow",
}
COMPARED: Mapping[type[ast.AST], str] = {
    ast.Eq: "eq",
    ast.NotEq: "ne",
    ast.Lt: "lt",
    ast.LtE: "le",
    ast.Gt: "gt",
    ast.GtE: "ge",
}

Names = Mapping[str, "int | str"]
"""What a function may read of its argument: by name the place of an input, or why it cannot be used."""


def function_of(text: str) -> ast.FunctionDef:
    """The function that a text defines.

    Raises:
        UncompiledError: it defines none.
    """
    if not text.strip():
        raise UncompiledError("Feast kept no source text of the function", 1)
    if len(text) > LONGEST_SOURCE:
        raise UncompiledError(f"its text is longer than {LONGEST_SOURCE} characters", 1)
    try:
        module = ast.parse(dedent(text))
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        raise UncompiledError(
            "its text is no Python, or nested too deep", getattr(error, "lineno", None) or 1
        ) from error
    for statement in module.body:
        if isinstance(statement, ast.FunctionDef):
            return statement
    raise UncompiledError("its text defines no function with `def`; a lambda is not compiled", 1)


def argument_of(function: ast.FunctionDef) -> str:
    """The name of a function's one argument."""
    arguments = function.args
    others = (*arguments.posonlyargs, *arguments.kwonlyargs, arguments.vararg, arguments.kwarg)
    if len(arguments.args) != 1 or any(others):
        raise UncompiledError("the function takes other than one argument", function.lineno)
    return arguments.args[0].arg


def statements_of(body: Sequence[ast.stmt]) -> Iterator[ast.stmt]:
    """The statements that do something: neither docstrings nor `pass`."""
    for statement in body:
        is_text = isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Constant)
        if not is_text and not isinstance(statement, ast.Pass):
            yield statement


def refusal(node: ast.AST, what: str | None = None) -> UncompiledError:
    """That something is not compiled: as it is written, and why, where more is to be said."""
    if isinstance(node, ast.stmt) and what is None:
        what = f"the statement `{ast.unparse(node).splitlines()[0][:80]}`"
    text = what or f"`{ast.unparse(node)[:80]}`"
    return UncompiledError(text, getattr(node, "lineno", 1))


class Scope:
    """What is common to both modes: the names of modules and inputs, and the steps that were compiled so far."""

    def __init__(self, names: Names) -> None:
        self.names = names
        self.modules = dict(MODULES)
        self.steps: list[Node] = []

    def imports(self, statement: ast.Import) -> None:
        """An import inside the function: a module that is known, under a name of its own."""
        for alias in statement.names:
            if alias.name not in MODULES.values():
                raise refusal(statement)
            self.modules[alias.asname or alias.name] = alias.name

    def dotted(self, node: ast.AST) -> str | None:
        """The full name of something of a module, such as `numpy.where`; None where it is nothing of a module."""
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id in self.modules:
            return f"{self.modules[node.value.id]}.{node.attr}"
        return None

    def input_named(self, name: str, node: ast.AST) -> Node:
        """The input that a function reads by name."""
        place = self.names.get(name)
        if place is None:
            raise refusal(node, f"{name!r} is not among the features and request data of its sources")
        if isinstance(place, str):
            raise refusal(node, f"{name!r} cannot be used: {place}")
        return input_at(place)

    def kept(self, node: Node) -> Node:
        """A node that may be used in several places: what is more than a leaf becomes a step."""
        if not node.args:
            return node
        self.steps.append(node)
        return Node("step", value=len(self.steps) - 1)

    def module_constant(self, node: ast.AST) -> Node | None:
        """`np.nan`, `math.pi` and the like."""
        name = self.dotted(node)
        return constant(CONSTANTS[name]) if name in CONSTANTS else None


def text_of(node: ast.AST) -> str:
    """A text that is written out."""
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        return node.value
    raise refusal(node, f"`{ast.unparse(node)[:80]}` in place of a name that is written out")


def literal(node: ast.AST) -> Node:
    """A constant that is written out: None, True, False, a number or a text."""
    value: Any = None
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub) and isinstance(node.operand, ast.Constant):
        value = node.operand.value
        if not isinstance(value, int | float):
            raise refusal(node)
        value = -value
    elif isinstance(node, ast.Constant):
        value = node.value
    else:
        raise refusal(node, f"`{ast.unparse(node)[:80]}` in place of a constant")
    if isinstance(value, int) and value.bit_length() > WHOLE_BITS:
        raise refusal(node, "a whole number of more than 64 bits")
    if isinstance(value, str) and len(value) > LONGEST_TEXT:
        raise refusal(node, f"a text of more than {LONGEST_TEXT} characters")
    if not isinstance(value, int | float | str | None):
        raise refusal(node)
    return constant(value)


def literals(node: ast.AST) -> tuple[Node, ...]:
    """The constants of a list, tuple or set that is written out."""
    if not isinstance(node, ast.List | ast.Tuple | ast.Set):
        raise refusal(node, f"`{ast.unparse(node)[:80]}` in place of a list of constants")
    return tuple(map(literal, node.elts))


def pruned(steps: Sequence[Node], outputs: Mapping[str, Node]) -> tuple[tuple[Node, ...], dict[str, Node]]:
    """The steps that outputs need, numbered anew, and the outputs by those numbers."""
    used = needed(steps, outputs.values())
    numbers = {old: new for new, old in enumerate(used)}
    renumbered = tuple(with_numbers(steps[old], numbers) for old in used)
    return renumbered, {name: with_numbers(node, numbers) for name, node in outputs.items()}


def needed(steps: Sequence[Node], outputs: Any) -> list[int]:
    """The numbers of the steps below some nodes, in order."""
    found: set[int] = set()
    waiting = list(outputs)
    while waiting:
        node = waiting.pop()
        waiting.extend(node.args)
        if node.op == "step" and node.value not in found:
            found.add(node.value)
            waiting.append(steps[node.value])
    return sorted(found)


def with_numbers(node: Node, numbers: Mapping[int, int]) -> Node:
    """A node whose steps have other numbers."""
    if node.op == "step":
        return Node("step", value=numbers[node.value])
    return Node(node.op, tuple(with_numbers(argument, numbers) for argument in node.args), node.value)
