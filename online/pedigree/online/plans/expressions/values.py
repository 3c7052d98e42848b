"""Values of Python mode: what an expression is in one row."""

from __future__ import annotations

import ast
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from pedigree.online.plans.expressions.source import (
    COMPARED,
    OPERATORS,
    Names,
    Scope,
    literal,
    literals,
    refusal,
    text_of,
)
from pedigree.online.plans.expressions.tree import MATH, MATH_PAIRS, Node, constant

BUILTINS = {
    **dict.fromkeys(("abs", "int", "float", "bool", "str", "len"), (1, 1)),
    "min": (2, 200),
    "max": (2, 200),
    "round": (1, 2),
    "pow": (2, 2),
}
MATHS = {
    **{f"math.{name}": (1, 1) for name in MATH},
    **{f"math.{name}": (2, 2) for name in MATH_PAIRS},
    "math.log": (1, 2),
}
TEXTS = {"lower": 0, "upper": 0, "strip": 0, "startswith": 1, "endswith": 1}
"""Methods of texts, with the number of their arguments."""


@dataclass(frozen=True, slots=True)
class Column:
    """A list, one value per row: what it holds in a row."""

    node: Node


@dataclass(frozen=True, slots=True)
class Place:
    """The number of a row, in `for i in range(len(…))`."""


@dataclass(slots=True)
class Made:
    """A dict that the function makes."""

    columns: dict[str, Node] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Argument:
    """The function's argument."""


Local = Node | Column | Place | Made | Argument
Locals = dict[str, Local]


class RowCompiler(Scope, ABC):
    """Compiles expressions of Python mode. `singleton`: the function's argument holds values, not lists."""

    def __init__(self, names: Names, *, singleton: bool) -> None:
        super().__init__(names)
        self.singleton = singleton

    @abstractmethod
    def column(self, node: ast.expr, names: Locals) -> Node | None:
        """What a list holds in a row; None where it is no list that we know of."""

    def is_call_of(self, node: ast.expr, name: str, names: Locals) -> bool:
        """Whether something is a call of one of Python's own functions."""
        if name in names or not isinstance(node, ast.Call) or not isinstance(node.func, ast.Name):
            return False
        return node.func.id == name

    def read_name(self, node: ast.expr, names: Locals) -> str | None:
        """The name that `inputs["name"]` or `inputs.get("name")` reads; a name that is there is never given its default."""
        if isinstance(node, ast.Subscript) and self.is_argument(node.value, names):
            return text_of(node.slice)
        if not isinstance(node, ast.Call) or not isinstance(node.func, ast.Attribute) or node.keywords:
            return None
        is_read = node.func.attr == "get" and self.is_argument(node.func.value, names) and 1 <= len(node.args) <= 2
        return text_of(node.args[0]) if is_read else None

    def is_argument(self, node: ast.expr, names: Locals) -> bool:
        """Whether something is the function's argument."""
        return isinstance(node, ast.Name) and isinstance(names.get(node.id), Argument)

    def value(self, node: ast.expr, names: Locals) -> Node:
        """A value in a row."""
        if (found := self.module_constant(node)) is not None:
            return found
        known: Mapping[type, Callable[[Any, Locals], Node]] = {
            ast.Constant: lambda one, _: literal(one),
            ast.Name: self.name,
            ast.Subscript: self.subscript,
            ast.BinOp: self.operation,
            ast.UnaryOp: self.unary,
            ast.BoolOp: self.logic,
            ast.Compare: self.compare,
            ast.IfExp: self.conditional,
            ast.Call: self.call,
            ast.JoinedStr: self.joined,
        }
        if type(node) not in known:
            raise refusal(node)
        return known[type(node)](node, names)

    def name(self, node: ast.Name, names: Locals) -> Node:
        """A local name."""
        found = names.get(node.id)
        if isinstance(found, Node):
            return found
        raise refusal(node, f"`{node.id}`, which is not a value that the function makes itself,")

    def subscript(self, node: ast.Subscript, names: Locals) -> Node:
        """`inputs["name"]` of a singleton, or `column[i]`."""
        if isinstance(node.slice, ast.Name) and isinstance(names.get(node.slice.id), Place):
            column = self.column(node.value, names)
            if column is not None:
                return column
        name = self.read_name(node, names)
        if name is None or not self.singleton:
            raise refusal(node)
        return self.input_named(name, node)

    def operation(self, node: ast.BinOp, names: Locals) -> Node:
        """Arithmetic."""
        name = OPERATORS.get(type(node.op))
        if name is None:
            raise refusal(node)
        return Node(name, (self.value(node.left, names), self.value(node.right, names)))

    def unary(self, node: ast.UnaryOp, names: Locals) -> Node:
        """`-x`, `+x`, `not x`."""
        if isinstance(node.op, ast.USub) and isinstance(node.operand, ast.Constant):
            return literal(node)
        name = {ast.USub: "neg", ast.UAdd: "pos", ast.Not: "not"}.get(type(node.op))
        if name is None:
            raise refusal(node)
        return Node(name, (self.value(node.operand, names),))

    def logic(self, node: ast.BoolOp, names: Locals) -> Node:
        """`a and b`, `a or b`."""
        name = "and" if isinstance(node.op, ast.And) else "or"
        return Node(name, tuple(self.value(one, names) for one in node.values))

    def compare(self, node: ast.Compare, names: Locals) -> Node:
        """`a < b`, `a < b < c`, `a is None`, `a in ("x", "y")`."""
        operands: list[ast.expr] = [node.left, *node.comparators]
        if isinstance(node.ops[0], ast.In | ast.NotIn | ast.Is | ast.IsNot):
            if len(node.ops) > 1:
                raise refusal(node)
            return self.membership(node, names)
        kept = [self.kept(self.value(one, names)) for one in operands]
        found = []
        for place, operator in enumerate(node.ops):
            if type(operator) not in COMPARED:
                raise refusal(node)
            found.append(Node(COMPARED[type(operator)], (kept[place], kept[place + 1])))
        return found[0] if len(found) == 1 else Node("and", tuple(found))

    def membership(self, node: ast.Compare, names: Locals) -> Node:
        """`is None`, `in`, and their opposites."""
        [operator], [other] = node.ops, node.comparators
        value = self.value(node.left, names)
        if isinstance(operator, ast.Is | ast.IsNot):
            if not (isinstance(other, ast.Constant) and other.value is None):
                raise refusal(node)
            found = Node("isnone", (value,))
        elif isinstance(other, ast.List | ast.Tuple | ast.Set):
            found = Node("in", (value, *literals(other)))
        else:
            found = Node("contains", (self.value(other, names), value))
        return Node("not", (found,)) if isinstance(operator, ast.IsNot | ast.NotIn) else found

    def conditional(self, node: ast.IfExp, names: Locals) -> Node:
        """`a if condition else b`."""
        return Node("if", tuple(self.value(one, names) for one in (node.test, node.body, node.orelse)))

    def call(self, node: ast.Call, names: Locals) -> Node:
        """One of Python's own functions, of `math`, or a method of a text."""
        if self.singleton and (name := self.read_name(node, names)) is not None:
            return self.input_named(name, node)
        if node.keywords:
            raise refusal(node)
        if isinstance(node.func, ast.Name) and node.func.id not in names and node.func.id in BUILTINS:
            return self.builtin(node, names)
        dotted = self.dotted(node.func)
        if dotted in MATHS:
            return self.counted(dotted, MATHS[dotted], node.args, node, names)
        if dotted is not None:
            raise refusal(node, f"`{ast.unparse(node)[:80]}` in Python mode (see `math` for what can be used)")
        if isinstance(node.func, ast.Attribute) and TEXTS.get(node.func.attr) == len(node.args):
            arguments = (self.value(one, names) for one in node.args)
            return Node(node.func.attr, (self.value(node.func.value, names), *arguments))
        raise refusal(node)

    def builtin(self, node: ast.Call, names: Locals) -> Node:
        """One of Python's own functions."""
        name, written = node.func.id, node.args  # type: ignore[attr-defined]  # it is a name
        if name in ("min", "max") and len(written) == 1 and isinstance(written[0], ast.List | ast.Tuple):
            written = written[0].elts
        if name == "float" and len(written) == 1 and getattr(written[0], "value", None) in ("nan", "inf", "-inf"):
            return constant(float(written[0].value))  # type: ignore[attr-defined]  # it is a constant
        return self.counted(name, BUILTINS[name], written, node, names)

    def counted(
        self, name: str, count: tuple[int, int], written: Sequence[ast.expr], node: ast.AST, names: Locals
    ) -> Node:
        """An operation of as many values as it takes."""
        if not count[0] <= len(written) <= count[1] or any(isinstance(one, ast.Starred) for one in written):
            raise refusal(node)
        return Node(name, tuple(self.value(one, names) for one in written))

    def joined(self, node: ast.JoinedStr, names: Locals) -> Node:
        """`f"{a}_{b}"`, without formats."""
        found = []
        for part in node.values:
            if isinstance(part, ast.FormattedValue):
                if part.format_spec is not None or part.conversion != -1:
                    raise refusal(node, "a format inside of an f-string")
                found.append(Node("str", (self.value(part.value, names),)))
            else:
                found.append(literal(part))
        return Node("concat", tuple(found)) if found else constant("")
