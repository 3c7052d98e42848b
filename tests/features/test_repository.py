"""A feature repository in a folder of its own, as a team has it."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from pedigree.features.errors import (
    EventColumnsError,
    RepositoryCodeError,
    RepositoryMissingError,
    RepositoryYamlError,
    TableDeclarationError,
    UnknownTableError,
)
from pedigree.features.repository import Repository, load_repository
from pedigree.features.settings import settings_of
from pedigree.features.sources import Source
from pedigree.features.table import Table

FEATURES = """
from feast import Entity, FeatureView, Field, ValueType
from feast.types import String
from pedigree.features import DAY, HOUR, Aggregation, Operation, Windows, delta_table

WINDOWS = Windows(("customer",), HOUR, (Aggregation("{what}", Operation.SUM, DAY),))
purchases = FeatureView(
    name="{name}",
    entities=[Entity(name="customer", join_keys=["customer"], value_type=ValueType.STRING)],
    schema=[Field(name="customer", dtype=String), *WINDOWS.fields],
    source=delta_table("{name}"),
)
"""
TABLES = """
from {prefix}features import WINDOWS, purchases
from pedigree.features import EventSet, Source, Table
from pedigree.features.contract import contract

SOURCE = Source(name="sales", file="sales.csv", schema="customer STRING, {what} DOUBLE, at TIMESTAMP", description="")
made = Table(purchases, contract(purchases), EventSet.of(SOURCE, known_at="at"), WINDOWS)
again = made
"""


def written(
    folder: Path, *, name: str = "purchases", what: str = "price", package: bool = False, **offline: str
) -> Path:
    """A repository in a folder; returns its feature_store.yaml."""
    folder.mkdir(parents=True)
    lines = [
        f"project: {folder.name}",
        "offline_store:",
        "  type: x",
        *(f"  {key}: {value}" for key, value in offline.items()),
    ]
    (folder / "feature_store.yaml").write_text("\n".join(lines) + "\n")
    (folder / "features.py").write_text(FEATURES.format(name=name, what=what))
    prefix = f"{folder.name}." if package else ""
    (folder / "tables.py").write_text(TABLES.format(prefix=prefix, what=what))
    if package:
        (folder / "__init__.py").write_text("")
    return folder / "feature_store.yaml"


def loaded(yaml: Path) -> Repository:
    return load_repository(settings_of(yaml))


@pytest.mark.parametrize("package", [False, True])
def test_a_folder_is_loaded_with_its_tables_and_contracts(tmp_path: Path, package: bool) -> None:
    """Modules import each other as they do for Feast, by name or by package; a table that has two names is one table."""
    repository = loaded(written(tmp_path / f"shop_{package}", package=package))
    assert repository.settings.project == f"shop_{package}"
    assert list(repository.tables) == list(repository.contracts) == ["purchases"]
    table = repository.tables["purchases"]
    assert isinstance(table, Table)
    assert table.windows.names == ("price_sum_1d",)
    assert [source.name for source in table.sources] == ["sales"]
    assert [rule.meta["rule"] for rule in table.contract.expectations] == [
        "customer_is_present",
        "event_at_is_present",
        "key_and_instant_are_unique",
        "slice_has_rows",
    ]


def test_two_repositories_of_one_process_do_not_mix(tmp_path: Path) -> None:
    """Both have a `features` and a `tables`; each is loaded with its own, in any order."""
    shop = written(tmp_path / "shop", name="purchases", what="price")
    bank = written(tmp_path / "bank", name="payments", what="amount")
    for yaml, table, feature in (
        (shop, "purchases", "price"),
        (bank, "payments", "amount"),
        (shop, "purchases", "price"),
    ):
        repository = loaded(yaml)
        assert list(repository.tables) == [table]
        [declared] = repository.tables.values()
        assert isinstance(declared, Table)
        assert declared.windows.names == (f"{feature}_sum_1d",)


@pytest.mark.parametrize("first", ["package", "broken"])
def test_nothing_stays_of_a_repository_whose_tables_are_a_package_or_broken(tmp_path: Path, first: str) -> None:
    """What such a `tables` had imported is let go as well before the next repository of the process is loaded."""
    shop = written(tmp_path / "shop", what="price")
    if first == "package":
        (tmp_path / "shop" / "tables").mkdir()
        (tmp_path / "shop" / "tables.py").rename(tmp_path / "shop" / "tables" / "__init__.py")
        loaded(shop)
    else:
        with (tmp_path / "shop" / "tables.py").open("a") as tables:
            tables.write("import no_such_module\n")
        with pytest.raises(RepositoryCodeError, match="no_such_module"):
            loaded(shop)
    [declared] = loaded(written(tmp_path / "bank", what="amount")).tables.values()
    assert isinstance(declared, Table)
    assert declared.windows.names == ("amount_sum_1d",)


def test_a_repository_without_tables_has_none(tmp_path: Path) -> None:
    """A stock Feast repository is one whose tables somebody else builds."""
    yaml = written(tmp_path / "shop")
    (tmp_path / "shop" / "tables.py").unlink()
    assert loaded(yaml).tables == {}


def test_tables_may_be_a_package(tmp_path: Path) -> None:
    """Each module of `tables/` declares some."""
    yaml = written(tmp_path / "shop")
    folder = tmp_path / "shop" / "tables"
    folder.mkdir()
    (tmp_path / "shop" / "tables.py").rename(folder / "purchases.py")
    (folder / "__init__.py").write_text("")
    assert list(loaded(yaml).tables) == ["purchases"]


def test_two_tables_of_one_name_are_refused(tmp_path: Path) -> None:
    """The message names the table and the folder, and nothing was started."""
    yaml = written(tmp_path / "shop")
    tables = tmp_path / "shop" / "tables.py"
    tables.write_text(
        tables.read_text() + "from dataclasses import replace\nother = replace(made, used=frozenset({'x'}))\n"
    )
    with pytest.raises(TableDeclarationError, match=r"shop.*purchases is declared more than once.*Nothing was started"):
        loaded(yaml)


def test_an_unknown_table_is_told_with_the_known_ones(tmp_path: Path) -> None:
    """Nobody has to look up what there is."""
    repository = loaded(written(tmp_path / "shop"))
    assert repository.named([]) == repository.named(["purchases"]) == [repository.tables["purchases"]]
    with pytest.raises(UnknownTableError, match=r"'sales'.*Known tables: purchases"):
        repository.named(["sales"])


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("project: [", "cannot be read"),
        ("just text", "no `project: <name>`"),
        ("provider: local", "no `project: <name>`"),
        ("", "no `project: <name>`"),
    ],
)
def test_a_broken_file_is_told_by_its_place(tmp_path: Path, content: str, said: str) -> None:
    """Bad YAML is one line with the file's path, not a traceback."""
    yaml = tmp_path / "feature_store.yaml"
    yaml.write_text(content)
    with pytest.raises(RepositoryYamlError, match=said) as broken:
        settings_of(yaml)
    assert str(yaml) in str(broken.value)
    assert "\n" not in str(broken.value)


def test_a_window_over_a_column_that_the_events_do_not_have_is_told(tmp_path: Path) -> None:
    """By the table, the column, and the columns that there are; not by a KeyError after Spark has started."""
    yaml = written(tmp_path / "shop", what="amount")
    tables = yaml.with_name("tables.py")
    tables.write_text(tables.read_text().replace("amount", "price"))
    with pytest.raises(
        EventColumnsError, match=r"windows of purchases need amount, and its events have .*customer.*price"
    ):
        assert loaded(yaml).tables["purchases"].columns  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("import nothing_there", "ModuleNotFoundError: No module named 'nothing_there'"),
        ("def (", "SyntaxError: "),
        ("1 / 0", "ZeroDivisionError: division by zero"),
    ],
)
def test_code_that_cannot_be_run_is_told_by_its_line(tmp_path: Path, line: str, said: str) -> None:
    """Python's own error in one line, with the file and the line."""
    yaml = written(tmp_path / "shop", what="amount")
    tables = yaml.with_name("tables.py")
    tables.write_text(f"{tables.read_text()}\n{line}\n")
    number = len(tables.read_text().splitlines())
    with pytest.raises(RepositoryCodeError, match=said) as broken:
        loaded(yaml)
    assert f"{tables}, line {number}, cannot be run" in str(broken.value)


def test_a_missing_file_is_told_with_what_to_do(tmp_path: Path) -> None:
    """The message names the variable that says where the file is."""
    with pytest.raises(RepositoryMissingError, match="PEDIGREE_FEATURE_STORE_YAML"):
        settings_of(tmp_path / "feature_store.yaml")


def test_places_are_relative_to_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A path is a folder beside the file whatever the working directory is, a URI stays, and the environment wins."""
    monkeypatch.delenv("PEDIGREE_LAKE", raising=False)
    yaml = written(tmp_path / "shop", lake="../lake", landing="s3a://bucket/landing/")
    monkeypatch.chdir(tmp_path / "shop")
    settings = settings_of(yaml)
    assert settings.lake == (tmp_path / "lake").as_uri()
    assert settings.landing == "s3a://bucket/landing"
    monkeypatch.setenv("PEDIGREE_LAKE", "s3a://other/lake/")
    assert settings_of(yaml).lake == "s3a://other/lake"
    assert replace(settings, lake="x").folder == tmp_path / "shop"


def test_the_columns_of_a_source_are_those_of_its_schema() -> None:
    """Types with commas of their own do not cut a column in two."""
    schema = "id STRING, price DECIMAL(10, 2), tags MAP<STRING, ARRAY<INT>>, `at` TIMESTAMP"
    assert Source(name="s", file="s", schema=schema, description="").columns == ("id", "price", "tags", "at")


def test_importing_what_authors_write_with_needs_no_spark() -> None:
    """`import pedigree.features` brings neither Spark, Feast nor Great Expectations; declaring a view brings no Spark."""
    program = (
        "import sys, pedigree.features; early = sorted({'pyspark', 'feast', 'great_expectations'} & set(sys.modules));"
        "from pedigree.features import Aggregation, Windows;"
        "print(early, 'pyspark' in sys.modules)"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True, env={**os.environ}
    )
    assert done.stdout.split() == ["[]", "False"]
