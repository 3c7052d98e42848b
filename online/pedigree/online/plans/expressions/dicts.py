"""Python mode: a function from a dict to a dict, of values (a singleton) or of lists, compiled to what happens to one row."""

from __future__ import annotations

import ast
from collections.abc import Mapping, Sequence

from pedigree.online.plans.expressions.source import argument_of, refusal, statements_of, text_of
from pedigree.online.plans.expressions.tree import Node
from pedigree.online.plans.expressions.values import Argument, Column, Local, Locals, Made, Place, RowCompiler


class Dicts(RowCompiler):
    """Compiles one function."""

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


def copied(names: Mapping[str, Local]) -> Locals:
    """Names for one way of an `if`, in which dicts can be changed without the other's."""
    return {name: Made(dict(one.columns)) if isinstance(one, Made) else one for name, one in names.items()}
