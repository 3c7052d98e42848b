"""`diff`: which sources, definitions, columns and rows changed from one training set to another."""

from __future__ import annotations

from datetime import timedelta

from pedigree.jobs.training_sets.difference import Example, RowChanges, difference

from .conftest import HOUR, START, World, asked, delays

CUT = START + 1000 * HOUR


def test_a_corrected_value_is_found_with_its_row(world: World) -> None:
    """A correction in a table is told as the table's versions, the column, the number of rows and the rows' keys."""
    flights = asked(("UA", 3), ("AA", 1), ("UA", 1))
    before = world.create(flights, known_by=CUT)
    world.append(delays(("UA", 2, 70.0), learnt=1))
    found = difference(before, world.create(flights, known_by=CUT), world.set_store)
    assert [(change.uri, change.before.version, change.after.version) for change in found.sources] == [  # type: ignore[union-attr]
        (world.uri(), 1, 2)
    ]
    assert (found.entities, found.known_by, found.definitions, found.code) == (False, None, (), ())
    assert found.rows == RowChanges(added=0, removed=0, changed=1, same=2)
    assert [(column.column, column.rows) for column in found.columns] == [("delays__minutes", 1)]
    row = (("carrier", "UA"), ("event_timestamp", START + 3 * HOUR))
    assert found.columns[0].examples == (Example(row, 7.0, 70.0),)
    assert not found.is_empty


def test_rows_are_matched_by_keys_and_instant_and_twins_one_by_one(world: World) -> None:
    """Two of three equal rows, a row less and a row more are one removed twin, one removed and one added row."""
    before = world.create(asked(("UA", 3), ("UA", 3), ("UA", 3), ("AA", 1)).drop(columns="is_late"))
    after = world.create(asked(("ZZ", 1), ("UA", 3), ("UA", 3)).drop(columns="is_late"))
    found = difference(before, after, world.set_store)
    assert found.rows == RowChanges(added=1, removed=2, changed=0, same=2)
    assert found.entities
    assert found.columns == ()


def test_columns_and_definitions_that_changed_are_named(world: World) -> None:
    """Another service and another ttl are told by name, a column that only one has by its name."""
    before = world.create(asked(("UA", 3)), known_by=CUT)
    view = world.training_sets.store.get_feature_view("delays")
    view.ttl = timedelta(hours=1)
    world.training_sets.store.apply([view])
    after = world.create(asked(("UA", 3)).assign(day=1), "alone", known_by=CUT + HOUR)
    found = difference(before, after, world.set_store)
    assert found.columns_added == ("day",)
    assert found.columns_removed == ("fleet__planes",)
    assert set(found.definitions) == {"service", "features", "delays.ttl_seconds", "fleet (removed)"}
    assert found.known_by == (CUT.isoformat(), (CUT + HOUR).isoformat())
    assert [change.after for change in found.sources if change.uri == world.uri("fleet")] == [None]


def test_a_set_does_not_differ_from_itself(world: World) -> None:
    """Nothing is told of a set beside itself, nulls and twins included."""
    made = world.create(asked(("UA", 3), ("UA", 3), ("ZZ", 1)))
    found = difference(made, made, world.set_store)
    assert found.is_empty
    assert (found.sources, found.columns, found.rows) == ((), (), RowChanges(0, 0, 0, 3))
