"""Training sets over real Delta tables: what decides their rows, and that they come out the same again."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pytest

from pedigree.jobs.training_sets.entity_set import entities_at
from pedigree.jobs.training_sets.errors import EntitySetError, UnknownServiceError, VersionGoneError
from pedigree.jobs.training_sets.service import delete, rebuild
from pedigree.jobs.training_sets.verification import verify

from .conftest import HOUR, START, World, asked, delays

FLIGHTS = asked(("UA", 3), ("AA", 1), ("UA", 1), ("ZZ", 1), ("UA", 3))


def rows(world: World, id_: str) -> list[dict[str, object]]:
    return world.set_store.table(id_, "rows").to_pylist()  # type: ignore[no-any-return]


def test_rows_are_the_entities_in_their_order_with_features(world: World) -> None:
    """Each entity row once, duplicates too, its own columns first, then each feature by its full name."""
    made = world.create(FLIGHTS)
    found = rows(world, made.id)
    assert [row["carrier"] for row in found] == list(FLIGHTS["carrier"])
    assert [row["delays__minutes"] for row in found] == [7.0, None, 5.0, None, 7.0]
    assert [row["fleet__planes"] for row in found] == [700, None, 700, None, 700]
    assert made.features == ("delays__minutes", "fleet__planes")
    assert made.content.rows == 5
    assert list(found[0]) == [*FLIGHTS.columns, *made.features]


def test_a_set_comes_out_the_same_after_all_that_happens_to_a_table(world: World) -> None:
    """New data, late data, a correction, a delete, OPTIMIZE and another column change neither rows nor hash."""
    made = world.create(FLIGHTS)
    world.append(delays(("UA", 3, 30.0), ("AA", 1, 1.0)))
    world.append(delays(("UA", 2, 70.0), ("ZZ", 0, 2.0), learnt=500))
    world.spark.sql(f"UPDATE delta.`{world.uri()}` SET minutes = minutes + 1 WHERE carrier = 'UA'")
    world.spark.sql(f"DELETE FROM delta.`{world.uri()}` WHERE carrier = 'AA'")
    world.spark.sql(f"OPTIMIZE delta.`{world.uri()}`")
    world.append(delays(("UA", 3, 9.0)).assign(weather="fog"))
    assert world.create(FLIGHTS).content != made.content
    again = rebuild(made, world.training_sets)
    assert again.is_same
    assert again.code == ()
    assert verify(made, world.set_store).is_whole


def test_a_definition_that_changed_since_changes_no_old_set(world: World) -> None:
    """A set is computed again from what its manifest declares, not from what the registry declares today."""
    made = world.create(FLIGHTS)
    view = world.training_sets.store.get_feature_view("delays")
    view.ttl = timedelta(hours=1)
    world.training_sets.store.apply([view])
    assert rebuild(made, world.training_sets).is_same
    later = world.create(asked(("UA", 8)))
    assert rows(world, later.id)[0]["delays__minutes"] is None
    assert later.ingredients.definitions.views[0].ttl_seconds == 3600


def test_both_engines_make_the_same_set(make_world: Callable[..., World]) -> None:
    """DuckDB and Spark give the same content, so a set may be made by one and made again by the other."""
    small = make_world("world", engine="duckdb")
    made = small.create(FLIGHTS)
    config = small.training_sets.store.config
    config.offline_store.engine = "spark"
    assert rebuild(made, small.training_sets).is_same


def test_what_was_learnt_after_the_cut_is_seen_by_nobody(world: World) -> None:
    """Rows created after `known_by` are left out, though the table has them; the cut is kept and kept to."""
    world.append(delays(("UA", 2, 70.0), learnt=500))
    cut = START + 24 * HOUR
    before, now = world.create(FLIGHTS, known_by=cut), world.create(FLIGHTS)
    assert [row["delays__minutes"] for row in rows(world, before.id)] == [7.0, None, 5.0, None, 7.0]
    assert [row["delays__minutes"] for row in rows(world, now.id)] == [70.0, None, 5.0, None, 70.0]
    assert before.ingredients.known_by == cut
    assert rebuild(before, world.training_sets).is_same


def test_knowledge_time_is_kept_with_the_set(make_world: Callable[..., World]) -> None:
    """The offline store's option is a part of the set: changing it later does not change the set."""
    world = make_world("knowing", knowledge_time=True)
    world.append(delays(("UA", 2, 70.0), learnt=500))
    made = world.create(FLIGHTS)
    assert rows(world, made.id)[0]["delays__minutes"] == 7.0
    world.training_sets.store.config.offline_store.knowledge_time = False
    assert rebuild(made, world.training_sets).is_same


def test_the_same_ingredients_are_the_same_set(world: World) -> None:
    """Asked again with the same cut, the set that is kept is found, whatever it is called; nothing is written."""
    cut = START + 24 * HOUR
    first = world.create(FLIGHTS, known_by=cut)
    again = world.create(pa.Table.from_pandas(FLIGHTS), known_by=cut, name="mornings")
    assert again == first
    assert len(world.set_store.manifests()) == 1
    assert world.create(FLIGHTS.iloc[::-1], known_by=cut).id != first.id


def test_computed_features_and_aliases_are_made_again_too(world: World) -> None:
    """On-demand features are computed from the pinned rows; one view stands twice under two names."""
    patient = world.create(asked(("UA", 3)).assign(grace=2.0), "patient")
    aliased = world.create(asked(("UA", 3)).assign(own="AA"), "aliased")
    world.append(delays(("UA", 3, 30.0), ("AA", 0, 8.0)))
    assert rows(world, patient.id)[0]["patience__beyond_grace"] == 5.0
    assert (rows(world, aliased.id)[0]["mine__minutes"], rows(world, aliased.id)[0]["theirs__minutes"]) == (None, 7.0)
    assert rebuild(patient, world.training_sets).is_same
    assert rebuild(aliased, world.training_sets).is_same


def test_rows_that_were_tampered_with_are_found_and_put_back(world: World) -> None:
    """`verify` names the column that is not what it was; `rebuild` computes the rows again and stores them."""
    made = world.create(FLIGHTS)
    table = world.set_store.table(made.id, "rows")
    wrong = table.set_column(table.column_names.index("fleet__planes"), "fleet__planes", pa.array([1] * 5, pa.int64()))
    world.set_store.write(made.id, "rows", wrong.schema, wrong.to_batches())
    assert verify(made, world.set_store).broken == ("rows: fleet__planes",)
    assert rebuild(made, world.training_sets).put_back
    assert verify(made, world.set_store).is_whole
    (Path(world.folder) / "datasets" / made.id / "rows" / "part-0.parquet").unlink()
    assert "has lost its rows" in verify(made, world.set_store).lost[0]
    assert rebuild(made, world.training_sets).put_back
    assert verify(made, world.set_store).is_whole


def test_what_came_out_otherwise_is_named_by_column_and_row(world: World) -> None:
    """A rebuild that differs says in which column, in how many rows, and what the first was and is."""
    made = world.create(FLIGHTS)
    views = made.ingredients.definitions.views
    shorter = replace(made.ingredients.definitions, views=(replace(views[0], ttl_seconds=1.0), *views[1:]))
    found = rebuild(replace(made, ingredients=replace(made.ingredients, definitions=shorter)), world.training_sets)
    assert not found.is_same
    assert [(each.column, each.rows, each.position, each.was, each.now) for each in found.mismatches] == [
        ("delays__minutes", 3, 0, 7.0, None)
    ]


def test_changed_code_is_named_and_the_content_compared_all_the_same(world: World) -> None:
    """A module that is not what it was is named; the rows are compared whatever the code."""
    made = world.create(FLIGHTS)
    older = replace(
        made.ingredients.code,
        modules={**made.ingredients.code.modules, "spark_jobs/pedigree/jobs/historical/definitions.py": "0" * 64},
    )
    found = rebuild(replace(made, ingredients=replace(made.ingredients, code=older)), world.training_sets)
    assert found.code == ("spark_jobs/pedigree/jobs/historical/definitions.py",)
    assert found.is_same


def test_a_version_that_is_gone_is_named_with_what_to_do(world: World) -> None:
    """Rows stay whole when a table loses files; `rebuild` says which table, which version, and how to go on."""
    made = world.create(FLIGHTS)
    for file in (world.folder / "delays").glob("*.parquet"):
        file.unlink()
    told = verify(made, world.set_store)
    assert told.is_whole
    assert "delays version 1: 1 of 1 files are gone" in told.gone[0]
    with pytest.raises(VersionGoneError, match=r"delays version 1: 1 of 1 files are gone.*backup"):
        rebuild(made, world.training_sets)


def test_another_table_in_the_same_place_is_not_taken_for_it(world: World) -> None:
    """A table that was made anew is not the one that the set was cut from, whatever its version."""
    made = world.create(FLIGHTS)
    for path in sorted((world.folder / "fleet").rglob("*"), reverse=True):
        path.rmdir() if path.is_dir() else path.unlink()
    world.append(pd.DataFrame({"carrier": ["UA"], "event_at": [START], "created_at": [START], "planes": [1]}), "fleet")
    with pytest.raises(VersionGoneError, match="another table"):
        rebuild(made, world.training_sets)


def test_lineage_hears_the_versions_read_and_every_column(world: World) -> None:
    """The run reads each table at its version and writes the set, version = id, with the column behind each feature."""
    made = world.create(asked(("UA", 3)).assign(grace=2.0), "patient", name="calm")
    outbox = world.folder.parent / f"{world.folder.name}-outbox"
    events = [json.loads(file.read_text()) for file in outbox.rglob("*.json")]
    done = next(event for event in events if event["eventType"] == "COMPLETE")
    assert done["job"]["name"] == "train.patient"
    assert [each["facets"]["version"]["datasetVersion"] for each in done["inputs"]] == ["1"]
    written = done["outputs"][0]
    assert (written["namespace"], written["name"]) == ("feast://p", "dataset/calm")
    assert written["facets"]["version"]["datasetVersion"] == made.id
    columns = written["facets"]["columnLineage"]["fields"]
    assert columns["delays__minutes"]["inputFields"][0]["field"] == "minutes"
    assert columns["patience__beyond_grace"]["inputFields"][0]["field"] == "minutes"
    assert {field["name"] for field in written["facets"]["schema"]["fields"]} >= {"carrier", "grace", "is_late"}


def test_entities_come_from_files_tables_frames_and_queries(world: World, tmp_path: Path) -> None:
    """CSV, Parquet, Delta, pandas, Arrow, Spark and SQL with the same rows are one entity set, and one id."""
    frame, cut = FLIGHTS.drop_duplicates(ignore_index=True), START + 24 * HOUR
    frame.to_csv(tmp_path / "asked.csv", index=False)
    frame.to_parquet(tmp_path / "asked.parquet")
    on_spark = world.spark.createDataFrame(frame).coalesce(1)
    on_spark.write.format("delta").save((tmp_path / "asked").as_uri())
    on_spark.createOrReplaceTempView("asked_of_spark")
    places = [str(tmp_path / "asked.csv"), (tmp_path / "asked.parquet").as_uri(), str(tmp_path / "asked")]
    frames = [frame, pa.Table.from_pandas(frame), on_spark, "FROM asked_of_spark", *map(entities_at, places)]
    assert len({world.create(each, known_by=cut).id for each in frames}) == 1


@pytest.mark.parametrize(
    ("frame", "told"),
    [
        (FLIGHTS.drop(columns="carrier"), r"no column carrier\. It needs carrier and an instant, event_timestamp"),
        (FLIGHTS.iloc[:0], "it has no rows"),
        (FLIGHTS.drop(columns="event_timestamp"), "no column holds times"),
        (
            FLIGHTS.assign(event_timestamp=FLIGHTS["event_timestamp"].where(FLIGHTS["carrier"] != "ZZ")),
            "1 rows have no event_timestamp",
        ),
        (FLIGHTS.assign(fleet__planes=1), "features have the names fleet__planes"),
        (FLIGHTS.assign(__mine=1), "__mine"),
        (FLIGHTS.assign(event_timestamp="yesterday-ish"), "event_timestamp is no time"),
    ],
)
def test_an_entity_set_that_will_not_do_is_told_why(world: World, frame: pd.DataFrame, told: str) -> None:
    """What is missing, taken or empty is named with what is needed, and nothing is written."""
    with pytest.raises(EntitySetError, match=told):
        world.create(frame)
    assert world.set_store.manifests() == []


def test_a_place_without_entities_is_told(tmp_path: Path) -> None:
    """A missing file and a file of another kind are told with what may be there."""
    with pytest.raises(EntitySetError, match=r"nothing of the kind is there\. It must be a \.csv file"):
        entities_at(str(tmp_path / "nothing.parquet"))
    (tmp_path / "broken.parquet").write_text("no Parquet")
    with pytest.raises(EntitySetError, match="it cannot be read"):
        entities_at(str(tmp_path / "broken.parquet"))


def test_an_unknown_service_is_told_with_those_that_are_known(world: World) -> None:
    """The services of the registry are named."""
    with pytest.raises(UnknownServiceError, match="It has: aliased, alone, lateness, patient"):
        world.create(FLIGHTS, "earliness")


def test_a_set_that_was_let_go_is_gone(world: World) -> None:
    """Its folder is gone; tables that another set needs are not named as free."""
    first, second = world.create(FLIGHTS), world.create(FLIGHTS, "alone")
    assert delete(first, world.training_sets) == (world.uri("fleet"),)
    assert [manifest.id for manifest in world.set_store.manifests()] == [second.id]
    assert delete(second, world.training_sets) == (world.uri(),)
