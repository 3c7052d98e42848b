"""Python mode: a function from a dict to a dict, of values (a singleton) or of lists, compiled to what happens to one row."""

from __future__ import annotations

import ast
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from online.expressions.source import (
    COMPARED,
    OPERATORS,
    Names,
    Scope,
    argument_of,
    literal,
    literals,
    refusal,
    statements_of,
    text_of,
)
from online.expressions.tree import MATH, MATH_PAIRS, Node, constant

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


class Dicts(Scope):
    """Compiles one function. `singleton`: its argument holds values, not lists."""

    def __init__(self, names: Names, *, singleton: bool) -> None:
        super().__init__(names)
        self.singleton = singleton

    def compiled(self, function: ast.FunctionDef) -> dict[str, Node]:
        """What the function returns, in its order."""
        found = self.block(list(statements_of(function.body)), {argument_of(function): Argument()})
        if found is None:
            raise refusal(function, "a function without a return at its end")
        return found.columns

    def block(self, statements: Sequence[ast.stmt], names: Locals) -> Made | None:
        """What statements return; None where they go on to what follows them."""
        for place, statement in enumerate(statements):
            if isinstance(statement, ast.Return):
                if statement.value is None:
                    raise refusal(statement)
                return self.made(statement.value, names)
            if isinstance(statement, ast.If):
                found = self.branches(statement, statements[place + 1 :], names)
                if found is not None:
                    return found
            else:
                self.statement(statement, names)
        return None

    def branches(self, statement: ast.If, rest: Sequence[ast.stmt], names: Locals) -> Made | None:
        """Both ways of an `if`. Where one of them returns, the other is what follows; where none does, names hold either."""
        if not self.singleton:
            raise refusal(
                statement, "an `if` statement outside of a singleton (write `a if … else b` in a comprehension)"
            )
        condition = self.kept(self.value(statement.test, names))
        then, otherwise = copied(names), copied(names)
        one = self.block(list(statements_of(statement.body)), then)
        other = self.block(list(statements_of(statement.orelse)), otherwise)
        if one is None and other is None:
            self.merge(condition, then, otherwise, names)
            return None
        one = one or self.block(rest, then)
        other = other or self.block(rest, otherwise)
        if one is None or other is None:
            raise refusal(statement, "an `if` of which one way ends without a return")
        return self.either(condition, one, other, statement)

    def either(self, condition: Node, one: Made, other: Made, node: ast.AST) -> Made:
        """One dict or the other."""
        if one.columns.keys() != other.columns.keys():
            raise refusal(node, "an `if` whose ways return different names")
        return Made({name: self.choice(condition, value, other.columns[name]) for name, value in one.columns.items()})

    def choice(self, condition: Node, one: Node, other: Node) -> Node:
        """One value or the other."""
        return one if repr(one) == repr(other) else self.kept(Node("if", (condition, one, other)))

    def merge(self, condition: Node, then: Locals, otherwise: Locals, names: Locals) -> None:
        """The names that are known behind an `if`, whichever way it went."""
        names.clear()
        for name in then.keys() & otherwise.keys():
            one, other = then[name], otherwise[name]
            if isinstance(one, Node) and isinstance(other, Node):
                names[name] = self.choice(condition, one, other)
            elif isinstance(one, Made) and isinstance(other, Made) and one.columns.keys() == other.columns.keys():
                names[name] = Made(
                    {key: self.choice(condition, value, other.columns[key]) for key, value in one.columns.items()}
                )
            elif one == other:
                names[name] = one

    def statement(self, statement: ast.stmt, names: Locals) -> None:
        """An import or an assignment."""
        if isinstance(statement, ast.Import):
            self.imports(statement)
        elif isinstance(statement, ast.Assign) and len(statement.targets) == 1:
            self.assign(statement.targets[0], statement.value, names)
        elif isinstance(statement, ast.AnnAssign) and statement.value is not None:
            self.assign(statement.target, statement.value, names)
        elif isinstance(statement, ast.AugAssign) and isinstance(statement.target, ast.Name):
            read = ast.copy_location(ast.Name(statement.target.id, ast.Load()), statement)
            changed = ast.copy_location(ast.BinOp(read, statement.op, statement.value), statement)
            self.assign(statement.target, changed, names)
        else:
            raise refusal(statement)

    def assign(self, target: ast.expr, written: ast.expr, names: Locals) -> None:
        """`name = …`, or `output["feature"] = …`."""
        if isinstance(target, ast.Name):
            self.modules.pop(target.id, None)
            names[target.id] = self.anything(written, names)
        elif isinstance(target, ast.Subscript) and isinstance(target.value, ast.Name):
            made = names.get(target.value.id)
            if not isinstance(made, Made):
                raise refusal(
                    target, f"`{ast.unparse(target)[:80]}` of something else than a dict that the function makes"
                )
            made.columns[text_of(target.slice)] = self.entry(written, names)
        else:
            raise refusal(target)

    def anything(self, node: ast.expr, names: Locals) -> Local:
        """A dict, a list or a value, whichever it is."""
        if isinstance(node, ast.Name) and not isinstance(found := names.get(node.id), Node | None):
            return found
        if isinstance(node, ast.Dict) or self.is_call_of(node, "dict", names):
            return self.made(node, names)
        if not self.singleton and (column := self.column(node, names)) is not None:
            return Column(self.kept(column))
        return self.kept(self.value(node, names))

    def is_call_of(self, node: ast.expr, name: str, names: Locals) -> bool:
        """Whether something is a call of one of Python's own functions."""
        if name in names or not isinstance(node, ast.Call) or not isinstance(node.func, ast.Name):
            return False
        return node.func.id == name

    def made(self, node: ast.expr, names: Locals) -> Made:
        """A dict that the function makes."""
        if isinstance(node, ast.Name) and isinstance(found := names.get(node.id), Made):
            return found
        made = Made()
        if isinstance(node, ast.Dict):
            for key, value in zip(node.keys, node.values, strict=True):
                if key is None:
                    made.columns |= self.made(value, names).columns
                else:
                    made.columns[text_of(key)] = self.entry(value, names)
            return made
        if isinstance(node, ast.Call) and self.is_call_of(node, "dict", names) and not node.args:
            for keyword in node.keywords:
                if keyword.arg is None:
                    raise refusal(node)
                made.columns[keyword.arg] = self.entry(keyword.value, names)
            return made
        raise refusal(node, f"`{ast.unparse(node)[:80]}` in place of a dict of features")

    def entry(self, node: ast.expr, names: Locals) -> Node:
        """What a feature is in a row: a value of a singleton, or an element of a list."""
        if self.singleton:
            return self.kept(self.value(node, names))
        column = self.column(node, names)
        if column is None:
            raise refusal(node, f"`{ast.unparse(node)[:80]}` in place of a list with one value per row")
        return self.kept(column)

    def column(self, node: ast.expr, names: Locals) -> Node | None:
        """What a list holds in a row; None where it is no list that we know of."""
        if isinstance(node, ast.Name) and isinstance(found := names.get(node.id), Column):
            return found.node
        if self.is_call_of(node, "list", names) and len(node.args) == 1:  # type: ignore[attr-defined]  # it is a call
            return self.column(node.args[0], names)  # type: ignore[attr-defined]
        if isinstance(node, ast.ListComp | ast.GeneratorExp):
            return self.comprehension(node, names)
        if (name := self.read_name(node, names)) is not None:
            return self.input_named(name, node)
        return None

    def comprehension(self, node: ast.ListComp | ast.GeneratorExp, names: Locals) -> Node:
        """`[… for a in inputs["a"]]`, `[… for a, b in zip(…, …)]`, `[… for i in range(len(…))]`."""
        [first, *more] = node.generators
        if more or first.ifs or first.is_async:
            raise refusal(node, "a comprehension with an `if` at its end, or of several `for`")
        inner = copied(names)
        self.bind(first.target, first.iter, names, inner)
        return self.value(node.elt, inner)

    def bind(self, target: ast.expr, over: ast.expr, names: Locals, inner: Locals) -> None:
        """The names that a comprehension goes through."""
        if isinstance(target, ast.Tuple) and self.is_call_of(over, "zip", names):
            written = over.args  # type: ignore[attr-defined]  # it is a call
            if len(written) != len(target.elts):
                raise refusal(target)
            for one, column in zip(target.elts, written, strict=True):
                self.bind(one, column, names, inner)
            return
        if not isinstance(target, ast.Name):
            raise refusal(target)
        if self.is_call_of(over, "range", names) and self.is_length(over.args, names):  # type: ignore[attr-defined]
            inner[target.id] = Place()
            return
        column = self.column(over, names)
        if column is None:
            raise refusal(over, f"`{ast.unparse(over)[:80]}` in place of a list with one value per row")
        inner[target.id] = self.kept(column)

    def is_length(self, written: Sequence[ast.expr], names: Locals) -> bool:
        """Whether what is written is `len(…)` of a list with one value per row."""
        if len(written) != 1 or not self.is_call_of(written[0], "len", names):
            return False
        arguments: Sequence[ast.expr] = written[0].args  # type: ignore[attr-defined]  # it is a call
        return len(arguments) == 1 and self.column(arguments[0], names) is not None

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


def copied(names: Mapping[str, Local]) -> Locals:
    """Names for one way of an `if`, in which dicts can be changed without the other's."""
    return {name: Made(dict(one.columns)) if isinstance(one, Made) else one for name, one in names.items()}
