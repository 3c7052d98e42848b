"""Each of Feast's types through every door: what comes out is what went in, exactly, or the row and the value are named."""

from __future__ import annotations

import uuid
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal as Exact
from typing import Any
from uuid import uuid4

import numpy as np
import pandas as pd
import pytest
from feast import FeatureView, Field
from feast.types import (
    Array,
    Bool,
    Bytes,
    Decimal,
    FeastType,
    Float32,
    Float64,
    ImageBytes,
    Int32,
    Int64,
    Json,
    Map,
    PdfBytes,
    ScalarMap,
    Set,
    String,
    Struct,
    TimeUuid,
    UnixTimestamp,
    Uuid,
    ZonedTimestamp,
)

from pedigree.jobs import delta_tables
from pedigree.jobs.gate_mark import CommitMark
from pedigree.online.errors import UnfitRowError
from pedigree.online.plans.storable import type_name
from pedigree.online.records.exact_values import FIELDS

from ..distributions import ROOT
from .loaded_shop import CUSTOMER, Shop
from .purchases import START

ID = uuid.UUID("12345678-1234-5678-1234-567812345678")
PAGE = ROOT / "docs" / "types.md"
JSON = '{"a": [1, null]}'
AT = datetime(2026, 1, 1, tzinfo=UTC)


REFUSED = object()
"""What Feast itself does not take from a frame of pandas. It makes Arrow of it: a dict is a struct there, a time has no zone."""


@dataclass(frozen=True)
class Kind:
    """One of Feast's types.

    Attributes:
        column: Spark's type of the table's column.
        sql: a value, as Spark reads it.
        served: the value, as Feast's SDK answers it from the online store.
        trained: the value, as a historical retrieval answers it, where that is another.
        pushed: the value, as somebody pushes it, where that is another than `served`.
    """

    dtype: FeastType
    column: str
    sql: str
    served: Any
    trained: Any = None
    pushed: Any = None


KINDS = {
    "Bool": Kind(Bool, "boolean", "true", True),
    "Int32": Kind(Int32, "int", "-2147483648", -(2**31)),
    "Int64": Kind(Int64, "bigint", "9007199254740993", 2**53 + 1),
    "Float32": Kind(Float32, "float", "0.5", 0.5),
    "Float64": Kind(Float64, "double", "0.1", 0.1),
    "String": Kind(String, "string", "'é'", "é"),
    "Bytes": Kind(Bytes, "binary", "X'00ff'", b"\x00\xff"),
    "PdfBytes": Kind(PdfBytes, "binary", "X'25'", b"%"),
    "ImageBytes": Kind(ImageBytes, "binary", "X'89'", b"\x89"),
    "UnixTimestamp": Kind(UnixTimestamp, "timestamp", "TIMESTAMP '2026-01-01 00:00:00'", AT),
    "ZonedTimestamp": Kind(ZonedTimestamp, "timestamp", "TIMESTAMP '2026-01-01 00:00:00'", AT, pushed=REFUSED),
    "Json": Kind(Json, "string", "'{\"a\": [1, null]}'", {"a": [1, None]}, JSON, JSON),
    "Decimal": Kind(Decimal, "decimal(20,2)", "123456789012345678.90", Exact("123456789012345678.90")),
    "Uuid": Kind(Uuid, "string", f"'{ID}'", ID, trained=str(ID), pushed=str(ID)),
    "TimeUuid": Kind(TimeUuid, "string", f"'{ID}'", ID, trained=str(ID), pushed=str(ID)),
    "Map": Kind(Map, "map<string,string>", "map('a', 'b')", {"a": "b"}),
    "ScalarMap": Kind(ScalarMap, "map<bigint,double>", "map(7L, 0.5D)", {7: 0.5}, pushed=REFUSED),
    "Struct": Kind(Struct({"a": Int64}), "struct<a:bigint>", "named_struct('a', 1L)", {"a": 1}),
    "Array(Bool)": Kind(Array(Bool), "array<boolean>", "array(true, false)", [True, False]),
    "Array(Int32)": Kind(Array(Int32), "array<int>", "array(1, 2)", [1, 2]),
    "Array(Int64)": Kind(Array(Int64), "array<bigint>", "array(9007199254740993L)", [2**53 + 1]),
    "Array(Float32)": Kind(Array(Float32), "array<float>", "array(0.5F)", [0.5]),
    "Array(Float64)": Kind(Array(Float64), "array<double>", "array(0.1D, 0.2D)", [0.1, 0.2]),
    "Array(String)": Kind(Array(String), "array<string>", "array('a', '')", ["a", ""]),
    "Array(Bytes)": Kind(Array(Bytes), "array<binary>", "array(X'00')", [b"\x00"]),
    "Array(UnixTimestamp)": Kind(Array(UnixTimestamp), "array<timestamp>", "array(TIMESTAMP '2026-01-01')", [AT]),
    "Array(Decimal)": Kind(Array(Decimal), "array<decimal(5,2)>", "array(1.50)", [Exact("1.50")]),
    "Array(Uuid)": Kind(Array(Uuid), "array<string>", f"array('{ID}')", [ID], [str(ID)], [str(ID)]),
    "Array(Json)": Kind(Array(Json), "array<string>", "array('1')", [1], ["1"], ["1"]),
    "Array(Map)": Kind(Array(Map), "array<map<string,string>>", "array(map('a', 'b'))", [{"a": "b"}], pushed=REFUSED),
    "Array(Struct)": Kind(
        Array(Struct({"a": Int64})), "array<struct<a:bigint>>", "array(named_struct('a', 1L))", [{"a": 1}]
    ),
    "Array(Array(Int64))": Kind(Array(Array(Int64)), "array<array<bigint>>", "array(array(1L), array(2L))", [[1], [2]]),
    "Set(Int64)": Kind(Set(Int64), "array<bigint>", "array(1L)", {1}, trained=[1]),
    "Set(String)": Kind(Set(String), "array<string>", "array('a')", {"a"}, trained=["a"]),
}


def feature(name: str) -> str:
    """A feature's name by its type's."""
    return name.replace("(", "_").replace(")", "").lower()


def declare(shop: Shop, **features: FeastType) -> FeatureView:
    """Apply the view with these features."""
    fields = [Field(name=name, dtype=dtype) for name, dtype in features.items()]
    view = FeatureView(
        name="purchases", entities=[CUSTOMER], schema=[Field(name="customer", dtype=Int64), *fields], source=shop.source
    )
    shop.store.apply([CUSTOMER, view])
    return view


def publish(shop: Shop, *rows: dict[str, str], **columns: str) -> None:
    """Rows that passed the gate, each by Spark's words for its columns."""
    selects = [
        ", ".join(f"CAST({row.get(name, 'NULL')} AS {kind}) AS `{name}`" for name, kind in columns.items())
        for row in rows
    ]
    at = "TIMESTAMP '2026-01-01' AS event_at, TIMESTAMP '2026-01-02' AS created_at"
    query = " UNION ALL ".join(
        f"SELECT {number}L AS customer, {at}, {select}" for number, select in enumerate(selects, start=1)
    )
    mark = CommitMark.of_gate(shop.uri, run_id=str(uuid4()), rows=len(rows)).text()
    frame = shop.spark.sql(query).coalesce(1)
    write = frame.write.format("delta").option("userMetadata", mark).option(delta_tables.CHANGE_FEED, "true")
    write.mode("overwrite").option("overwriteSchema", "true").save(shop.uri)


def served(shop: Shop, name: str, *customers: int) -> list[Any]:
    """What Feast's SDK answers from the online store."""
    rows = [{"customer": customer} for customer in customers]
    answer = shop.store.get_online_features([f"purchases:{name}"], rows).to_dict()
    return list(answer[name])


def like(value: Any) -> Any:
    """A value to compare, whatever wraps it."""
    if isinstance(value, np.ndarray):
        return [like(one) for one in value]
    if isinstance(value, list):
        return [like(one) for one in value]
    if isinstance(value, pd.Timestamp | np.datetime64):
        return like(pd.Timestamp(value).to_pydatetime())
    if isinstance(value, datetime):
        return value.astimezone(UTC) if value.tzinfo else value.replace(tzinfo=UTC)
    if isinstance(value, dict):
        return {key: like(one) for key, one in value.items()}
    return value


@pytest.fixture
def typed(shop: Shop) -> Shop:
    """A view of every type: customer 1 has values, customer 2 has none."""
    publish(
        shop,
        {feature(name): kind.sql for name, kind in KINDS.items()},
        {},
        **{feature(name): kind.column for name, kind in KINDS.items()},
    )
    declare(shop, **{feature(name): kind.dtype for name, kind in KINDS.items()})
    return shop


def test_every_type_comes_through_every_door(typed: Shop) -> None:
    """What a table holds is served and trained on as it is, and so is what is pushed; a null stays one."""
    names = [feature(name) for name in KINDS]
    typed.load()
    answer = typed.store.get_online_features(
        [f"purchases:{name}" for name in names], [{"customer": 1}, {"customer": 2}]
    ).to_dict()
    wrong = {
        name: answer[feature(name)]
        for name, kind in KINDS.items()
        if [like(one) for one in answer[feature(name)]] != [kind.served, None]
    }
    assert wrong == {}
    labels = pd.DataFrame({"customer": [1, 2], "event_timestamp": [START + pd.Timedelta(days=9)] * 2})
    job = typed.store.get_historical_features(labels, [f"purchases:{name}" for name in names])
    frame = job.to_df()
    wrong = {}
    for name, kind in KINDS.items():
        found = [like(one) for one in frame[feature(name)]]
        wanted = kind.served if kind.trained is None else kind.trained
        if found[0] != wanted or not pd.isna(found[1]):
            wrong[name] = found
    assert wrong == {}


def test_the_docs_have_the_types() -> None:
    """The page's table is what the tests above prove."""
    table = "\n".join(
        f"| `{name}` | `{kind.column}` | `{field_of(kind.dtype)}` | {'no' if kind.pushed is REFUSED else 'yes'} |"
        for name, kind in KINDS.items()
    )
    assert table in PAGE.read_text()


def field_of(dtype: FeastType) -> str:
    """The field of a served `Value`."""
    name = type_name(dtype.to_value_type().value)
    return FIELDS.get(name, f"{name.lower()}_val")


def test_what_is_pushed_is_served(typed: Shop) -> None:
    """A value of every type that is written online is answered as it was written."""
    kinds = {name: kind for name, kind in KINDS.items() if kind.pushed is not REFUSED}
    declare(typed, **{feature(name): kind.dtype for name, kind in kinds.items()})
    values = {feature(name): [kind.served if kind.pushed is None else kind.pushed] for name, kind in kinds.items()}
    frame = pd.DataFrame({"customer": [3], **values, "event_at": [AT], "created_at": [AT]})
    typed.store.write_to_online_store("purchases", frame)
    answer = typed.store.get_online_features(
        [f"purchases:{feature(name)}" for name in kinds], [{"customer": 3}]
    ).to_dict()
    wrong = {
        name: answer[feature(name)]
        for name, kind in kinds.items()
        if [like(one) for one in answer[feature(name)]] != [kind.served]
    }
    assert wrong == {}


def test_what_is_written_offline_is_trained_on(typed: Shop) -> None:
    """A value of every type that is written to the table is answered as it was written, by either engine."""
    kinds = {name: kind for name, kind in KINDS.items() if kind.pushed is not REFUSED}
    publish(
        typed,
        {feature(name): kind.sql for name, kind in kinds.items()},
        **{feature(name): kind.column for name, kind in kinds.items()},
    )
    declare(typed, **{feature(name): kind.dtype for name, kind in kinds.items()})
    values = {}
    for name, kind in kinds.items():
        value = kind.trained if kind.trained is not None else kind.served
        values[feature(name)] = [value]
    frame = pd.DataFrame({"customer": [3], **values, "event_at": [AT], "created_at": [AT]})
    typed.store.write_to_offline_store("purchases", frame)
    labels = pd.DataFrame({"customer": [3], "event_timestamp": [AT + pd.Timedelta(days=9)]})
    names = [feature(name) for name in kinds]
    found = typed.store.get_historical_features(labels, [f"purchases:{name}" for name in names]).to_df()
    wrong = {name: value for name, value in values.items() if like(found[name][0]) != value[0]}
    assert wrong == {}


@pytest.mark.slow
@pytest.mark.parametrize(
    ("dtype", "column", "value", "said"),
    [
        pytest.param(Int32, "bigint", "3000000000", "3000000000, which is not a value of INT32", id="beyond Int32"),
        pytest.param(Int64, "double", "2.5", "2.5, which is not a value of INT64", id="a fraction"),
        pytest.param(Int64, "double", "1e19", "1e+19, which is not a value of INT64", id="beyond Int64"),
        pytest.param(Int64, "string", "'12'", "'12', which is not a value of INT64", id="text for a number"),
        pytest.param(Bool, "int", "2", "2, which is not a value of BOOL", id="two for a truth"),
        pytest.param(Float32, "double", "1e300", "1e+300, which is not a value of FLOAT", id="beyond Float32"),
        pytest.param(String, "double", "1.5", "1.5, which is not a value of STRING", id="a number for text"),
        pytest.param(Json, "string", "'{'", "'{', which is not a value of JSON", id="no JSON"),
        pytest.param(Uuid, "string", "'x'", "'x', which is not a value of UUID", id="no UUID"),
        pytest.param(Decimal, "double", "0.1", "0.1, which is not a value of DECIMAL", id="a float for a decimal"),
        pytest.param(
            Array(Int64), "array<bigint>", "array(1L, NULL)", "[1, None], which is not", id="a null in a list"
        ),
        pytest.param(
            Array(Int32), "array<bigint>", "array(3000000000L)", "[3000000000], which", id="beyond, in a list"
        ),
        pytest.param(Set(String), "array<string>", "array(NULL)", "[None], which is not", id="a null in a set"),
    ],
)
def test_a_value_that_the_type_has_not_ends_the_load(
    shop: Shop, dtype: FeastType, column: str, value: str, said: str
) -> None:
    """A value that the declared type cannot hold is refused with its row, and the values of before stay."""
    publish(shop, {"x": value}, x=column)
    declare(shop, x=dtype)
    with pytest.raises(UnfitRowError) as refused:
        shop.load()
    assert said in str(refused.value)
    assert "in the row customer = 1, event_at = 2026-01-01" in str(refused.value)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("dtype", "column", "value", "wanted"),
    [
        pytest.param(Int32, "bigint", "7", 7, id="a small bigint"),
        pytest.param(Int64, "double", "7.0", 7, id="a whole double"),
        pytest.param(Int64, "double", "double('nan')", None, id="NaN for a whole number"),
        pytest.param(Bool, "int", "1", True, id="1 for a truth"),
        pytest.param(Float32, "double", "0.1", np.float32(0.1), id="the nearest Float32"),
        pytest.param(Float64, "decimal(9,2)", "1.50", 1.5, id="a decimal for a double"),
        pytest.param(Float64, "bigint", "9007199254740992", float(2**53), id="a whole number for a double"),
        pytest.param(String, "bigint", "12", "12", id="a whole number for text"),
        pytest.param(UnixTimestamp, "bigint", "1", datetime(1970, 1, 1, 0, 0, 1, tzinfo=UTC), id="seconds for a time"),
        pytest.param(UnixTimestamp, "date", "DATE '1650-01-01'", datetime(1650, 1, 1, tzinfo=UTC), id="1650"),
        pytest.param(
            UnixTimestamp, "timestamp", "TIMESTAMP '9999-12-31'", datetime(9999, 12, 31, tzinfo=UTC), id="9999"
        ),
        pytest.param(Array(Float64), "array<float>", "array(0.5F)", [0.5], id="floats for doubles, in a list"),
        pytest.param(Map, "map<string,string>", "map('a', NULL)", {"a": None}, id="a null in a map"),
        pytest.param(Int64, "void", "NULL", None, id="nothing at all"),
    ],
)
def test_a_value_of_another_type_is_served_if_it_is_the_same(
    shop: Shop, dtype: FeastType, column: str, value: str, wanted: Any
) -> None:
    """What the declared type holds exactly is served, whatever type the column has."""
    publish(shop, {"x": value}, x=column)
    declare(shop, x=dtype)
    shop.load()
    assert [like(one) for one in served(shop, "x", 1)] == [wanted]


def test_a_row_that_does_not_fit_is_named(shop: Shop) -> None:
    """A load ends at a value that the type has not, says which row it is in, and what was served stays."""
    publish(shop, {"x": "7"}, x="bigint")
    declare(shop, x=Int32)
    shop.load()
    publish(shop, {"x": "3000000000"}, x="bigint")
    with pytest.raises(UnfitRowError, match="x is 3000000000, which is not a value of INT32, in the row customer = 1"):
        shop.load()
    assert served(shop, "x", 1) == [7]


def test_a_batch_is_written_whole_or_not_at_all(shop: Shop) -> None:
    """A row without an event time is refused by its key, and no other row of its batch is written."""
    publish(shop, {"x": "7"}, x="bigint")
    declare(shop, x=Int64)
    frame = pd.DataFrame({"customer": [1, 2], "x": [1, 2], "event_at": [AT, pd.NaT], "created_at": [AT, AT]})
    with pytest.raises(UnfitRowError, match="it has no event time, in the row customer = 2"):
        shop.store.write_to_online_store("purchases", frame)
    shop.load()
    assert served(shop, "x", 1, 2) == [7, None]


@pytest.mark.parametrize(
    ("column", "value", "said"),
    [
        ("bigint", 2.5, "x is 2.5, which is not a value of bigint, in row 1 of the batch"),
        ("int", 3_000_000_000, "x is 3000000000, which is not a value of int"),
        ("array<bigint>", ["a"], r"x is \['a'\], which is not a value of array<bigint>"),
    ],
)
def test_a_batch_that_the_table_cannot_keep_is_refused(shop: Shop, column: str, value: Any, said: str) -> None:
    """What is written offline is kept as it is, or refused with its row."""
    publish(shop, {}, x=column)
    declare(shop, x={"bigint": Int64, "int": Int32}.get(column, Array(Int64)))
    frame = pd.DataFrame({"customer": [1], "x": [value], "event_at": [AT], "created_at": [AT]})
    with pytest.raises(UnfitRowError, match=said):
        shop.store.write_to_offline_store("purchases", frame)


@pytest.mark.parametrize(
    ("dtype", "column", "values", "wanted"),
    [
        (Int32, "int", pd.array([7], "int64"), 7),
        (Float32, "float", pd.array([0.5], "float64"), 0.5),
        (Float64, "double", pd.array([3], "int64"), 3.0),
        (Int64, "bigint", [None], None),
        (Map, "map<string,string>", [{"a": "b"}], {"a": "b"}),
    ],
    ids=["int64 for Int32", "float64 for Float32", "int64 for Float64", "nothing at all", "a dict for a Map"],
)
def test_a_batch_of_another_type_is_kept_if_it_is_the_same(
    shop: Shop, dtype: FeastType, column: str, values: Any, wanted: Any
) -> None:
    """What Feast's own stores widen is widened: the same numbers, and dicts for a map."""
    publish(shop, {}, x=column)
    declare(shop, x=dtype)
    frame = pd.DataFrame({"customer": [1], "x": values, "event_at": [AT], "created_at": [AT + pd.Timedelta(days=3)]})
    shop.store.write_to_offline_store("purchases", frame)
    labels = pd.DataFrame({"customer": [1], "event_timestamp": [AT + pd.Timedelta(days=9)]})
    found = shop.store.get_historical_features(labels, ["purchases:x"]).to_df()["x"][0]
    assert found == wanted or (wanted is None and pd.isna(found))


def test_large_whole_numbers_keep_their_digits(shop: Shop) -> None:
    """A whole number beyond 2^53 is itself in a frame of pandas, also beside a null."""
    publish(shop, {"x": "9007199254740993"}, {}, x="bigint")
    declare(shop, x=Int64)
    labels = pd.DataFrame({"customer": [1, 2], "event_timestamp": [AT + pd.Timedelta(days=9)] * 2})
    found = shop.store.get_historical_features(labels, ["purchases:x"]).to_df()["x"]
    assert found[0] == 2**53 + 1
    assert pd.isna(found[1])
