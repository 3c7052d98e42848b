"""A function's text, compiled to a program."""

from __future__ import annotations

from collections.abc import Collection

from pedigree.online.errors import ExpressionError, UncompiledError
from pedigree.online.plans.expressions.dicts import Dicts
from pedigree.online.plans.expressions.frames import Frames
from pedigree.online.plans.expressions.source import Names, function_of, pruned
from pedigree.online.plans.expressions.tree import Mode, Program, check


def compiled(text: str, *, mode: Mode, singleton: bool, names: Names, wanted: Collection[str]) -> Program:
    """The program of a function.

    Args:
        text: its source.
        names: what it may read.
        wanted: the columns that are declared; others that it makes are left out.
    Raises:
        UncompiledError: something in it is not compiled, or a column that is declared is not made.
    """
    try:
        return compiled_now(text, mode=mode, singleton=singleton, names=names, wanted=wanted)
    except RecursionError as error:
        raise UncompiledError("its expressions are nested too deep", 1) from error


def compiled_now(text: str, *, mode: Mode, singleton: bool, names: Names, wanted: Collection[str]) -> Program:
    """The same, of a text that is not nested too deep."""
    function = function_of(text)
    scope = Frames(names) if mode is Mode.PANDAS else Dicts(names, singleton=singleton)
    made = scope.compiled(function)
    missing = [name for name in wanted if name not in made]
    if missing:
        raise UncompiledError(f"it returns no {', '.join(missing)}", function.lineno)
    steps, outputs = pruned(scope.steps, {name: node for name, node in made.items() if name in wanted})
    program = Program(mode, steps, outputs)
    try:
        check(program, inputs=1 + max((place for place in names.values() if isinstance(place, int)), default=-1))
    except ExpressionError as error:
        raise UncompiledError(error.reason, function.lineno) from error
    return program
