"""Functions that are compiled, judged by Python and pandas themselves, which run them; and what is not compiled."""

from __future__ import annotations

import ast
import importlib
import math
import warnings
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from feast.type_map import python_values_to_proto_values
from feast.value_type import ValueType
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pedigree.online.errors import ExpressionError, UncompiledError
from pedigree.online.plans.expressions import tree
from pedigree.online.plans.expressions.columns import Columns
from pedigree.online.plans.expressions.compiling import compiled
from pedigree.online.plans.expressions.outcome import Failed, conformed
from pedigree.online.plans.expressions.rows import Rows
from pedigree.online.plans.expressions.tree import Mode, Program

TYPES = {"a": "INT64", "b": "INT32", "x": "DOUBLE", "y": "FLOAT", "p": "BOOL", "s": "STRING"}
NAMES: Mapping[str, int | str] = {
    **{name: place for place, name in enumerate(TYPES)},
    "at": "its type is UNIX_TIMESTAMP",
}
KINDS = {"number": "DOUBLE", "truth": "BOOL", "text": "STRING"}

Row = Mapping[str, Any]

small = st.floats(-100, 100, allow_subnormal=False)
floats = st.one_of(st.sampled_from([0.0, -0.0, 1.0, math.nan, math.inf, -math.inf, 1e300]), small)
rows = st.fixed_dictionaries(
    {
        "a": st.one_of(st.integers(-5, 5), st.sampled_from([2**53 + 1, -(2**63), 2**63 - 1])),
        "b": st.one_of(st.integers(-3, 3), st.sampled_from([2**31 - 1])),
        "x": floats,
        "y": st.floats(-100, 100, width=32, allow_subnormal=False),
        "p": st.booleans(),
        "s": st.sampled_from(["", "kiwi", "Ünï", "2", " x "]),
    }
)
"""What is stored of a row, all of it present."""


@st.composite
def rows_with_nulls(draw: st.DrawFn) -> Row:
    """A row of which some is null."""
    row = draw(rows)
    nulls = draw(st.sets(st.sampled_from(sorted(TYPES))))
    return {name: None if name in nulls else value for name, value in row.items()}


def joined(form: str, *parts: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    """A text with others in its gaps."""
    return st.tuples(*parts).map(lambda texts: form.format(*texts))


def pandas_texts(depth: int) -> dict[str, st.SearchStrategy[str]]:
    """Expressions of pandas by what they are."""
    constants = st.sampled_from(["0", "1", "-2", "0.5", "3", "np.pi"])
    if not depth:
        return {
            "number": st.sampled_from(['inputs["a"]', 'inputs["b"]', 'inputs["x"]', 'inputs["y"]']),
            "truth": st.just('inputs["p"]'),
            "text": st.just('inputs["s"]'),
        }
    below = pandas_texts(depth - 1)
    number, truth, text = below["number"], below["truth"], below["text"]
    other = st.one_of(number, constants)
    operator = st.sampled_from(["+", "-", "*", "/", "//", "%"])
    compared = st.sampled_from(["<", "<=", ">", ">=", "==", "!="])
    function = st.sampled_from(["log1p", "sqrt", "exp", "abs", "sign", "floor", "log"])
    return {
        "number": st.one_of(
            number,
            joined("({} {} {})", number, operator, other),
            joined("({} {} {})", constants, operator, number),
            joined("np.{}({})", function, number),
            joined("np.{}({}, {})", st.sampled_from(["maximum", "minimum"]), number, other),
            joined("({} + np.where({}, {}, {}))", number, truth, other, other),
            joined("{}.fillna({})", number, constants),
            joined("{}.clip(-1, 2.5)", number),
            joined("{}.clip(lower=0)", number),
            joined("{}.abs()", number),
            joined("(-{})", number),
            joined("({} ** 2)", number),
            joined('{}.astype("{}")', number, st.sampled_from(["float64", "int64"])),
            joined('{}.astype("int64")', truth),
            joined("{}.round(1)", number),
        ),
        "truth": st.one_of(
            truth,
            joined("({} {} {})", number, compared, other),
            joined("({} {} {})", truth, st.sampled_from(["&", "|", "^"]), truth),
            joined("(~{})", truth),
            joined("{}.{}()", number, st.sampled_from(["isna", "notna"])),
            joined("{}.isin([1, 2.5])", number),
            joined("{}.between(-1, {})", number, other),
            joined('({} {} "kiwi")', text, st.sampled_from(["==", "!="])),
            joined('{}.isin(["kiwi", ""])', text),
            joined('{}.str.startswith("k")', text),
            joined("{}.isna()", text),
        ),
        "text": st.one_of(
            text,
            joined('({} + "_" + {})', text, text),
            joined("{}.str.{}()", text, st.sampled_from(["lower", "upper", "strip"])),
            joined('{}.fillna("nobody")', text),
        ),
    }


def python_texts(depth: int) -> dict[str, st.SearchStrategy[str]]:
    """Expressions of Python by what they are."""
    if not depth:
        return {
            "number": st.sampled_from(["a", "b", "x", "y", "1", "-2", "0.5", "math.pi"]),
            "truth": st.sampled_from(["p", "True"]),
            "text": st.sampled_from(["s", '"kiwi"']),
        }
    below = python_texts(depth - 1)
    number, truth, text = below["number"], below["truth"], below["text"]
    any_kind = st.one_of(number, truth, text)
    operator = st.sampled_from(["+", "-", "*", "/", "//", "%"])
    power = st.sampled_from(["2", "0.5", "-1", "x"])  # with others the oracle would fill the memory
    compared = st.sampled_from(["<", "<=", ">", ">=", "==", "!="])
    function = st.sampled_from(["math.sqrt", "math.log1p", "math.exp", "math.floor", "abs", "float", "int", "round"])
    return {
        "number": st.one_of(
            number,
            joined("({} {} {})", number, operator, number),
            joined("({} ** {})", number, power),
            joined("{}({})", function, number),
            joined("round({}, 2)", number),
            joined("{}({}, {})", st.sampled_from(["min", "max"]), number, number),
            joined("({} if {} else {})", number, truth, number),
            joined("({} or {})", number, number),
            joined("len({})", text),
            joined("float({})", text),
            joined("(-{})", number),
        ),
        "truth": st.one_of(
            truth,
            joined("({} {} {})", number, compared, number),
            joined("({} < {} <= {})", number, number, number),
            joined("({} and {})", truth, truth),
            joined("({} or {})", truth, truth),
            joined("(not {})", any_kind),
            joined("({} is {})", any_kind, st.sampled_from(["None", "not None"])),
            joined('({} {} ("kiwi", 1))', any_kind, st.sampled_from(["in", "not in"])),
            joined("({} in {})", text, text),
            joined("bool({})", any_kind),
            joined('{}.startswith("k")', text),
        ),
        "text": st.one_of(
            text,
            joined("({} + {})", text, text),
            joined("str({})", any_kind),
            joined("{}.{}()", text, st.sampled_from(["lower", "upper", "strip"])),
            joined("({} if {} else {})", text, truth, text),
            joined('f"{{{}}}-{{{}}}"', st.sampled_from(["a", "x", "s", "p"]), st.sampled_from(["b", "y"])),
        ),
    }


def of_kind(texts: dict[str, st.SearchStrategy[str]]) -> st.SearchStrategy[tuple[str, str]]:
    """An expression, with Feast's name of its type."""
    return st.one_of(*(st.tuples(text, st.just(KINDS[kind])) for kind, text in texts.items()))


def function_of(source: str) -> Callable[[Any], Any]:
    """The function itself, as Python runs it."""
    found: dict[str, Any] = {"np": np, "pd": pd, "math": math}
    exec(source, found)  # noqa: S102 - the oracle is Python
    function: Callable[[Any], Any] = found["f"]
    return function


def as_feast(values: Any, kind: str) -> list[Any]:
    """What Feast makes of a function's values."""
    protos = python_values_to_proto_values(values, ValueType[kind])
    return [None if (name := one.WhichOneof("val")) is None else getattr(one, name) for one in protos]


def by_pandas(source: str, batch: Sequence[Row], kind: str) -> list[Any] | None:
    """What Feast answers for rows in pandas mode; None where it raises."""
    frame = pa.Table.from_pydict({name: [row[name] for row in batch] for name in TYPES}).to_pandas()
    try:
        with warnings.catch_warnings(), np.errstate(all="ignore"):
            warnings.simplefilter("ignore")
            made = pa.Table.from_pandas(function_of(source)(frame))
            return as_feast(made["out"].to_numpy(), kind)
    except Exception:  # whatever it is
        return None


def by_python(source: str, row: Row, kind: str) -> Any:
    """What Feast answers for a row in Python mode; `Failed` where it raises."""
    try:
        return as_feast([function_of(source)(dict(row))["out"]], kind)[0]
    except Exception:  # whatever it is
        return Failed("it raises")


def program_of(source: str, mode: Mode, *, singleton: bool = False) -> Program:
    """A function, compiled, written to JSON and read."""
    made = compiled(source, mode=mode, singleton=singleton, names=NAMES, wanted=["out"])
    read = tree.read(tree.written(made), inputs=len(TYPES))
    assert repr(read) == repr(made)
    return read


def ours(program: Program, batch: Sequence[Row], kind: str) -> list[Any]:
    """What we compute."""
    columns = [[row[name] for row in batch] for name in TYPES]
    engine = Rows(program) if program.mode is Mode.PYTHON else Columns(program, list(TYPES.values()))
    return [conformed(value, kind) for value in engine.compute(columns, ["out"], len(batch))["out"]]


def is_same(one: Any, other: Any) -> bool:
    """Whether two values are one, to the last bit or nearly: pandas may sum in another order."""
    if isinstance(one, float) and isinstance(other, float):
        return one == other or math.isclose(one, other, rel_tol=1e-12)
    return type(one) is type(other) and bool(one == other)


COLUMN = """
def f(inputs: pd.DataFrame) -> pd.DataFrame:
    df = pd.DataFrame()
    df["out"] = {}
    return df
"""
ALONE = """
def f(inputs):
    a, b = inputs["a"], inputs["b"]
    return {{"out": {}}}
"""
FUZZ = settings(max_examples=250, deadline=None, suppress_health_check=list(HealthCheck))


@FUZZ
@given(text=of_kind(pandas_texts(3)), batch=st.lists(rows, min_size=1, max_size=5))
def test_pandas_mode_computes_each_row_as_pandas_does_for_it_alone(text: tuple[str, str], batch: list[Row]) -> None:
    """For present inputs every row has what Feast answers for it alone, whatever is beside it; it fails where that raises."""
    source, kind = COLUMN.format(text[0]), text[1]
    for row, mine in zip(batch, ours(program_of(source, Mode.PANDAS), batch, kind), strict=True):
        expected = by_pandas(source, [row], kind)
        if expected is None:
            assert isinstance(mine, Failed)
        else:
            assert is_same(mine, expected[0]), (mine, expected, row)


@FUZZ
@given(text=of_kind(pandas_texts(2)), row=rows_with_nulls(), beside=rows)
def test_a_null_in_pandas_mode_is_what_pandas_has_beside_other_rows(
    text: tuple[str, str], row: Row, beside: Row
) -> None:
    """A row with nulls has what Feast answers for it beside a row without; where Feast raises because of them it is null."""
    source, kind = COLUMN.format(text[0]), text[1]
    program = program_of(source, Mode.PANDAS)
    mine, other = ours(program, [row, beside], kind)
    assert repr(other) == repr(ours(program, [beside], kind)[0])
    expected = by_pandas(source, [row, beside], kind)
    used = [list(TYPES)[place] for place in program.inputs_of("out")]
    if expected is None:
        assert mine is None or isinstance(mine, Failed) or by_pandas(source, [beside], kind) is None
    elif any(row[name] is None for name in used):
        assert is_same(mine, expected[0]), (mine, expected)


def singleton(text: str) -> str:
    """A function in Python mode that reads what an expression uses."""
    reads = "".join(f'    {name} = inputs["{name}"]\n' for name in TYPES)
    return f"def f(inputs):\n{reads}    return {{'out': {text}}}\n"


@FUZZ
@given(text=of_kind(python_texts(3)), batch=st.lists(rows_with_nulls(), min_size=1, max_size=5))
def test_python_mode_computes_what_python_does(text: tuple[str, str], batch: list[Row]) -> None:
    """What Python gives we give; where it raises because of a null the value is null, and else it failed."""
    source, kind = singleton(text[0]), text[1]
    for row, mine in zip(batch, ours(program_of(source, Mode.PYTHON, singleton=True), batch, kind), strict=True):
        expected = by_python(source, row, kind)
        if isinstance(expected, Failed):
            assert isinstance(mine, Failed) or (mine is None and None in row.values()), (mine, row)
        elif not isinstance(mine, Failed) or "too large" not in mine.reason:
            assert is_same(mine, expected), (mine, expected, row)


@pytest.mark.parametrize(
    ("mode", "body", "construct", "line"),
    [
        ("pandas", 'df["out"] = inputs["a"].apply(lambda value: value + 1)', "the method `.apply`", 4),
        ("pandas", 'df["out"] = inputs["a"].where(inputs["p"])', "write np.where", 4),
        ("pandas", 'df["out"] = inputs["z"] + 1', "'z' is not among", 4),
        ("pandas", 'df["out"] = inputs["at"] + 1', "its type is UNIX_TIMESTAMP", 4),
        ("pandas", 'df["out"] = inputs["a"] * LIMIT', "`LIMIT`", 4),
        ("pandas", 'df["out"] = 1', "a constant as the first column", 4),
        ("pandas", 'df["out"] = inputs.a', 'write ["a"]', 4),
        ("pandas", 'df["out"] = 1 if inputs["p"] else 2', "`1 if", 4),
        ("pandas", 'df["out"] = inputs["p"] and inputs["p"]', "and", 4),
        ("pandas", 'df["out"] = 0 < inputs["a"] < 3', "0 <", 4),
        ("pandas", 'df["out"] = inputs["s"].str.replace("a", "b")', "replace", 4),
        ("pandas", 'for name in ["out"]:\n        df[name] = inputs["a"]', "the statement `for name", 4),
        ("pandas", 'df["out"] = __import__("os").system("true")', "__import__", 4),
        ("pandas", 'df["out"] = inputs["a"] + 10**400', "10 ** 400", 4),
        ("pandas", 'df["out"] = inputs["a"] + 99999999999999999999', "more than 64 bits", 4),
        ("pandas", 'df["other"] = inputs["a"]', "it returns no out", 2),
        ("pandas", 'import os\n    df["out"] = inputs["a"]', "import os", 4),
        ("python", 'df["out"] = eval("1")', "eval", 4),
        ("python", 'df["out"] = inputs["a"].__class__', "__class__", 4),
        ("python", 'df["out"] = np.log1p(inputs["a"])', "see `math`", 4),
        ("python", "df['out'] = f\"{inputs['a']:>99}\"", "a format", 4),
        ("python", 'df["out"] = sum([inputs["a"]])', "sum", 4),
        ("python", 'df["out"] = (lambda: 1)()', "lambda", 4),
        ("python", 'df["out"] = inputs["a"] << 3', "<<", 4),
        ("python", 'while True: pass', "the statement `while", 4),
        ("python", 'if inputs["a"]:\n        return {"other": 1}', "different names", 4),
        ("lists", 'df["out"] = [value for value in inputs["a"] if value]', "a comprehension with an `if`", 4),
        ("lists", 'df["out"] = inputs["a"][0]', "in place of a list", 4),
        ("lists", 'if inputs["a"]:\n        pass', "outside of a singleton", 4),
    ],
)  # fmt: skip
def test_what_is_not_compiled_is_told_with_its_line(mode: str, body: str, construct: str, line: int) -> None:
    """Anything outside of the subset is refused, with what it is and where."""
    made = "pd.DataFrame()" if mode == "pandas" else "{}"
    source = f"\ndef f(inputs):\n    df = {made}\n    {body}\n    return df\n"
    with pytest.raises(UncompiledError) as caught:
        compiled(
            source,
            mode=Mode.PANDAS if mode == "pandas" else Mode.PYTHON,
            singleton=mode == "python",
            names=NAMES,
            wanted=["out"],
        )
    assert construct in caught.value.construct
    assert caught.value.line == line


@pytest.mark.parametrize(
    ("text", "construct"),
    [
        ("", "Feast kept no source text"),
        ("x = ", "no Python"),
        ("f = lambda inputs: inputs", "a lambda is not compiled"),
        ("def f(): pass", "other than one argument"),
        ("def f(*inputs): pass", "other than one argument"),
        ("def f(inputs):\n    return", "the statement `return`"),
        ("def f(inputs):\n    x = 1", "without a return"),
        ("def f(inputs):\n    return {'out': " + "-" * 5000 + "1}", "nested too deep"),
        ("def f(inputs):\n    return {'out': " + "(" * 5000 + "1}", "no Python"),
        ("def f(inputs):\n    return {'out': " + "+".join(["inputs['a']"] * 150) + "}", "nested more than"),
        ("def f(inputs):\n    return {'out': " + "max(" + "abs(1)," * 199 + ")+1}", ""),
        ("#" * 100_000, "longer than"),
    ],
)
def test_texts_that_are_no_function_that_can_be_compiled(text: str, construct: str) -> None:
    """A text without a function, or with one that is too large or too deep, is refused."""
    if not construct:
        assert compiled(text, mode=Mode.PYTHON, singleton=True, names=NAMES, wanted=["out"]).steps
        return
    with pytest.raises(UncompiledError) as caught:
        compiled(text, mode=Mode.PYTHON, singleton=True, names=NAMES, wanted=["out"])
    assert construct in caught.value.construct


def test_more_operations_than_a_view_may_have_are_refused() -> None:
    """A function of thousands of operations is not compiled."""
    lines = "".join(f"    x{place} = inputs['a'] + {place}\n" for place in range(1000))
    total = ", ".join(f"'out{place}': x{place}" for place in range(1000))
    with pytest.raises(UncompiledError, match="operations are more than the 2000"):
        compiled(
            f"def f(inputs):\n{lines}    return {{{total}}}\n",
            mode=Mode.PYTHON,
            singleton=True,
            names=NAMES,
            wanted=[f"out{place}" for place in range(1000)],
        )


BOMBS = {
    "a ** a ** a": (9, "x"),
    "(a ** 99) ** 99": (10**6, "x"),
    "round(a, -a * 1000000)": (9, "x"),
    "s * a": (10**9, "x"),
    "s % a": (10**9, "%999999999d"),
    "str(a ** 400)": (2**62, "x"),
    "int(s)": (0, "9" * 60_000),
    "s + s": (0, "x" * 60_000),
    "(-a) ** 0.5": (2, "x"),
    "math.exp(a)": (10**6, "x"),
}


@pytest.mark.parametrize("text", BOMBS)
def test_bombs_fail_instead_of_going_off(text: str) -> None:
    """A value that would fill the memory, or that Feast could not convert, is a failure at once."""
    number, word = BOMBS[text]
    row = {"a": number, "b": 1, "x": 1.0, "y": 1.0, "p": True, "s": word}
    [found] = ours(program_of(singleton(text), Mode.PYTHON, singleton=True), [row], "DOUBLE")
    assert isinstance(found, Failed)


def test_texts_that_double_at_every_step_stop() -> None:
    """Thirty steps that each double a text do not make a gigabyte, in either mode."""
    doubled = "".join("    t = t + t\n" for _ in range(30))
    row = {"a": 1, "b": 1, "x": 1.0, "y": 1.0, "p": True, "s": "kiwi"}
    alone = f"def f(inputs):\n    t = inputs['s']\n{doubled}    return {{'out': t}}\n"
    frame = f"def f(inputs):\n    t = inputs['s']\n{doubled}    return pd.DataFrame({{'out': t}})\n"
    for source, mode in ((alone, Mode.PYTHON), (frame, Mode.PANDAS)):
        [found] = ours(program_of(source, mode, singleton=mode is Mode.PYTHON), [row], "STRING")
        assert found == Failed("a number or a text becomes too large")


def deep(levels: int) -> Any:
    """A node with many below it."""
    node: Any = ["const", 1]
    for _ in range(levels):
        node = ["neg", node]
    return node


@pytest.mark.parametrize(
    "node",
    [
        ["eval", ["const", "1"]],
        ["__import__", ["const", "os"]],
        ["add", ["input", 0]],
        ["add", ["input", 0], ["input", 0], ["input", 0]],
        ["input", 6],
        ["input", -1],
        ["input", True],
        ["input", "a"],
        ["step", 1],
        ["step", 0],
        ["const", 2**64],
        ["const", "x" * 2000],
        ["const", [1]],
        ["const", {"a": 1}],
        ["const", "\ud800"],
        ["const"],
        [],
        "add",
        None,
        [["add"]],
        ["isin", ["input", 0], ["input", 1]],
        ["astype", ["input", 0], ["const", "object"]],
        ["astype", ["input", 0], ["input", 1]],
        ["round", ["input", 0], ["const", "2"]],
        ["round", ["input", 0], ["const", 10**9]],
        ["startswith", ["input", 5], ["input", 0]],
        deep(200),
    ],
)
def test_a_tree_that_was_tampered_with_is_refused(node: Any) -> None:
    """A tree with what no compiler makes is refused as it is read; nothing in it is looked up by name."""
    parts = {"mode": "pandas", "steps": [["step", 0]] if node == ["step", 0] else [], "outputs": [["out", node]]}
    with pytest.raises((ExpressionError, TypeError, ValueError, KeyError)):
        tree.read(parts, inputs=6)


@pytest.mark.parametrize("mode", [Mode.PANDAS, Mode.PYTHON])
def test_every_operation_can_be_computed_whatever_it_is_given(mode: Mode) -> None:
    """Each operation of the closed set is known to its engine, and ends with a value, null or a failure for any values."""
    rows = [
        {"a": 3, "b": 0, "x": math.nan, "y": 1.5, "p": True, "s": "kiwi"},
        dict.fromkeys(TYPES),
        {"a": -(2**63), "b": -1, "x": math.inf, "y": -0.0, "p": False, "s": ""},
    ]
    for op, (fewest, most) in tree.OPERATIONS[mode].items():
        for count in {fewest, min(most, 3)}:
            for first in range(len(TYPES)):
                node = [op, *operands(mode, op, count, first)]
                program = tree.read({"mode": mode.value, "steps": [], "outputs": [["out", node]]}, inputs=len(TYPES))
                assert len(ours(program, rows, "STRING")) == 3


def operands(mode: Mode, op: str, count: int, first: int) -> list[Any]:
    """Operands for an operation: inputs, and constants where only those are allowed."""
    inputs = [["input", (first + place) % len(TYPES)] for place in range(count)]
    at = tree.MUST_BE_CONSTANT.get((mode, op), count)
    known = {"astype": "int64", "round": 2, "startswith": "k", "endswith": "i"}
    return [*inputs[:at], *(["const", known.get(op, 1)] for _ in inputs[at:])]


@pytest.mark.parametrize("module", ["statistics", "textwrap", "fractions", "colorsys", "bisect"])
def test_any_function_is_compiled_or_refused(module: str) -> None:
    """Whatever a function has in it, it is compiled or refused as something that is not; nothing else goes wrong."""
    text = Path(importlib.import_module(module).__file__ or "").read_text()
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.expr) and len(written := ast.unparse(node)) < 300:
            body = f"    a = df = inputs.copy()\n    df['out'] = {written}\n    return df"
            for source in (f"def f(inputs):\n{body}", f"def f(inputs):\n    return {{'out': {written}}}"):
                for mode in Mode:
                    with suppress(UncompiledError):
                        compiled(source, mode=mode, singleton=True, names=NAMES, wanted=["out"])
