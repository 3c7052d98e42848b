"""What must hold of each table's rows. See `pedigree.features.contract`."""

import great_expectations.expectations as gxe
from great_expectations.expectations.expectation import Expectation

from feature_repo import views
from pedigree.features.contract import MOSTLY, between, contract, rule, share


def delay(column: str) -> Expectation:
    """The rule that a delay in minutes is one that flights have: two hours early to a day late."""
    return between(f"{column}_is_plausible", column, -120, 1440)


carrier_delays = contract(
    views.carrier_delays,
    (
        between("flight_count_1d_is_not_negative", "flight_count_1d", 0, None),
        delay("departure_delay_avg_1d"),
        delay("arrival_delay_avg_1d"),
        delay("arrival_delay_avg_7d"),
        share("late_arrival_share_7d"),
        between("cancellation_count_7d_is_not_negative", "cancellation_count_7d", 0, None),
        rule(
            "mean_arrival_delay_is_plausible",
            gxe.ExpectColumnMeanToBeBetween,
            column="arrival_delay_avg_7d",
            min_value=-60,
            max_value=120,
        ),
    ),
)

route_delays = contract(
    views.route_delays,
    (
        between("flight_count_7d_is_not_negative", "flight_count_7d", 0, None),
        delay("departure_delay_avg_7d"),
        delay("arrival_delay_avg_7d"),
        share("late_arrival_share_7d"),
        rule(
            "origin_is_in_new_york",
            gxe.ExpectColumnValuesToBeInSet,
            column="origin",
            value_set=["EWR", "JFK", "LGA"],
            mostly=MOSTLY,
        ),
    ),
)

plane_usage = contract(
    views.plane_usage,
    (
        rule(
            "tail_number_is_a_us_registration",
            gxe.ExpectColumnValuesToMatchRegex,
            column="tail_number",
            regex="^N[0-9A-Z]{1,5}$",
            mostly=MOSTLY,
        ),
        between("flight_count_1d_is_possible", "flight_count_1d", 0, 20),
        between("air_time_sum_7d_fits_a_week", "air_time_sum_7d", 0, 7 * 24 * 60),
        delay("arrival_delay_avg_7d"),
        between("age_years_is_plausible", "age_years", 0, 70),
        between("seats_are_plausible", "seats", 1, 900),
    ),
)

origin_weather = contract(
    views.origin_weather,
    (
        between("temperature_avg_6h_is_earthly", "temperature_avg_6h", -60, 130),
        between("wind_speed_max_6h_is_below_a_tornado", "wind_speed_max_6h", 0, 200),
        between("precipitation_sum_6h_is_not_negative", "precipitation_sum_6h", 0, None),
        between("visibility_min_6h_is_within_the_scale", "visibility_min_6h", 0, 10),
        between("pressure_avg_1d_is_earthly", "pressure_avg_1d", 900, 1100),
    ),
)
