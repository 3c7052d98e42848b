"""What must hold of a table's rows, as a Great Expectations suite of named rules. The name of a rule is its message.

A row that breaks a row-level rule is quarantined with the rule's name; when more rows than the rule's `mostly` allows break it,
the gate stops the whole slice. Rules about a slice as a whole (`slice_has_rows` and the like) only ever stop it.
"""

from __future__ import annotations

from collections.abc import Iterable

import great_expectations as gx
import great_expectations.expectations as gxe
from feast import FeatureView
from great_expectations.expectations.expectation import Expectation

from pedigree.features.columns import event_column, stored_names

MOSTLY = 0.95
"""The least share of rows that must keep a row-level rule for the rest of the slice to be published."""


def rule(name: str, expectation: type[Expectation], **arguments: object) -> Expectation:
    """An expectation under the name of what must hold."""
    return expectation(meta={"rule": name}, **arguments)


def present(column: str) -> Expectation:
    """The rule that a column is never null."""
    return rule(f"{column}_is_present", gxe.ExpectColumnValuesToNotBeNull, column=column, mostly=MOSTLY)


def between(name: str, column: str, low: float | None, high: float | None) -> Expectation:
    """The rule that a column, where it is not null, lies within bounds (both included)."""
    arguments = {"column": column, "min_value": low, "max_value": high, "mostly": MOSTLY}
    return rule(name, gxe.ExpectColumnValuesToBeBetween, **arguments)


def share(column: str) -> Expectation:
    """The rule that a column is a share, from 0 to 1."""
    return between(f"{column}_is_a_share", column, 0, 1)


def unique_together(name: str, columns: list[str]) -> Expectation:
    """The rule that no two rows have the same values in some columns."""
    if len(columns) == 1:
        return rule(name, gxe.ExpectColumnValuesToBeUnique, column=columns[0], mostly=MOSTLY)
    return rule(name, gxe.ExpectCompoundColumnsToBeUnique, column_list=columns, mostly=MOSTLY)


def presence(view: FeatureView) -> gx.ExpectationSuite:
    """The contract of rows that nobody wrote one for: the keys and the event time are there."""
    return gx.ExpectationSuite(name=view.name, expectations=present_columns(view))


def present_columns(view: FeatureView) -> list[Expectation]:
    """The rules that the keys and the event time are there."""
    stored_as = stored_names(view)
    return [present(column) for column in (*(stored_as.get(key, key) for key in view.join_keys), event_column(view))]


def contract(view: FeatureView, rules: Iterable[Expectation] = ()) -> gx.ExpectationSuite:
    """The contract of a view's rows: the keys are there, one row per key and instant, the slice is not empty, and `rules`.

    Args:
        rules: about columns as the table has them, where its source maps them to other names.
    """
    stored_as, event_at = stored_names(view), event_column(view)
    keys = [stored_as.get(key, key) for key in view.join_keys]
    unique = unique_together("key_and_instant_are_unique", [*keys, event_at])
    not_empty = rule("slice_has_rows", gxe.ExpectTableRowCountToBeBetween, min_value=1)
    return gx.ExpectationSuite(name=view.name, expectations=[*present_columns(view), unique, not_empty, *rules])
