"""What a request that cannot be answered is told: the status, and how to put it right."""

from __future__ import annotations

import logging
from datetime import timedelta

import grpc
import pytest
import redis
from feast.protos.feast.types.Value_pb2 import Null, Value

from pedigree.online.plans.on_demand import ADVICE
from pedigree.online.row_encoder import key_of
from pedigree.online.store import redis_keys
from pedigree.serving import status_codes
from pedigree.serving.errors import InvalidRequestError
from pedigree.serving.limits import Rates
from pedigree.serving.refusals import UnauthenticatedError
from pedigree.serving.telemetry.refusal_log import RefusalLog

from ..redis_server import wait_for
from .birds import FRESH, key, season, weights, write
from .conftest import Client, Repo, running
from .feast_requests import Columns, by_name, features_request, refused

INVALID = grpc.StatusCode.INVALID_ARGUMENT
NOT_FOUND = grpc.StatusCode.NOT_FOUND
UNIMPLEMENTED = grpc.StatusCode.UNIMPLEMENTED


@pytest.mark.parametrize(
    ("what", "named"),
    [
        ("dite", "feature service 'dite'. Did you mean 'diet'"),
        (["bird_wieght:nickname"], "feature view 'bird_wieght'. Did you mean 'bird_weight'"),
        (["bird_weight:nicknam"], "feature of bird_weight 'nicknam'. Did you mean 'nickname'"),
        (["zzz:nickname"], "There is no feature view 'zzz'. A definition"),
    ],
)
def test_unknown_names_are_not_found(client: Client, what: str | list[str], named: str) -> None:
    """An unknown service, view or feature is NOT_FOUND, with its name and those close to it."""
    code, details = refused(client.stub.GetOnlineFeatures, features_request(what, {"bird_id": [1]}))
    assert (code, named in details) == (NOT_FOUND, True), details


@pytest.mark.parametrize(
    ("what", "entities", "named"),
    [
        ("diet", {}, "'bird_id' (INT64) is missing"),
        ("diet", {"bird_id": []}, "'bird_id' has no values"),
        ("diet", {"bird_id": [1], "wing": [1]}, "'wing' is not a join key of what was asked. Expected: bird_id."),
        ("diet", {"bird": [1]}, "'bird' is an entity; send its join key 'bird_id'"),
        ("diet", {"bird_id": ["one"]}, "'bird_id' is INT64: row 0 must set int64_val, not string_val"),
        ("diet", {"bird_id": [1, Value(int32_val=1)]}, "row 1 must set int64_val, not int32_val"),
        ("diet", {"bird_id": [1, Value()]}, "'bird_id' is null in row 1"),
        ("diet", {"bird_id": [Value(null_val=Null.NULL)]}, "'bird_id' is null in row 0"),
        ("travel", {"bird_id": [1, 2], "island_code": ["NI"]}, "bird_id: 2, island_code: 1"),
        ("clashing", {"bird_id": [1], "island_code": ["NI"]}, "meal_count_1d. Ask with full_feature_names=true"),
        (["bird_weight:nickname", "bird_weight:nickname"], {"bird_id": [1]}, "called nickname"),
        (["nickname"], {"bird_id": [1]}, "'nickname' is not a feature reference. Write view:feature."),
        ([":nickname"], {"bird_id": [1]}, "Write view:feature."),
        ([], {"bird_id": [1]}, "Nothing was asked for"),
        ("diet", {"bird_id": list(range(1001))}, "1001 entity rows were sent and 1000 are the limit"),
    ],
)
def test_a_request_that_cannot_be_right_is_invalid(
    client: Client, what: str | list[str], entities: Columns, named: str
) -> None:
    """A request that can never be answered is INVALID_ARGUMENT and told what to send instead."""
    code, details = refused(client.stub.GetOnlineFeatures, features_request(what, entities))
    assert (code, named in details) == (INVALID, True), details


def test_a_request_without_a_kind_is_invalid(client: Client) -> None:
    """A request that names neither a service nor features is INVALID_ARGUMENT."""
    request = features_request("diet", {"bird_id": [1]})
    request.ClearField("kind")
    code, details = refused(client.stub.GetOnlineFeatures, request)
    assert (code, "Set feature_service, or features" in details) == (INVALID, True)


def test_the_same_feature_twice_is_invalid_even_with_full_names(client: Client) -> None:
    """A feature that is asked for twice is INVALID_ARGUMENT with full names too, as in Feast."""
    request = features_request(["season:month_name"] * 2, full_feature_names=True)
    code, details = refused(client.stub.GetOnlineFeatures, request)
    assert (code, "Ask for each feature once" in details) == (INVALID, True)


def test_a_request_context_that_nothing_reads_is_invalid(client: Client) -> None:
    """request_context is for on-demand views; where none is asked for, sending it is INVALID_ARGUMENT."""
    request = features_request("diet", {"bird_id": [1]})
    request.request_context["factor"].val.add(double_val=1)
    code, details = refused(client.stub.GetOnlineFeatures, request)
    assert (code, "request_context (factor)" in details) == (INVALID, True)


def test_as_many_rows_as_the_limit_are_answered(client: Client) -> None:
    """The limit on entity rows is the greatest number that is answered."""
    answer = by_name(
        client.stub.GetOnlineFeatures(features_request("diet", {"bird_id": list(range(1000))}), timeout=20)
    )
    assert [cell.value for cell in answer["nickname"][:2]] == [None, "kiwi"]


@pytest.mark.parametrize("what", ["backwards", ["bird_backwards:nickname_backwards"]])
def test_on_demand_views_that_cannot_be_compiled_are_unimplemented(client: Client, what: str | list[str]) -> None:
    """An on-demand view that cannot be compiled is UNIMPLEMENTED: the answer says what of it, where, and what to do."""
    code, details = refused(client.stub.GetOnlineFeatures, features_request(what, {"bird_id": [1]}))
    assert code == UNIMPLEMENTED
    assert details.startswith("'bird_backwards' is not served: its function cannot be compiled: the method `.map`")
    assert details.endswith("on line 6 of its source. " + ADVICE + ": bird_weight:nickname.")


def test_a_pinned_version_is_unimplemented_and_latest_is_not(client: Client) -> None:
    """view@v1:feature is UNIMPLEMENTED rather than answered with another version; view@latest:feature is the view."""
    code, _ = refused(client.stub.GetOnlineFeatures, features_request(["bird_weight@v1:nickname"], {"bird_id": [1]}))
    assert code == UNIMPLEMENTED
    latest = features_request(["bird_weight@latest:nickname"], {"bird_id": [1]})
    assert by_name(client.stub.GetOnlineFeatures(latest, timeout=20))["nickname"][0].value == "kiwi"


@pytest.mark.parametrize("what", ["old", ["retired:wingspan"]])
def test_a_disabled_view_is_a_failed_precondition(client: Client, what: str | list[str]) -> None:
    """A view that somebody disabled is FAILED_PRECONDITION and told how it is enabled."""
    code, details = refused(client.stub.GetOnlineFeatures, features_request(what, {"bird_id": [1]}))
    assert code == grpc.StatusCode.FAILED_PRECONDITION
    assert "'retired' cannot be served now: the feature view is disabled; run `feast feature-views enable`" in details


def test_bytes_that_are_no_record_are_told_without_what_they_are(client: Client, repo: Repo) -> None:
    """Bytes in the store that are no record, asked for alone, end in DATA_LOSS, and what they hold is in no message."""
    write(repo.store, repo.store.get_feature_view("bird_weight"), [(key(bird_id=666), weights(1, 1, "dodo"), FRESH)])
    name = key_of("flightless", key(bird_id=666))
    with redis.Redis(port=repo.redis.port) as store:
        whole = store.hget(name, redis_keys.field("bird_weight", 0))
        for broken in (b"secret", whole[:-2], whole + b"secret", whole[:30]):
            assert store.hset(name, redis_keys.field("bird_weight", 0), broken) == 0
            code, details = refused(client.stub.GetOnlineFeatures, features_request("diet", {"bird_id": [666]}))
            assert (code, "secret" in details) == (grpc.StatusCode.DATA_LOSS, False)


def test_an_unknown_error_tells_only_an_id_that_the_log_knows(caplog: pytest.LogCaptureFixture) -> None:
    """An error that nobody foresaw is INTERNAL: the caller reads an id, the log has the error under it."""
    with caplog.at_level(logging.ERROR):
        code, details = status_codes.status_of(ZeroDivisionError("secret"))
    assert code == grpc.StatusCode.INTERNAL
    request_id = details.removesuffix(".").rpartition(" ")[2]
    [record] = [one for one in caplog.records if request_id in one.getMessage()]
    assert record.exc_info is not None
    assert "secret" not in details


def test_a_row_limit_of_a_server_is_its_own(repo: Repo) -> None:
    """max_entities is a setting; a server with a smaller one refuses sooner, and says its own limit."""
    with running(repo.settings(max_entities=2)) as small:
        code, details = refused(small.stub.GetOnlineFeatures, features_request("diet", {"bird_id": [1, 2, 3]}))
    assert (code, "2 are the limit" in details) == (INVALID, True)


def test_the_real_clock_judges_when_none_is_set(repo: Repo) -> None:
    """Without a clock of its own a server judges ages by the present, so rows of 2013 are OUTSIDE_MAX_AGE."""
    with running(repo.settings(clock_at=None, store_timeout=timedelta(seconds=5))) as today:
        answer = by_name(today.stub.GetOnlineFeatures(features_request("diet", {"bird_id": [1]}), timeout=20))
        assert answer["nickname"][0].status == "OUTSIDE_MAX_AGE"
        assert by_name(today.stub.GetOnlineFeatures(features_request("calendar"), timeout=20))[season.features[0].name]


def refusal_lines(caplog: pytest.LogCaptureFixture) -> list[str]:
    """The log lines of refused requests."""
    return [one.getMessage() for one in caplog.records if one.name.endswith("refusal_log")]


def test_a_refused_request_leaves_a_line_with_reason_and_caller(
    client: Client, caplog: pytest.LogCaptureFixture
) -> None:
    """What can never be answered is logged once per request: the code, what the caller was told, and where it called from."""
    with caplog.at_level(logging.INFO):
        refused(client.stub.GetOnlineFeatures, features_request("no\nsuch", {"bird_id": [1]}))
        refused(client.channel.unary_unary("/pedigree.serving.v1.FeatureService/Explain"), b"\xff")
    unknown, unparsed = refusal_lines(caplog)
    assert unknown.startswith("refused 'ipv4:127.0.0.1' with NOT_FOUND (NOT_FOUND): ")
    assert "feature service" in unknown and "\n" not in unknown
    assert "INVALID_ARGUMENT" in unparsed and "is not the message that this method takes" in unparsed


def test_a_flood_of_refused_requests_is_no_flood_of_lines(caplog: pytest.LogCaptureFixture) -> None:
    """A bounded number of refusals of one kind is logged; the next line says how many were left out. Other kinds are logged."""
    refusals = RefusalLog(Rates(rate=50, burst=3))
    with caplog.at_level(logging.INFO):
        for number in range(10):
            refusals.note(InvalidRequestError(f"reason {number}"), INVALID, "x" * 1000)
        refusals.note(UnauthenticatedError("expired"), grpc.StatusCode.UNAUTHENTICATED, "ipv4:1.2.3.4")
        assert len(refusal_lines(caplog)) == 4
        assert refusal_lines(caplog)[-1] == "refused 'ipv4:1.2.3.4' with UNAUTHENTICATED (token): 'expired'"
        wait_for(lambda: "more like it were not logged" in note_once(refusals, caplog))
    assert all(len(line) < 400 for line in refusal_lines(caplog))


def note_once(refusals: RefusalLog, caplog: pytest.LogCaptureFixture) -> str:
    """The last line after one more refusal."""
    refusals.note(InvalidRequestError("again"), INVALID, "ipv4:1.2.3.4")
    return refusal_lines(caplog)[-1]
