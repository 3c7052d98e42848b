"""pandas mode: a function from a DataFrame to a DataFrame, compiled column by column."""

from __future__ import annotations

import ast
from dataclasses import dataclass, field
from typing import Any

from pedigree.online.plans.expressions.series import SCALAR, SERIES, SeriesCompiler, Value
from pedigree.online.plans.expressions.source import Names, argument_of, literals, refusal, statements_of, text_of
from pedigree.online.plans.expressions.tree import Node


@dataclass(slots=True)
class Frame:
    """A DataFrame as the function has it. A column may be missing with a reason (a text)."""

    columns: dict[str, Value] = field(default_factory=dict)
    has_rows: bool = False
    is_argument: bool = False


class Frames(SeriesCompiler):
    """Compiles one function."""

    def __init__(self, names: Names) -> None:
        super().__init__(names)
        self.locals: dict[str, Frame | Value] = {}

    def compiled(self, function: ast.FunctionDef) -> dict[str, Node]:
        """The function's columns, in its order."""
        self.locals[argument_of(function)] = Frame(
            {
                name: Value(self.input_named(name, function), SERIES)
                for name, at in self.names.items()
                if isinstance(at, int)
            },
            has_rows=True,
            is_argument=True,
        )
        for statement in statements_of(function.body):
            if isinstance(statement, ast.Return):
                if statement.value is None:
                    raise refusal(statement)
                return {name: value.node for name, value in self.frame(statement.value).columns.items()}
            self.statement(statement)
        raise refusal(function, "a function without a return at its end")

    def statement(self, statement: ast.stmt) -> None:
        """An import or an assignment."""
        if isinstance(statement, ast.Import):
            self.imports(statement)
        elif isinstance(statement, ast.Assign) and len(statement.targets) == 1:
            self.assign(statement.targets[0], statement.value)
        elif isinstance(statement, ast.AnnAssign) and statement.value is not None:
            self.assign(statement.target, statement.value)
        elif isinstance(statement, ast.AugAssign):
            changed = ast.BinOp(statement.target, statement.op, statement.value)
            self.assign(statement.target, ast.copy_location(changed, statement))
        else:
            raise refusal(statement)

    def assign(self, target: ast.expr, written: ast.expr) -> None:
        """`name = …`, or `df["column"] = …`."""
        if isinstance(target, ast.Name):
            self.modules.pop(target.id, None)
            found = self.anything(written)
            self.locals[target.id] = found if isinstance(found, Frame) else self.shared(found)
        elif isinstance(target, ast.Subscript):
            self.put(self.frame(target.value), text_of(target.slice), written)
        else:
            raise refusal(target)

    def put(self, frame: Frame, name: str, written: ast.expr) -> None:
        """A column of a frame."""
        value = self.value(written)
        if not frame.has_rows and value.kind == SCALAR:
            raise refusal(
                written, f"a constant as the first column of an empty DataFrame ({name!r}), which pandas gives no rows"
            )
        frame.columns[name] = Value(self.shared(value).node, SERIES)
        frame.has_rows = True

    def anything(self, node: ast.expr) -> Frame | Value:
        """A frame or a value, whichever it is."""
        return self.frame(node) if self.is_frame(node) else self.value(node)

    def is_frame(self, node: ast.expr) -> bool:
        """Whether something is a DataFrame."""
        if isinstance(node, ast.Name):
            return isinstance(self.locals.get(node.id), Frame)
        if isinstance(node, ast.Subscript):
            return isinstance(node.slice, ast.List)
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
            return self.dotted(node.func) == "pandas.DataFrame" or (
                node.func.attr in ("copy", "assign", "drop") and self.is_frame(node.func.value)
            )
        return False

    def frame(self, node: ast.expr) -> Frame:
        """A DataFrame."""
        if isinstance(node, ast.Name) and isinstance(found := self.locals.get(node.id), Frame):
            return found
        if isinstance(node, ast.Subscript) and isinstance(node.slice, ast.List):
            whole = self.frame(node.value)
            picked = {text_of(name): self.column(whole, text_of(name), name) for name in node.slice.elts}
            return Frame(picked, has_rows=whole.has_rows)
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
            if self.dotted(node.func) == "pandas.DataFrame":
                return self.new_frame(node)
            if self.is_frame(node.func.value):
                return self.frame_method(node, node.func)
        raise refusal(node, f"`{ast.unparse(node)[:80]}` in place of a DataFrame")

    def frame_method(self, call: ast.Call, method: ast.Attribute) -> Frame:
        """`df.copy()`, `df.assign(column=…)`, `df.drop(columns=[…])`."""
        whole = self.frame(method.value)
        made = Frame(dict(whole.columns), whole.has_rows, whole.is_argument)
        named = {keyword.arg: keyword.value for keyword in call.keywords}
        if method.attr == "copy":
            return made
        if method.attr == "assign" and not call.args and None not in named:
            for name, written in named.items():
                self.put(made, str(name), written)
            return made
        if method.attr == "drop" and not call.args and named.keys() == {"columns"}:
            dropped = {one.value for one in literals(named["columns"])}
            made.columns = {name: value for name, value in made.columns.items() if name not in dropped}
            return made
        raise refusal(call)

    def new_frame(self, call: ast.Call) -> Frame:
        """`pd.DataFrame()`, `pd.DataFrame({"column": …})`, with `index=` of another frame."""
        made, written = Frame(), list(call.args)
        for keyword in call.keywords:
            if keyword.arg == "data" and not written:
                written.append(keyword.value)
            elif keyword.arg == "index" and isinstance(keyword.value, ast.Attribute) and keyword.value.attr == "index":
                made.has_rows = self.anything(keyword.value.value) is not None
            else:
                raise refusal(call)
        if len(written) > 1 or any(not isinstance(one, ast.Dict) for one in written):
            raise refusal(call)
        for one in written:
            self.fill(made, one)
        return made

    def fill(self, made: Frame, written: Any) -> None:
        """The columns of a new frame; a constant stands in every row that a column has."""
        values = {text_of(name): self.value(value) for name, value in zip(written.keys, written.values, strict=True)}
        if values and not made.has_rows and all(value.kind == SCALAR for value in values.values()):
            raise refusal(written, "a DataFrame of constants alone, which pandas gives no rows")
        for name, value in values.items():
            made.columns[name] = Value(self.shared(value).node, SERIES)
            made.has_rows = True

    def column(self, frame: Frame, name: str, node: ast.AST) -> Value:
        """A column of a frame."""
        if name in frame.columns:
            return frame.columns[name]
        if frame.is_argument:
            return Value(self.input_named(name, node), SERIES)
        raise refusal(node, f"there is no column {name!r}")

    def name(self, node: ast.Name) -> Value:
        """A local name."""
        found = self.locals.get(node.id)
        if isinstance(found, Value):
            return found
        raise refusal(node, f"`{node.id}`, which is not a value that the function makes itself,")

    def subscript(self, node: ast.Subscript) -> Value:
        """`df["column"]`."""
        return self.column(self.frame(node.value), text_of(node.slice), node)
