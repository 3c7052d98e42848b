"""The id follows from the ingredients, and the manifest keeps them."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import pyarrow as pa
import pytest

from pedigree.jobs.training_sets.code import code_version
from pedigree.jobs.training_sets.errors import AmbiguousIdError, UnknownTrainingSetError
from pedigree.jobs.training_sets.fingerprint import Content
from pedigree.jobs.training_sets.manifest import (
    Code,
    Definitions,
    Entities,
    Ingredients,
    Manifest,
    TableVersion,
    ViewDefinition,
)
from pedigree.jobs.training_sets.store import TrainingSetStore

NOON = datetime(2013, 3, 1, 12, tzinfo=UTC)
VIEW = ViewDefinition(
    name="delays",
    alias=None,
    version_tag=None,
    keys={"carrier": "STRING"},
    labels={},
    features={"minutes": "DOUBLE", "count": "INT64"},
    ttl_seconds=3600.0,
    source="file:///lake/delays",
    columns={},
    event_at="event_at",
    created_at="created_at",
)
INGREDIENTS = Ingredients(
    entities=Entities(Content("e" * 64, 3, {"carrier": "c" * 64}), "event_timestamp", ("carrier",), "flights.csv"),
    definitions=Definitions("p", "lateness", ("delays:minutes", "delays:count"), (VIEW,), (), knowledge_time=True),
    sources=(TableVersion("file:///lake/delays", 7, "an-id"),),
    known_by=NOON,
    code=Code({"feast": "0.67.0"}, {"join.py": "1" * 64}),
)
MANIFEST = Manifest(
    "", "mornings", NOON, "a-run", INGREDIENTS, Content("f" * 64, 3, {"a": "a" * 64}), ("delays__minutes",)
)


NOTHING = pa.schema([("a", pa.int64())])


def keep(set_store: TrainingSetStore, id_: str) -> None:
    """Keep a set without rows."""
    set_store.write(id_, "rows", NOTHING, [])
    set_store.keep(with_id(id_))


def with_id(id_: str) -> Manifest:
    return replace(MANIFEST, id=id_)


def other_view(**changes: object) -> Ingredients:
    view = replace(VIEW, **changes)  # type: ignore[arg-type]
    return replace(INGREDIENTS, definitions=replace(INGREDIENTS.definitions, views=(view,)))


@pytest.mark.parametrize(
    "changed",
    [
        replace(INGREDIENTS, entities=replace(INGREDIENTS.entities, content=Content("d" * 64, 3, {}))),
        replace(INGREDIENTS, entities=replace(INGREDIENTS.entities, instant="seen_at")),
        replace(INGREDIENTS, sources=(TableVersion("file:///lake/delays", 8, "an-id"),)),
        replace(INGREDIENTS, sources=(TableVersion("file:///lake/delays", 7, "another-id"),)),
        replace(INGREDIENTS, known_by=NOON + timedelta(microseconds=1)),
        replace(INGREDIENTS, code=Code({"feast": "0.67.1"}, {"join.py": "1" * 64})),
        replace(INGREDIENTS, code=Code({"feast": "0.67.0"}, {"join.py": "2" * 64})),
        replace(INGREDIENTS, definitions=replace(INGREDIENTS.definitions, knowledge_time=False)),
        replace(INGREDIENTS, definitions=replace(INGREDIENTS.definitions, service="other")),
        replace(INGREDIENTS, definitions=replace(INGREDIENTS.definitions, features=("delays:minutes",))),
        other_view(ttl_seconds=3601.0),
        other_view(labels={"carrier": "own"}),
        other_view(columns={"mins": "minutes"}),
        other_view(event_at="happened_at"),
        other_view(created_at=None),
        other_view(alias="mine"),
        other_view(features={"count": "INT64", "minutes": "DOUBLE"}),
        other_view(features={"minutes": "FLOAT", "count": "INT64"}),
    ],
)
def test_every_ingredient_is_in_the_id(changed: Ingredients) -> None:
    """Another entity set, version, cut, code or definition is another id."""
    assert changed.identity() != INGREDIENTS.identity()


def test_what_people_call_it_is_not_in_the_id() -> None:
    """The same instant in another zone, and where the entities were read from, leave the id alone."""
    tokyo = replace(INGREDIENTS, known_by=NOON.astimezone(ZoneInfo("Asia/Tokyo")))
    elsewhere = replace(INGREDIENTS, entities=replace(INGREDIENTS.entities, origin="copy of flights.csv"))
    assert tokyo.identity() == elsewhere.identity() == INGREDIENTS.identity()


def test_a_manifest_is_read_back_as_it_was() -> None:
    """JSON keeps everything, so that the id can be computed again from the file."""
    kept = with_id(INGREDIENTS.identity())
    back = Manifest.from_json(kept.to_json())
    assert back == kept
    assert back.ingredients.identity() == back.id
    assert len(back.id) == 32


def test_the_code_names_the_join_and_every_changed_module() -> None:
    """The modules that compute the join are hashed; a change is told by the module's name."""
    now = code_version()
    assert {
        "historical/pointintime_spark.py",
        "historical/offline_store.py",
    } <= set(now.modules)
    before = Code(now.packages, {**now.modules, "historical/pointintime_spark.py": "0" * 64})
    assert before.differing(now) == ("historical/pointintime_spark.py",)


def test_an_id_may_be_shortened_while_it_is_the_only_one(tmp_path: Path) -> None:
    """As in git: a beginning will do, one that two sets share is told with both, an unknown one with what is close."""
    set_store = TrainingSetStore(tmp_path.as_uri())
    for id_ in ("abc1" + "0" * 28, "abc2" + "0" * 28, "f00d" + "0" * 28):
        keep(set_store, id_)
    assert set_store.find("abc1").id == "abc1" + "0" * 28
    with pytest.raises(AmbiguousIdError, match=r"beginning of 2 ids"):
        set_store.find("abc")
    with pytest.raises(UnknownTrainingSetError, match="f00d00000000"):
        set_store.find("f00e00000000")
    with pytest.raises(UnknownTrainingSetError, match="lateness@"):
        set_store.find("lateness")
    with pytest.raises(UnknownTrainingSetError):
        set_store.find("")


def test_a_set_without_its_manifest_is_not_kept(tmp_path: Path) -> None:
    """The manifest comes last and goes first, so what is half written or half removed is not there."""
    set_store = TrainingSetStore(tmp_path.as_uri())
    set_store.write("half", "rows", NOTHING, [])
    assert set_store.manifests() == []
    set_store.keep(with_id("half"))
    assert [manifest.id for manifest in set_store.manifests()] == ["half"]
    set_store.drop("half")
    assert set_store.manifests() == []
    assert list(tmp_path.iterdir()) == []


def test_a_folder_with_odd_letters_is_taken_literally(tmp_path: Path) -> None:
    """A lake whose path holds blanks and percent signs keeps its sets where Spark would."""
    set_store = TrainingSetStore(f"file://{tmp_path}/a b%20c")
    keep(set_store, "one")
    assert (tmp_path / "a b%20c" / "one" / "manifest.json").is_file()
    assert set_store.find("one").name == "mornings"
