"""Source files as they come: what is CSV is read to the value, what is not is refused by file and line."""

from __future__ import annotations

import csv
import gzip
import io
import random
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from uuid import uuid4

import pandas
import pytest
from pyspark.sql import SparkSession
from pyspark.sql import functions as F

from feature_repo.sources import FLIGHTS, PLANES
from pedigree.features.errors import SourceDeclarationError
from pedigree.features.events import EventSet
from pedigree.features.repository import Repository
from pedigree.features.settings import RepositorySettings
from pedigree.features.sources import Encoding, JdbcSource, Source
from pedigree.jobs import delta_tables
from pedigree.jobs.build.build import Jobs, build
from pedigree.jobs.errors import SourceBrokenError, SourceChangedError, VariableMissingError
from pedigree.jobs.sources.reader import read, refuse_changed, told_when_broken
from pedigree.jobs.sources.rfc4180 import NotCsvError, layout_of
from pedigree.jobs.time_slice import TimeSlice

from .sample import MARCH, sample

MAKERS = Source(name="makers", file="makers.csv", schema="number INT, maker STRING", description="Who made what")

A_DAY = TimeSlice(datetime(2013, 3, 9, tzinfo=UTC), datetime(2013, 3, 10, tzinfo=UTC))


@pytest.fixture
def landing(tmp_path: Path) -> Repository:
    """A repository with an empty landing place."""
    places = RepositorySettings(tmp_path / "feature_store.yaml", "p", (tmp_path / "lake").as_uri(), tmp_path.as_uri())
    return Repository(places, {}, {})


def test_an_instant_without_a_zone_is_utc(spark: SparkSession, landing: Repository) -> None:
    """Parquet as pandas writes it, without a time zone: an event is known at that instant of UTC."""
    at = datetime(2026, 3, 29, 2, 30, tzinfo=UTC)  # an hour that many time zones lack
    naive = Source(
        name="naive", file="naive.parquet", schema="n INT, at TIMESTAMP_NTZ", format="parquet", description="Naive"
    )
    pandas.DataFrame({"n": [1], "at": [at.replace(tzinfo=None)]}).astype(
        {"n": "int32", "at": "datetime64[us]"}
    ).to_parquet(Path(landing.settings.landing.removeprefix("file://")) / naive.file)
    events = EventSet.of(naive, known_at="at").derive({"naive": read(spark, naive, landing).rows})
    assert dict(events.dtypes)["known_at"] == "timestamp"
    assert [row[0] for row in events.select(F.unix_timestamp("known_at")).collect()] == [at.timestamp()]


def rows(spark: SparkSession, landing: Repository, content: bytes, source: Source = MAKERS) -> list[tuple[object, ...]]:
    """The rows of a file with some content."""
    path = Path(landing.settings.landing.removeprefix("file://")) / source.file
    path.write_bytes(content)
    return [tuple(row) for row in read(spark, source, landing).rows.collect()]


READ: dict[str, tuple[Encoding, bytes, list[tuple[object, ...]]]] = {
    "quotes in quotes": ("UTF-8", b'number,maker\n1,"BO""EING"\n', [(1, 'BO"EING')]),
    "a quote alone in quotes": ("UTF-8", b'number,maker\n1,""""\n', [(1, '"')]),
    "a comma in quotes": ("UTF-8", b'number,maker\n1,"BOEING, SEATTLE"\n', [(1, "BOEING, SEATTLE")]),
    "a line break in quotes": ("UTF-8", b'number,maker\n1,"BO\nEING"\n2,X\n', [(1, "BO\nEING"), (2, "X")]),
    "CRLF": ("UTF-8", b"number,maker\r\n1,BOEING\r\n", [(1, "BOEING")]),
    "CRLF in quotes": ("UTF-8", b'number,maker\r\n1,"BO\r\nEING"\r\n2,X\r\n', [(1, "BO\r\nEING"), (2, "X")]),
    "LF here and CRLF there": ("UTF-8", b"number,maker\n1,BOEING\r\n2,X\n", [(1, "BOEING"), (2, "X")]),
    "no line break at the end": ("UTF-8", b"number,maker\n1,BOEING", [(1, "BOEING")]),
    "a backslash is a character": ("UTF-8", b'number,maker\n1,"BO\\EING\\"\n', [(1, "BO\\EING\\")]),
    "empty and absent": ("UTF-8", b'number,maker\n1,""\n2,\n3,NA\n', [(1, ""), (2, None), (3, None)]),
    "UTF-8": ("UTF-8", "number,maker\n1,BOÊING 波\n".encode(), [(1, "BOÊING 波")]),
    "a byte order mark": ("UTF-8", "\ufeffnumber,maker\n1,BOÊING\n".encode(), [(1, "BOÊING")]),
    "Latin-1": ("ISO-8859-1", "number,maker\n1,BOÊING\n".encode("latin-1"), [(1, "BOÊING")]),
    "Windows": ("windows-1252", "number,maker\n1,€ BOÊING\n".encode("cp1252"), [(1, "€ BOÊING")]),
    "UTF-16": ("UTF-16", "number,maker\n1,BOÊING 波\n".encode("utf-16"), [(1, "BOÊING 波")]),
    "UTF-16LE": ("UTF-16LE", "number,maker\n1,BOÊING\n".encode("utf-16-le"), [(1, "BOÊING")]),
}


@pytest.mark.parametrize("case", READ)
def test_what_is_csv_is_read_to_the_value(spark: SparkSession, landing: Repository, case: str) -> None:
    """Quotes, line breaks and encodings as declared come back as the values that were written."""
    encoding, content, expected = READ[case]
    assert rows(spark, landing, content, replace(MAKERS, encoding=encoding)) == expected


REFUSED: dict[str, tuple[Encoding, bytes, str]] = {
    "Latin-1 in UTF-8": ("UTF-8", b"number,maker\n1,X\n2,BO\xcaING\n", "line 3: the bytes ca are not UTF-8"),
    "cut off in a character": ("UTF-8", b"number,maker\n1,BO\xc3", "line 2: the bytes c3 are not UTF-8"),
    "surrogates": ("UTF-8", b"number,maker\n1,\xed\xa0\x80\n", "line 2: the bytes ed are not UTF-8"),
    "beyond ASCII": ("US-ASCII", "number,maker\n1,Ê\n".encode(), "line 2: the bytes c3 are not US-ASCII"),
    "Windows as Latin-1": ("ISO-8859-1", b"number,maker\n1,\x80\n", "line 2: 0x80 is no letter in ISO-8859-1"),
    "UTF-8 as Latin-1": (
        "ISO-8859-1",
        "\ufeffnumber,maker\n1,Ê\n".encode(),
        "starts with the byte order mark of UTF-8",
    ),
    "UTF-16 as UTF-8": ("UTF-8", "number,maker\n1,X\n".encode("utf-16"), "the byte order mark of UTF-16"),
    "UTF-16 without a mark as UTF-8": (
        "UTF-8",
        "number,maker\n1,X\n".encode("utf-16-le"),
        "line 1: it has a NUL in it",
    ),
    "UTF-16 of no order": ("UTF-16", "number,maker\n1,X\n".encode("utf-16-le"), "declare UTF-16LE or UTF-16BE"),
    "half a character of UTF-16": ("UTF-16LE", "number,maker\n1,X\n".encode("utf-16-le")[:-1], "line 2: the bytes 0a"),
    "NUL": ("UTF-8", b"number,maker\n1,X\n2,BO\0EING\n", "line 3: it has a NUL in it"),
    "a quote that is never closed": (
        "UTF-8",
        b'number,maker\n1,"BO\n2,X\n3,Y\n',
        "line 2: a quote is opened that is not",
    ),
    "a quote that the next one closes": (
        "UTF-8",
        b'number,maker\n1,"BO\n2,"X"\n',
        "line 3: something .* line 2",
    ),
    "a quote in a plain value": ("UTF-8", b'number,maker\n1,BO"EING\n', "line 2: a quote stands in a value"),
    "text behind quotes": ("UTF-8", b'number,maker\n1,"BO"EING\n', "line 2: something follows the quote"),
    "a quote that a backslash escapes": (
        "UTF-8",
        b'number,maker\n1,"BO\\"EING"\n',
        "line 2: something follows the quote",
    ),
    "too few values": ("UTF-8", b"number,maker\n1,X\n2\n", "line 3: it has 1 values where the schema has 2 columns"),
    "too many values": (
        "UTF-8",
        b'number,maker\n1,"X\nY"\n2,X,3\n',
        "line 4: it has 3 values where the schema has 2 columns",
    ),
    "a blank line": ("UTF-8", b"number,maker\n1,X\n\n2,Y\n", "line 3: it is blank"),
    "CR alone": ("UTF-8", b"number,maker\r1,X\r", "line 1: a carriage return stands alone"),
    "empty": ("UTF-8", b"", "line 1: there is no header"),
    "another header": ("UTF-8", b"number,builder\n1,X\n", "header does not conform"),
    "no number": ("UTF-8", b"number,maker\n1x,X\n", "[Mm]alformed"),
    "mixed ends and breaks in values": (
        "UTF-8",
        b'number,maker\n1,"X\nY"\r\n',
        "some records end with LF and others with CRLF",
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_is_not_csv_is_refused_with_file_and_line(spark: SparkSession, landing: Repository, case: str) -> None:
    """Nothing is mended in silence: the error names the file, the line where it can, and what is wrong."""
    encoding, content, reason = REFUSED[case]
    with pytest.raises(Exception, match=reason) as caught:
        rows(spark, landing, content, replace(MAKERS, encoding=encoding))
    assert "makers.csv" in str(caught.value)
    if "line " in reason:
        assert isinstance(caught.value, SourceBrokenError)


def test_a_compressed_file_and_one_in_a_folder_are_looked_through(spark: SparkSession, landing: Repository) -> None:
    """What Spark decompresses is looked through as it reads it, by every file of a folder."""
    packed = replace(MAKERS, file="makers.csv.gz")
    assert rows(spark, landing, gzip.compress(b'number,maker\n1,"BO""EING"\n'), packed) == [(1, 'BO"EING')]
    with pytest.raises(SourceBrokenError, match=r"makers.csv.gz .*line 2: the bytes ca"):
        rows(spark, landing, gzip.compress(b"number,maker\n1,BO\xcaING\n"), packed)
    folder = Path(landing.settings.landing.removeprefix("file://")) / "parts"
    folder.mkdir()
    (folder / "a b.csv").write_bytes(b"number,maker\n1,X\n")
    (folder / "c.csv").write_bytes(b"number,maker\n2,\xca\n")
    with pytest.raises(SourceBrokenError, match=r"parts/c.csv .*line 2"):
        read(spark, replace(MAKERS, file="parts"), landing)


def test_thousands_of_files_are_taken_as_another_reader_takes_them(spark: SparkSession, landing: Repository) -> None:
    """Random text of quotes, commas and line breaks: what is taken has the values of Python's csv, chunk by chunk alike."""
    rng = random.Random(7)
    taken = refused = 0
    for _ in range(3000):
        text = "".join(
            rng.choice(['"', '""', ",", "\n", "a", "b,", '"x"', '"y\n"', "\n1,"]) for _ in range(rng.randrange(14))
        )
        content = f"number,maker\n{text}".encode()
        size = rng.randrange(1, 40)
        chunks = [content[start : start + size] for start in range(0, len(content), size)]
        try:
            found = layout_of(chunks, encoding="UTF-8", columns=2)
        except NotCsvError:
            refused += 1
            continue
        expected = [row for row in csv.reader(io.StringIO(content.decode(), newline=""), strict=True) if row]
        assert found.records == len(expected), content
        assert all(len(row) == 2 for row in expected), content
        taken += 1
    assert min(taken, refused) > 100
    values = [(number, "".join(rng.choice('",\n\\ab') for _ in range(5))) for number in range(500)]
    out = io.StringIO()
    csv.writer(out, lineterminator="\n").writerows([("number", "maker"), *values])
    assert rows(spark, landing, out.getvalue().encode()) == values


def test_a_record_that_never_ends_is_refused_before_the_file_is_in_memory() -> None:
    """A quote that is opened and not closed within sixteen megabytes is refused where it stands."""
    chunks = (b'number,maker\n1,"' if number == 0 else b"x" * 1024 * 1024 for number in range(100_000))
    with pytest.raises(NotCsvError, match="line 2: a quote is opened that is not closed"):
        layout_of(chunks, encoding="UTF-8", columns=2)


def test_a_build_refuses_a_file_that_cannot_be_decoded(jobs: Jobs) -> None:
    """A plane's maker in Latin-1 stops the build of a table that is made of it, by file and line; nothing is published."""
    path = Path(jobs.repository.settings.landing.removeprefix("file://")) / FLIGHTS.file
    content = path.read_bytes().splitlines(keepends=True)
    content[41] = content[41].replace(b"N", b"\xd1", 1)
    path.write_bytes(b"".join(content))
    table = jobs.repository.tables["carrier_delays"]
    with pytest.raises(SourceBrokenError, match=r"flights.csv cannot be read: line 42: the bytes d1"):
        build(table, MARCH, jobs)


@pytest.mark.slow
def test_a_source_that_is_replaced_while_it_is_read_publishes_nothing(jobs: Jobs) -> None:
    """Another file in the source's place, after the build has read it: the build publishes nothing; again it works."""
    path = Path(jobs.repository.settings.landing.removeprefix("file://")) / FLIGHTS.file

    def replaced(stage: str) -> None:
        if stage == "checking":
            beside = path.with_suffix(".beside")
            beside.write_bytes(sample("flights").replace(b",UA,", b",AA,"))
            beside.replace(path)

    table, uri = jobs.repository.tables["route_delays"], jobs.repository.lake.table("route_delays")
    before = delta_tables.current_version(jobs.spark, uri)
    with pytest.raises(
        SourceChangedError, match=r"'flights' .* was written to while it was read. Nothing was published"
    ):
        build(table, A_DAY, jobs.telling(replaced))
    assert delta_tables.current_version(jobs.spark, uri) == before
    assert build(table, A_DAY, jobs).version == (0 if before is None else before + 1)


def test_a_change_of_a_source_is_noticed(spark: SparkSession, landing: Repository) -> None:
    """Another size or another time of writing is another state; the same state is not."""
    path = Path(landing.settings.landing.removeprefix("file://")) / PLANES.file
    path.write_bytes(sample(PLANES.name))
    found = read(spark, PLANES, landing)
    refuse_changed([found], spark)
    path.write_bytes(sample(PLANES.name) + b"\n")
    with pytest.raises(SourceChangedError):
        refuse_changed([found], spark)


def deliver(landing: Repository, name: str, content: bytes) -> None:
    """Put a file in the landing place."""
    (Path(landing.settings.landing.removeprefix("file://")) / name).write_bytes(content)


SESSIONS = Source(
    name="sessions", file="s.jsonl", format="jsonl", schema="user BIGINT, at TIMESTAMP, tags ARRAY<STRING>"
)


def test_json_lines_are_read_by_the_schema(spark: SparkSession, landing: Repository) -> None:
    """Members that are not declared are left out, those that are not there are null, lists and UTC instants are themselves."""
    lines = b'{"user": 1, "at": "2026-01-01T10:00:00Z", "tags": ["a", "b"], "more": {"x": 1}}\n'
    lines += b'{"at": "2026-01-02T00:00:00+02:00"}\n'
    deliver(landing, "s.jsonl", lines)
    found = read(spark, SESSIONS, landing).rows.selectExpr("user", "unix_seconds(at)", "tags").collect()
    at = int(datetime(2026, 1, 1, 10, tzinfo=UTC).timestamp())
    assert [tuple(row) for row in found] == [(1, at, ["a", "b"]), (None, at + 12 * 3600, None)]


@pytest.mark.parametrize("line", [b'{"user": 1', b'{"user": "one"}', b"[1, 2]", b'{"user": 1, "at": "soon"}'])
def test_json_that_does_not_fit_is_refused_with_its_file(spark: SparkSession, landing: Repository, line: bytes) -> None:
    """A line that is no JSON, or has a value of another type, stops the read and names the file; nothing becomes null."""
    deliver(landing, "s.jsonl", b'{"user": 1}\n' + line + b"\n")
    source = read(spark, SESSIONS, landing)
    with pytest.raises(SourceBrokenError, match=r"s\.jsonl"), told_when_broken([source.uri]):
        source.rows.collect()


def test_a_format_that_nobody_knows_is_refused_where_it_is_declared() -> None:
    """The message names the source, what was written and what may be."""
    with pytest.raises(
        SourceDeclarationError, match=r"'sales' has the format 'json'\. Known formats: csv, parquet, jsonl"
    ):
        Source(name="sales", file="sales.json", format="json", schema="a INT")  # type: ignore[arg-type]


@pytest.mark.parametrize("kind", ["parquet", "delta", "catalog"])
def test_columns_that_are_not_as_declared_are_told_before_a_row_is_read(
    spark: SparkSession, landing: Repository, kind: str
) -> None:
    """A declared column that is missing or of another type is named; a narrower number is widened; others are left out."""
    place = f"{landing.settings.landing}/sales"
    rows = spark.createDataFrame([(1, "a", 2.5)], "number INT, maker STRING, price DOUBLE")
    if kind == "catalog":
        spark.sql("DROP TABLE IF EXISTS sales_in_catalog")
        rows.write.format("delta").option("path", place).saveAsTable("sales_in_catalog")
    else:
        rows.write.format(kind).save(place)
    file = "sales_in_catalog" if kind == "catalog" else "sales"
    fitting = Source(name="sales", file=file, format=kind, schema="number BIGINT, maker STRING")  # type: ignore[arg-type]
    assert [tuple(row) for row in read(spark, fitting, landing).rows.collect()] == [(1, "a")]
    odd = replace(fitting, schema="number INT, maker INT, colour STRING")
    with pytest.raises(SourceBrokenError, match="colour is missing; maker is string, promised is int"):
        read(spark, odd, landing)
    spark.sql("DROP TABLE IF EXISTS sales_in_catalog")


def test_another_teams_feature_table_is_read_as_far_as_it_is_audited(spark: SparkSession, landing: Repository) -> None:
    """Rows that no gate let through stay out, though the table has them in its newest version."""
    uri = landing.lake.table("theirs")
    good = spark.createDataFrame([(1,)], "number INT")
    delta_tables.replace(good, uri, predicate="true", run_id=str(uuid4()), passed_rows=1)
    spark.createDataFrame([(2,)], "number INT").write.format("delta").mode("append").save(uri)
    source = Source(name="theirs", file="theirs", format="feature_table", schema="number INT")
    seen = read(spark, source, landing)
    assert (seen.version, [row[0] for row in seen.rows.collect()]) == ("0", [1])
    assert read(spark, replace(source, file=uri), landing).uri == uri


def test_a_uri_is_read_where_it_is(spark: SparkSession, landing: Repository, tmp_path: Path) -> None:
    """A file with a scheme is not looked for in the landing folder."""
    (tmp_path / "elsewhere").mkdir()
    path = tmp_path / "elsewhere" / "makers.csv"
    path.write_bytes(b"number,maker\n1,X\n")
    assert [tuple(row) for row in read(spark, replace(MAKERS, file=path.as_uri()), landing).rows.collect()] == [
        (1, "X")
    ]


TABLE = JdbcSource(
    name="t", url="jdbc:postgresql://127.0.0.1:1/shop", table="t", schema="a INT", password="${T_PASSWORD}"
)


def test_a_database_is_told_without_its_password(
    spark: SparkSession, landing: Repository, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A variable that is not set is named; a database that does not answer is named by host, port and table."""
    monkeypatch.delenv("T_PASSWORD", raising=False)
    with pytest.raises(VariableMissingError, match="'t' needs T_PASSWORD in the environment"):
        read(spark, TABLE, landing)
    monkeypatch.setenv("T_PASSWORD", "s3cret")
    with pytest.raises(
        SourceBrokenError, match=r"postgres://127.0.0.1:1/shop.public.t cannot be read: .*refused"
    ) as caught:
        read(spark, TABLE, landing)
    assert "s3cret" not in str(caught.value)
