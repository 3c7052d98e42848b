"""`pedigree dataset` and `pedigree vacuum` over what the demo left, as a person types them."""

from __future__ import annotations

import json
import re
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from pedigree.datasets import training_set
from pedigree.jobs.training_sets.store import TrainingSetStore

from .conftest import Workspace

pytestmark = pytest.mark.slow  # they look at what one run of the demo left

CUT = ("--known-by", "2099-01-01")


def told(workspace: Workspace, *command: str, code: int = 0) -> str:
    """What a command printed; it must end with `code`."""
    done = workspace.run("pedigree", *command)
    assert done.returncode == code, done.stdout
    assert "Traceback" not in done.stdout
    return done.stdout


def made(workspace: Workspace, entities: Path, *options: str) -> dict[str, Any]:
    """The manifest of a training set that was made by the command."""
    found: dict[str, Any] = json.loads(
        told(workspace, "dataset", "create", "late_arrival", "--entities", str(entities), *options, "--json")
    )
    return found


@pytest.fixture(scope="module")
def flights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An entity set of two flights, as a file."""
    noon = datetime(2013, 12, 5, 12, tzinfo=UTC)
    rows = [("UA", "EWR", "IAH", "N37462", noon, True), ("EV", "JFK", "IAD", "N829AS", noon, False)]
    columns = ["carrier", "origin", "dest", "tail_number", "event_timestamp", "late_arrival"]
    path = tmp_path_factory.mktemp("entities") / "flights.parquet"
    pd.DataFrame(rows, columns=columns).to_parquet(path)
    return path


def test_the_demos_training_set_is_kept_with_the_runs_behind_it(workspace: Workspace, printed: str) -> None:
    """The id that the demo prints is listed, shown with the run that wrote each table, and its rows verify."""
    reference = re.search(r"training set (late_arrival@[0-9a-f]{12}): ", printed).group(1)  # type: ignore[union-attr]
    assert reference.split("@")[1] in told(workspace, "dataset", "list")
    shown = told(workspace, "dataset", "show", reference)
    assert re.search(r"lake/carrier_delays @ version \d+, written by run \S+ \(build\.carrier_delays\)", shown)
    assert "65,698 rows have the content" in told(workspace, "dataset", "verify", reference)
    assert "identical: 65,698 rows" in told(workspace, "dataset", "rebuild", reference)


def test_a_set_is_made_loaded_and_compared(workspace: Workspace, flights: Path) -> None:
    """From a file to rows in Python; the same file again is the same set, one flight less is told as a removed row."""
    manifest = made(workspace, flights, *CUT, "--name", "two_flights")
    assert made(workspace, flights, *CUT)["id"] == manifest["id"]
    train = training_set(
        f"late_arrival@{manifest['id'][:8]}",
        set_store=TrainingSetStore(f"{workspace.environment['PEDIGREE_LAKE']}/datasets"),
    )
    assert len(train.features) == 23
    assert train.verify().to_pandas()["carrier_delays__flight_count_1d"].gt(0).all()
    fewer = flights.with_name("fewer.parquet")
    pd.read_parquet(flights).iloc[:1].to_parquet(fewer)
    smaller = made(workspace, fewer, *CUT)
    compared = told(workspace, "dataset", "diff", manifest["id"][:8], smaller["id"][:8])
    assert "0 added, 1 removed, 0 changed, 1 the same" in compared
    assert "another entity set" in compared
    assert (
        json.loads(told(workspace, "dataset", "diff", manifest["id"], smaller["id"], "--json"))["rows"]["removed"] == 1
    )


def test_a_rebuilt_table_changes_no_set_and_is_named_by_diff(workspace: Workspace, flights: Path) -> None:
    """After a week was built again, the set is still the same, and `diff` names the run that wrote the new version."""
    before = made(workspace, flights, *CUT)
    told(workspace, "build", "origin_weather", "--start", "2013-12-01", "--end", "2013-12-08")
    after = made(workspace, flights, *CUT)
    assert before["id"] != after["id"]
    assert "identical: 2 rows" in told(workspace, "dataset", "rebuild", before["id"])
    compared = told(workspace, "dataset", "diff", before["id"], after["id"])
    assert re.search(r"lake/origin_weather  version \d+ → version \d+", compared)
    assert re.search(r"version \d+ by run \S+ \(build\.origin_weather, ", compared)


def test_a_set_is_a_dataset_in_the_lineage_graph(workspace: Workspace, flights: Path) -> None:
    """`pedigree lineage --node` draws the way from the set to the source files; a feature's column leads to its table's."""
    made(workspace, flights, "--known-by", "2099-03-03")
    drawn = told(workspace, "lineage", "--node", "dataset/late_arrival")
    assert "train.late_arrival" in drawn
    assert "flights.csv" in drawn
    found = workspace.marquez().get_column_lineage_by_dataset_field(
        "feast://flights", "dataset/late_arrival", "carrier_delays__arrival_delay_avg_7d", depth=20
    )
    assert any(node["id"].endswith("landing/flights.csv:arr_delay") for node in found["graph"])


def test_vacuum_names_the_sets_and_takes_nothing_from_them(workspace: Workspace) -> None:
    """With no retention at all everything unneeded goes, the sets that hold versions are named, and all are whole."""
    planned = told(workspace, "vacuum", "--dry-run", "--retain", "0")
    assert "lake/carrier_delays: would free" in planned
    assert re.search(r"version \d+ is held for .*late_arrival@[0-9a-f]{12}", planned)
    assert "freed" in told(workspace, "vacuum", "origin_weather", "--retain", "0")
    assert "cannot be computed again" not in told(workspace, "dataset", "verify")


def test_broken_rows_end_the_command_and_are_put_back(workspace: Workspace, flights: Path) -> None:
    """`verify` ends with 1 and names what is lost; `rebuild` brings it back; a set that is let go is not found again."""
    manifest = made(workspace, flights, "--known-by", "2099-02-02")
    stored = Path(workspace.root / ".pedigree" / "lake" / "datasets" / manifest["id"] / "rows" / "part-0.parquet")
    stored.unlink()
    assert "LOST" in told(workspace, "dataset", "verify", manifest["id"], code=1)
    assert "have been put back" in told(workspace, "dataset", "rebuild", manifest["id"])
    told(workspace, "dataset", "verify", manifest["id"])
    assert "is gone." in told(workspace, "dataset", "delete", manifest["id"], "--yes")
    assert "No training set" in told(workspace, "dataset", "show", manifest["id"], code=1)


def test_an_entity_set_without_a_key_is_told_in_one_line(workspace: Workspace, flights: Path) -> None:
    """The missing column is named, with all that are needed."""
    short = flights.with_name("short.csv")
    pd.read_parquet(flights).drop(columns="dest").to_csv(short, index=False)
    assert "has no column dest. It needs carrier, origin, dest, tail_number" in told(
        workspace, "dataset", "create", "late_arrival", "--entities", str(short), code=1
    )
    assert "no feature service 'early'" in told(
        workspace, "dataset", "create", "early", "--entities", str(flights), code=1
    )
