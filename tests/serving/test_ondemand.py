"""On-demand features through a real server, judged by Feast itself, which runs the functions that we compile."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest
from feast.protos.feast.types.Value_pb2 import Value

from .asking import Told, asking, told
from .conftest import Client, Repo, repository, running
from .formulas import FORMULAS, add


@pytest.fixture(scope="module")
def computing(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Repo]:
    """A repository with on-demand views of every kind."""
    with repository(tmp_path_factory.mktemp("computing")) as made:
        add(made.store)
        yield made


@pytest.fixture(scope="module")
def computer(computing: Repo) -> Iterator[Client]:
    """Feast's client of its server."""
    with running(computing.settings(store_timeout=timedelta(seconds=5))) as connected:
        yield connected


def sent(birds: list[int], **changed: Any) -> dict[str, list[Any]]:
    """Join keys and request data for some birds."""
    moods = ["angry", "calm", "sad", "", "glad"]
    data: dict[str, list[Any]] = {
        "bird_id": birds,
        "wind": [0.5 * place - 1 for place, _ in enumerate(birds)],
        "crowd": [(0, 13, 5, 2**31 - 1, 1)[place % 5] for place, _ in enumerate(birds)],
        "mood": [moods[place % 5] for place, _ in enumerate(birds)],
    }
    return {**data, **changed}


def as_values(columns: dict[str, list[Any]]) -> dict[str, list[Any]]:
    """Plain values as a client of Feast's protocol sends them."""
    return {
        name: [Value(double_val=value) if isinstance(value, float) else value for value in column]
        for name, column in columns.items()
    }


def ours(client: Client, what: str | list[str], columns: dict[str, list[Any]], **more: Any) -> dict[str, list[Told]]:
    """What the server answers."""
    return told(client.stub.GetOnlineFeatures(asking(what, as_values(columns), **more), timeout=20))


def theirs(repo: Repo, what: str | list[str], columns: dict[str, list[Any]], **more: Any) -> dict[str, list[Told]]:
    """What Feast answers, which runs the functions."""
    features = repo.store.get_feature_service(what) if isinstance(what, str) else what
    rows = [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]
    return told(repo.store.get_online_features(features, entity_rows=rows, **more).proto)


def cells(answer: dict[str, list[Told]]) -> dict[str, list[tuple[str, Any]]]:
    """Values with their types, and times, in order; join keys may come in any."""
    return {name: [(repr(cell.value), cell.event_at) for cell in column] for name, column in answer.items()}


REFERENCES = {view.name: [f"{view.name}:{feature.name}" for feature in view.features] for view in FORMULAS}


@pytest.mark.parametrize(
    ("view", "full_names"),
    [("in_pandas", False), ("in_pandas", True), ("copied_in_pandas", True), ("in_python", False)],
)
@pytest.mark.parametrize("birds", [[1, 2, 3, 4, 5, 6, 1], [1], [3], [5]])
def test_what_feast_computes_by_running_a_function_we_compute_without(
    computing: Repo, computer: Client, view: str, birds: list[int], full_names: bool
) -> None:
    """For rows whose inputs are present, names, their order, values, types and times are Feast's own."""
    columns = sent(birds)
    if view == "copied_in_pandas":
        columns = {"bird_id": birds}
    expected = theirs(computing, REFERENCES[view], columns, full_feature_names=full_names)
    answer = ours(computer, REFERENCES[view], columns, full_feature_names=full_names)
    assert cells(answer) == cells(expected)
    assert list(answer) == list(expected)
