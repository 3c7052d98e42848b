"""What must hold of each table's rows, as Great Expectations suites. The name of a fact is its message.

A row that breaks a row-level fact is quarantined with the fact's name; when more than the fact's `mostly` allows break it,
the gate stops the whole slice. Facts about a slice as a whole (`slice_has_rows` and the like) only ever stop it.
"""

from collections.abc import Iterable

import great_expectations as gx
import great_expectations.expectations as gxe
from great_expectations.expectations.expectation import Expectation

from feature_repo.sources import EVENT_AT
from feature_repo.views import carrier_delays, origin_weather, plane_usage, route_delays

MOSTLY = 0.95
"""The least share of rows that must keep a row-level fact for the rest of the slice to be published."""


def fact(name: str, expectation: type[Expectation], **arguments: object) -> Expectation:
    """An expectation under the name of the fact that it states."""
    return expectation(meta={"fact": name}, **arguments)


def present(column: str) -> Expectation:
    """The fact that a column is never null."""
    return fact(f"{column}_is_present", gxe.ExpectColumnValuesToNotBeNull, column=column, mostly=MOSTLY)


def between(name: str, column: str, low: float | None, high: float | None) -> Expectation:
    """The fact that a column, where it is not null, lies within bounds (both included)."""
    arguments = {"column": column, "min_value": low, "max_value": high, "mostly": MOSTLY}
    return fact(name, gxe.ExpectColumnValuesToBeBetween, **arguments)


def delay(column: str) -> Expectation:
    """The fact that a delay in minutes is one that flights have: two hours early to a day late."""
    return between(f"{column}_is_plausible", column, -120, 1440)


def share(column: str) -> Expectation:
    """The fact that a column is a share."""
    return between(f"{column}_is_a_share", column, 0, 1)


def suite(name: str, keys: tuple[str, ...], facts: Iterable[Expectation]) -> gx.ExpectationSuite:
    """The contract of one table: keys are there, one row per key and instant, the slice is not empty, and `facts`."""
    unique = fact(
        "key_and_instant_are_unique",
        gxe.ExpectCompoundColumnsToBeUnique,
        column_list=[*keys, EVENT_AT],
        mostly=MOSTLY,
    )
    not_empty = fact("slice_has_rows", gxe.ExpectTableRowCountToBeBetween, min_value=1)
    named = [*(present(key) for key in keys), present(EVENT_AT), unique, not_empty, *facts]
    return gx.ExpectationSuite(name=name, expectations=named)


CONTRACTS = {
    contract.name: contract
    for contract in (
        suite(
            carrier_delays.name,
            ("carrier",),
            (
                between("flight_count_1d_is_positive", "flight_count_1d", 1, None),
                delay("departure_delay_avg_1d"),
                delay("arrival_delay_avg_1d"),
                delay("arrival_delay_avg_7d"),
                share("late_arrival_share_7d"),
                between("cancellation_count_7d_is_not_negative", "cancellation_count_7d", 0, None),
                fact(
                    "mean_arrival_delay_is_plausible",
                    gxe.ExpectColumnMeanToBeBetween,
                    column="arrival_delay_avg_7d",
                    min_value=-60,
                    max_value=120,
                ),
            ),
        ),
        suite(
            route_delays.name,
            ("origin", "dest"),
            (
                between("flight_count_7d_is_positive", "flight_count_7d", 1, None),
                delay("departure_delay_avg_7d"),
                delay("arrival_delay_avg_7d"),
                share("late_arrival_share_7d"),
                fact(
                    "origin_is_in_new_york",
                    gxe.ExpectColumnValuesToBeInSet,
                    column="origin",
                    value_set=["EWR", "JFK", "LGA"],
                    mostly=MOSTLY,
                ),
            ),
        ),
        suite(
            plane_usage.name,
            ("tail_number",),
            (
                fact(
                    "tail_number_is_a_us_registration",
                    gxe.ExpectColumnValuesToMatchRegex,
                    column="tail_number",
                    regex="^N[0-9A-Z]{1,5}$",
                    mostly=MOSTLY,
                ),
                between("flight_count_1d_is_possible", "flight_count_1d", 1, 20),
                between("air_time_sum_7d_fits_a_week", "air_time_sum_7d", 0, 7 * 24 * 60),
                delay("arrival_delay_avg_7d"),
                between("age_years_is_plausible", "age_years", 0, 70),
                between("seats_are_plausible", "seats", 1, 900),
            ),
        ),
        suite(
            origin_weather.name,
            ("origin",),
            (
                between("temperature_avg_6h_is_earthly", "temperature_avg_6h", -60, 130),
                between("wind_speed_max_6h_is_below_a_tornado", "wind_speed_max_6h", 0, 200),
                between("precipitation_sum_6h_is_not_negative", "precipitation_sum_6h", 0, None),
                between("visibility_min_6h_is_within_the_scale", "visibility_min_6h", 0, 10),
                between("pressure_avg_1d_is_earthly", "pressure_avg_1d", 900, 1100),
            ),
        ),
    )
}
