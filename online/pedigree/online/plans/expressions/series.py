"""Values of pandas mode: a Series, an array or a scalar, and what is done with them."""

from __future__ import annotations

import ast
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pedigree.online.plans.expressions.source import (
    COMPARED,
    OPERATORS,
    Scope,
    literal,
    literals,
    refusal,
    text_of,
)
from pedigree.online.plans.expressions.tree import DTYPES, MOST_DECIMALS, NUMPY, NUMPY_PAIRS, Node, constant

BITWISE = {ast.BitAnd: "and", ast.BitOr: "or", ast.BitXor: "xor"}
UNARY = {ast.USub: "neg", ast.UAdd: "pos", ast.Invert: "invert"}
METHODS = {
    "isna": "isna",
    "isnull": "isna",
    "notna": "notna",
    "notnull": "notna",
    "abs": "abs",
}
"""Methods of a Series without arguments."""
PAIRED = {
    name: name for name in ("add", "sub", "mul", "div", "floordiv", "mod", "pow", "eq", "ne", "lt", "le", "gt", "ge")
}
PAIRED |= {"truediv": "div", "multiply": "mul", "subtract": "sub", "divide": "div"}
"""Methods of a Series with one argument that are operators."""
TEXTS = {"lower", "upper", "strip", "len", "startswith", "endswith"}
FUNCTIONS = {
    **{f"numpy.{name}": (name, 1) for name in NUMPY},
    **{f"numpy.{name}": (name, 2) for name in NUMPY_PAIRS},
    **{f"numpy.{name}": ("abs", 1) for name in ("abs", "absolute", "fabs")},
    **{f"numpy.{name}": (PAIRED[name], 2) for name in ("add", "subtract", "multiply", "divide")},
    "numpy.power": ("pow", 2),
    "numpy.where": ("where", 3),
    "pandas.isna": ("isna", 1),
    "pandas.isnull": ("isna", 1),
    "pandas.notna": ("notna", 1),
    "pandas.notnull": ("notna", 1),
}
TYPES = {
    "int": "int64",
    "float": "float64",
    "bool": "bool",
    "str": "str",
    "object": "",
    "string": "",
    **{name: name for name in DTYPES},
}
"""What `astype` calls its types."""

ARRAY, SERIES, SCALAR = "array", "Series", "scalar"


@dataclass(frozen=True, slots=True)
class Value:
    """A value as the function has it: its node, and whether pandas would have a Series, an array or a scalar there."""

    node: Node
    kind: str


class SeriesCompiler(Scope, ABC):
    """Compiles expressions of pandas mode; subclasses know the frames that columns come from."""

    @abstractmethod
    def is_frame(self, node: ast.expr) -> bool:
        """Whether something is a DataFrame."""

    @abstractmethod
    def name(self, node: ast.Name) -> Value:
        """A local name."""

    @abstractmethod
    def subscript(self, node: ast.Subscript) -> Value:
        """`df["column"]`."""

    def shared(self, value: Value) -> Value:
        """A value that may be used more than once."""
        return Value(self.kept(value.node), value.kind)

    def value(self, node: ast.expr) -> Value:
        """A Series, an array or a scalar."""
        if (found := self.module_constant(node)) is not None:
            return Value(found, SCALAR)
        known: Mapping[type, Callable[[Any], Value]] = {
            ast.Constant: lambda one: Value(literal(one), SCALAR),
            ast.Name: self.name,
            ast.Subscript: self.subscript,
            ast.BinOp: self.operation,
            ast.UnaryOp: self.unary,
            ast.Compare: self.compare,
            ast.Call: self.call,
            ast.Attribute: self.attribute,
        }
        if type(node) not in known:
            raise refusal(node)
        return known[type(node)](node)

    def attribute(self, node: ast.Attribute) -> Value:
        """`series.values`; columns are read as `df["column"]`."""
        if node.attr == "values" and not self.is_frame(node.value):
            return Value(self.value(node.value).node, ARRAY)
        if self.is_frame(node.value):
            raise refusal(node, f'`{ast.unparse(node)[:80]}` (write ["{node.attr}"])')
        raise refusal(node)

    def operation(self, node: ast.BinOp) -> Value:
        """Arithmetic, and `&`, `|`, `^`."""
        name = OPERATORS.get(type(node.op)) or BITWISE.get(type(node.op))
        if name is None:
            raise refusal(node)
        return self.paired(name, self.value(node.left), self.value(node.right), node)

    def paired(self, name: str, left: Value, right: Value, node: ast.AST) -> Value:
        """An operation of two values."""
        kinds = {left.kind, right.kind}
        if kinds == {SCALAR}:
            raise refusal(node, f"`{ast.unparse(node)[:80]}`, which is of constants alone (write its result),")
        if name in ("floordiv", "mod", "div", "pow") and SERIES not in kinds:
            raise refusal(node, f"`{ast.unparse(node)[:80]}` of what is no column (make it one first: df[…] = …)")
        return Value(Node(name, (left.node, right.node)), SERIES if SERIES in kinds else ARRAY)

    def unary(self, node: ast.UnaryOp) -> Value:
        """`-x`, `+x`, `~x`."""
        if isinstance(node.op, ast.USub) and isinstance(node.operand, ast.Constant):
            return Value(literal(node), SCALAR)
        name = UNARY.get(type(node.op))
        if name is None:
            raise refusal(node, "`not` of a column (write ~)")
        return self.applied(name, self.value(node.operand), node)

    def applied(self, name: str, value: Value, node: ast.AST) -> Value:
        """An operation of one value."""
        if value.kind == SCALAR and not (isinstance(value.node.value, float) and name == "neg"):
            raise refusal(node, f"`{ast.unparse(node)[:80]}`, which is of constants alone (write its result),")
        if value.kind == SCALAR:
            return Value(constant(-value.node.value), SCALAR)
        return Value(Node(name, (value.node,)), value.kind)

    def compare(self, node: ast.Compare) -> Value:
        """One comparison."""
        if len(node.ops) != 1 or type(node.ops[0]) not in COMPARED:
            raise refusal(node)
        name = COMPARED[type(node.ops[0])]
        return self.paired(name, self.value(node.left), self.value(node.comparators[0]), node)

    def call(self, node: ast.Call) -> Value:
        """A function of numpy or pandas, or a method of a Series."""
        if not isinstance(node.func, ast.Attribute):
            raise refusal(node)
        dotted = self.dotted(node.func)
        if dotted is None:
            return self.method(node, node.func)
        if dotted == "numpy.clip" and len(node.args) == 3 and not node.keywords:
            return self.nary("clip", node.args, node)
        if dotted in ("numpy.logical_and", "numpy.logical_or", "numpy.logical_not") and not node.keywords:
            return self.logical(dotted.removeprefix("numpy.logical_"), node)
        name, count = FUNCTIONS.get(dotted, ("", 0))
        if not name or len(node.args) != count or node.keywords:
            raise refusal(node)
        return self.nary(name, node.args, node)

    def logical(self, name: str, node: ast.Call) -> Value:
        """`np.logical_and` and its like, of conditions."""
        if len(node.args) != (1 if name == "not" else 2):
            raise refusal(node)
        values = [self.value(one) for one in node.args]
        truths = [Value(Node("astype", (value.node, constant("bool"))), value.kind) for value in values]
        if name == "not":
            return self.applied("invert", truths[0], node)
        return self.paired(name, truths[0], truths[1], node)

    def nary(self, name: str, written: Sequence[ast.expr], node: ast.AST) -> Value:
        """An operation of as many values as are written. `np.where` makes an array, all others what they are given."""
        values = [self.value(one) for one in written]
        kinds = {value.kind for value in values}
        if kinds == {SCALAR} or (name == "where" and values[0].kind == SCALAR):
            raise refusal(node, f"`{ast.unparse(node)[:80]}`, which is of constants alone,")
        kind = ARRAY if name == "where" or SERIES not in kinds else SERIES
        return Value(Node(name, tuple(value.node for value in values)), kind)

    def method(self, node: ast.Call, method: ast.Attribute) -> Value:
        """A method of a Series."""
        if isinstance(method.value, ast.Attribute) and method.value.attr == "str":
            return self.text_method(node, method.attr, self.value(method.value.value))
        if self.is_frame(method.value):
            raise refusal(node)
        value = self.value(method.value)
        named = {keyword.arg: keyword.value for keyword in node.keywords}
        plain = list(node.args)
        if method.attr in METHODS and not plain and not named:
            return self.applied(METHODS[method.attr], value, node)
        if method.attr == "to_numpy" and not plain and not named:
            return Value(value.node, ARRAY)
        if method.attr == "copy" and not plain:
            return value
        if method.attr in PAIRED and len(plain) == 1 and not named:
            return self.paired(PAIRED[method.attr], value, self.value(plain[0]), node)
        special: Callable[..., Value] | None = {
            "astype": self.astype,
            "fillna": self.fillna,
            "clip": self.clip,
            "round": self.round,
            "isin": self.isin,
            "between": self.between,
        }.get(method.attr)
        if special is None:
            instead = "; write np.where" if method.attr in ("where", "mask") else ""
            raise refusal(node, f"the method `.{method.attr}` (`{ast.unparse(node)[:80]}`{instead})")
        return special(node, value, plain, named)

    def text_method(self, node: ast.Call, name: str, value: Value) -> Value:
        """`series.str.lower()` and its like."""
        count = 1 if name in ("startswith", "endswith") else 0
        if name not in TEXTS or len(node.args) != count or node.keywords:
            raise refusal(node)
        arguments = (constant(text_of(one)) for one in node.args)
        return Value(Node(name, (value.node, *arguments)), value.kind)

    def astype(self, node: ast.Call, value: Value, plain: list[ast.expr], named: dict[str | None, ast.expr]) -> Value:
        """`.astype("float64")`, `.astype(float)`, `.astype(np.float64)`."""
        written = (
            plain[0] if len(plain) == 1 and not named else named.get("dtype") if not plain and len(named) == 1 else None
        )
        name = ""
        if isinstance(written, ast.Constant) and isinstance(written.value, str):
            name = written.value
        elif isinstance(written, ast.Name):
            name = written.id if written.id in ("int", "float", "bool", "str") else ""
        elif written is not None:
            name = (self.dotted(written) or "").removeprefix("numpy.")
        if not TYPES.get(name):
            raise refusal(node)
        return Value(Node("astype", (value.node, constant(TYPES[name]))), value.kind)

    def fillna(self, node: ast.Call, value: Value, plain: list[ast.expr], named: dict[str | None, ast.expr]) -> Value:
        """`.fillna(0)`."""
        written = plain or [one for name, one in named.items() if name == "value"]
        if len(written) != 1 or len(plain) + len(named) != 1:
            raise refusal(node)
        return Value(Node("fillna", (value.node, self.value(written[0]).node)), value.kind)

    def clip(self, node: ast.Call, value: Value, plain: list[ast.expr], named: dict[str | None, ast.expr]) -> Value:
        """`.clip(0, 1)`, `.clip(lower=0)`, `.clip(upper=1)`."""
        bounds = dict(zip(("lower", "upper"), plain, strict=False)) | {str(name): one for name, one in named.items()}
        if len(plain) > 2 or len(bounds) != len(plain) + len(named) or not bounds.keys() <= {"lower", "upper"}:
            raise refusal(node)
        lower, upper = (
            self.value(bounds[name]).node if name in bounds else constant(None) for name in ("lower", "upper")
        )
        return Value(Node("clip", (value.node, lower, upper)), value.kind)

    def round(self, node: ast.Call, value: Value, plain: list[ast.expr], named: dict[str | None, ast.expr]) -> Value:
        """`.round()`, `.round(2)`."""
        written = [*plain, *(one for name, one in named.items() if name == "decimals")]
        if len(written) > 1 or len(written) != len(plain) + len(named):
            raise refusal(node)
        decimals = literal(written[0]) if written else constant(0)
        if not isinstance(decimals.value, int) or abs(decimals.value) > MOST_DECIMALS:
            raise refusal(node)
        return Value(Node("round", (value.node, decimals)), value.kind)

    def isin(self, node: ast.Call, value: Value, plain: list[ast.expr], named: dict[str | None, ast.expr]) -> Value:
        """`.isin(["a", "b"])`."""
        if len(plain) != 1 or named:
            raise refusal(node)
        return Value(Node("isin", (value.node, *literals(plain[0]))), value.kind)

    def between(self, node: ast.Call, value: Value, plain: list[ast.expr], named: dict[str | None, ast.expr]) -> Value:
        """`.between(low, high)`, both inclusive."""
        if len(plain) != 2 or named:
            raise refusal(node)
        low, high = (self.value(one) for one in plain)
        shared = self.shared(value)
        return self.paired("and", self.paired("ge", shared, low, node), self.paired("le", shared, high, node), node)
