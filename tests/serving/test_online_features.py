"""What is answered: names, order, values, statuses and event times."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from importlib.metadata import version
from typing import Any

import pytest
from feast.protos.feast.serving.ServingService_pb2 import GetFeastServingInfoRequest, GetOnlineFeaturesResponse

from .birds import EDGE, EVERY_TYPE, FRESH, STALE
from .conftest import Client, Repo
from .feast_requests import Cell, by_name, features_request


def ask(client: Client, *arguments: Any, **more: Any) -> dict[str, list[Cell]]:
    """The answer to one request."""
    return by_name(client.stub.GetOnlineFeatures(features_request(*arguments, **more), timeout=20))


def test_a_service_answers_keys_then_its_features_in_declared_order(client: Client) -> None:
    """A service's answer has the join keys first, as they were sent, then its features in the order of the view."""
    answer = ask(client, "diet", {"bird_id": [2, 1]})
    assert list(answer) == ["bird_id", "weight_avg_1d", "meal_count_1d", "nickname"]
    assert answer["bird_id"] == [Cell(2, "PRESENT", None), Cell(1, "PRESENT", None)]
    assert answer["meal_count_1d"] == [Cell(9, "PRESENT", FRESH), Cell(3, "PRESENT", FRESH)]


def test_a_missing_entity_is_not_found(client: Client) -> None:
    """A key that the store has no row for is NOT_FOUND with a null value and no time."""
    answer = ask(client, "diet", {"bird_id": [404, 1]})
    assert answer["nickname"] == [Cell(None, "NOT_FOUND", None), Cell("kiwi", "PRESENT", FRESH)]


def test_a_null_feature_of_a_known_row_is_a_null_value(client: Client) -> None:
    """A row whose feature is null is NULL_VALUE with the row's event time, and its other features are PRESENT."""
    answer = ask(client, "diet", {"bird_id": [2]})
    assert answer["nickname"] == [Cell(None, "NULL_VALUE", FRESH)]
    assert answer["weight_avg_1d"] == [Cell(40.0, "PRESENT", FRESH)]


def test_exactly_the_ttl_is_inside_and_a_microsecond_more_is_outside(client: Client) -> None:
    """A value as old as the ttl is PRESENT; one a microsecond older is OUTSIDE_MAX_AGE, null, with its true event time."""
    answer = ask(client, "diet", {"bird_id": [3, 4]})
    assert answer["nickname"] == [Cell("ostrich", "PRESENT", EDGE), Cell(None, "OUTSIDE_MAX_AGE", STALE)]


def test_a_ttl_of_zero_is_no_limit(client: Client) -> None:
    """A view without a ttl serves a ten-year-old value as PRESENT."""
    [cell] = ask(client, ["island_climate:rain_sum_7d"], {"island_code": ["NI"]})["rain_sum_7d"]
    assert (cell.value, cell.status) == (1.5, "PRESENT")


def test_repeated_and_mixed_keys_stay_in_their_rows(client: Client) -> None:
    """Rows keep their order and repetition, and (1, 'NI') is another key than (12, 'NI')."""
    columns = {"bird_id": [12, 1, 12, 2], "island_code": ["NI", "NI", "NI", "NI"]}
    answer = ask(client, ["bird_on_island:visit_count_7d"], columns)
    assert [cell.value for cell in answer["visit_count_7d"]] == [9, 7, 9, None]


def test_features_are_grouped_by_view_in_the_order_they_were_asked(client: Client) -> None:
    """A list of features is answered view by view, each view and feature where it was first mentioned."""
    asked = ["season:month_name", "bird_weight:nickname", "island_climate:rain_sum_7d", "bird_weight:weight_avg_1d"]
    answer = ask(client, asked, {"bird_id": [1], "island_code": ["NI"]})
    assert list(answer)[2:] == ["month_name", "nickname", "weight_avg_1d", "rain_sum_7d"]
    assert set(list(answer)[:2]) == {"bird_id", "island_code"}


def test_full_names_carry_the_view(client: Client) -> None:
    """With full_feature_names every feature is view__feature, and features of one name are told apart."""
    answer = ask(client, "clashing", {"bird_id": [1], "island_code": ["NI"]}, full_feature_names=True)
    assert answer["bird_weight__meal_count_1d"][0].value == 3
    assert answer["bird_on_island__meal_count_1d"][0].value == 30


def test_a_view_without_entities_is_served_alone(client: Client) -> None:
    """A view about nothing in particular is answered by one row when no entity is sent, and beside others by their rows."""
    assert [cell.value for cell in ask(client, "calendar")["month_name"]] == ["July"]
    beside = ask(client, "travel", {"bird_id": [1, 2], "island_code": ["NI", "SI"]})
    assert [cell.value for cell in beside["month_name"]] == ["July", "July"]


def test_one_view_is_served_twice_under_two_names_and_keys(client: Client) -> None:
    """A service that renames a view and its join key reads the view once for each key."""
    answer = ask(client, "pair", {"first_id": [1, 2], "second_id": [3, 1]}, full_feature_names=True)
    assert list(answer) == ["first_id", "second_id", "first__nickname", "second__weight_avg_1d"]
    assert [cell.value for cell in answer["first__nickname"]] == ["kiwi", None]
    assert [cell.value for cell in answer["second__weight_avg_1d"]] == [120.0, 2.5]


def test_every_type_arrives_as_it_was_written(client: Client) -> None:
    """Values of every type of a view, empty and false ones too, are PRESENT and equal what was written."""
    response = client.stub.GetOnlineFeatures(features_request("all_types", {"bird_id": [1]}), timeout=20)
    names = list(response.metadata.feature_names.val)
    got = {name: vector.values[0] for name, vector in zip(names, response.results, strict=True)}
    assert {name: got[name] for name in EVERY_TYPE} == EVERY_TYPE
    assert {cell.status for column in by_name(response).values() for cell in column} == {"PRESENT"}


def test_versions_are_told_when_asked_for(client: Client, repo: Repo) -> None:
    """include_feature_view_version_metadata names every view with the version that the registry has of it."""
    request = features_request(
        "travel", {"bird_id": [1], "island_code": ["NI"]}, include_feature_view_version_metadata=True
    )
    told_versions = client.stub.GetOnlineFeatures(request, timeout=20).metadata.feature_view_metadata
    expected = {
        name: repo.store.get_feature_view(name).current_version_number or 0
        for name in ("bird_on_island", "island_climate", "season")
    }
    assert {one.name: one.version for one in told_versions} == expected


@pytest.mark.parametrize("full_names", [False, True])
@pytest.mark.parametrize(
    ("service", "columns"),
    [
        ("diet", {"bird_id": [3, 1, 2, 404, 1]}),
        ("travel", {"bird_id": [1, 2, 7], "island_code": ["NI", "SI", "NI"]}),
        ("pair", {"first_id": [1, 2], "second_id": [3, 404]}),
        ("all_types", {"bird_id": [1, 404]}),
    ],
)
def test_feast_itself_answers_the_same(
    client: Client, repo: Repo, service: str, columns: dict[str, list[int | str]], full_names: bool
) -> None:
    """For values within their ttl, names, values and times are those of FeatureStore.get_online_features."""
    ours = client.stub.GetOnlineFeatures(features_request(service, columns, full_feature_names=full_names), timeout=20)
    asked = repo.store.get_feature_service(service)
    theirs = repo.store.get_online_features(asked, entity_rows=rows_of(columns), full_feature_names=full_names).proto
    assert bytes_by_name(ours) == bytes_by_name(theirs)
    assert list(by_name(ours))[: len(columns)] == list(columns) == list(by_name(theirs))[: len(columns)]


def rows_of(columns: dict[str, list[int | str]]) -> list[dict[str, int | str]]:
    """Columns as rows."""
    return [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]


def bytes_by_name(response: GetOnlineFeaturesResponse) -> dict[str, list[tuple[bytes, bytes]]]:
    """Values and times, byte for byte, by name: Feast shuffles the features of a view from process to process."""
    return {
        name: [
            (value.SerializeToString(deterministic=True), at.SerializeToString())
            for value, at in zip(vector.values, vector.event_timestamps, strict=True)
        ]
        for name, vector in zip(response.metadata.feature_names.val, response.results, strict=True)
    }


def test_concurrent_requests_keep_their_own_replies(client: Client) -> None:
    """Four hundred requests of sixteen threads for different keys each get the values of their own keys."""
    expected = {1: ["kiwi", 3], 2: [None, 9], 3: ["ostrich", 20], 404: [None, None]}

    def one(number: int) -> bool:
        bird = list(expected)[number % 4]
        answer = ask(client, ["bird_weight:nickname", "bird_weight:meal_count_1d"], {"bird_id": [bird]})
        return [answer["nickname"][0].value, answer["meal_count_1d"][0].value] == expected[bird]

    with ThreadPoolExecutor(16) as threads:
        assert all(threads.map(one, range(400)))


def test_info_tells_the_version(client: Client) -> None:
    """GetFeastServingInfo answers the version of Feast that is spoken, as the field promises."""
    info = client.stub.GetFeastServingInfo(GetFeastServingInfoRequest(), timeout=20)
    assert info.version == version("feast")
