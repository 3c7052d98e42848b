"""On-demand features through a real server, judged by Feast itself, which runs the functions that we compile."""

from __future__ import annotations

import json
import pickle
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from time import sleep
from typing import Any

import grpc
import numpy as np
import pytest
import redis
from feast import FeatureService, FeatureView
from feast.on_demand_feature_view import OnDemandFeatureView
from feast.permissions.action import AuthzedAction
from feast.permissions.permission import Permission
from feast.permissions.policy import RoleBasedPolicy
from feast.protos.feast.core.Registry_pb2 import Registry
from feast.protos.feast.types.Value_pb2 import Value, ValueType

from pedigree.cli.errors import AskedInVainError, UnexplainedError
from pedigree.cli.online.entity_row import typed_row
from pedigree.cli.online.explain import explain as explain_command
from pedigree.cli.serve import sources_of
from pedigree.cli.serve import vectors as vectors_of
from pedigree.online.apply import publish_plan
from pedigree.online.errors import PlanError
from pedigree.online.plans.plan import Refusal
from pedigree.online.plans.plan_compiler import compile_plan
from pedigree.online.plans.plan_json import decoded, encoded
from pedigree.serving.auth.permissions import Asked, PermissionRules
from pedigree.serving.auth.principal import Principal
from pedigree.serving.client import Client as OwnClient
from pedigree.serving.data_plane.plan_cache import CurrentPlan
from pedigree.serving.refusals import DeniedError
from pedigree.serving.telemetry.sampling import statuses_of_features, statuses_of_vectors
from pedigree.serving.v1.pedigree_pb2 import (
    ExplainRequest,
    ExplainResponse,
    FeatureNames,
    GetVectorsRequest,
    GetVectorsResponse,
    Keys,
)
from pedigree.serving.v1.value_pb2 import Value as OwnValue

from .birds import FRESH
from .conftest import Client, Repo, repository, running
from .feast_requests import Cell, by_name, features_request, refused, value_of
from .on_demand_views import FORMULAS, add


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


def ours(client: Client, what: str | list[str], columns: dict[str, list[Any]], **more: Any) -> dict[str, list[Cell]]:
    """What the server answers."""
    return by_name(client.stub.GetOnlineFeatures(features_request(what, as_values(columns), **more), timeout=20))


def theirs(repo: Repo, what: str | list[str], columns: dict[str, list[Any]], **more: Any) -> dict[str, list[Cell]]:
    """What Feast answers, which runs the functions."""
    features = repo.store.get_feature_service(what) if isinstance(what, str) else what
    rows = [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]
    return by_name(repo.store.get_online_features(features, entity_rows=rows, **more).proto)


def cells(answer: dict[str, list[Cell]]) -> dict[str, list[tuple[str, Any]]]:
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


@pytest.mark.parametrize("bird", [1, 2, 3, 7, 9])
def test_a_singleton_is_computed_row_by_row(computing: Repo, computer: Client, bird: int) -> None:
    """For one row a singleton gives what Feast gives, which answers no more than one; for many it gives each its own."""
    columns = sent([bird])
    answer = ours(computer, "alone", columns)
    assert cells(answer) == cells(theirs(computing, "alone", columns))
    many = ours(computer, "alone", {**sent([1, bird]), **{name: column * 2 for name, column in columns.items()}})
    assert [column[1] for column in many.values()] == [column[0] for column in answer.values()]


def test_a_service_s_on_demand_features_come_last(computing: Repo, computer: Client) -> None:
    """A service answers stored features first and on-demand ones last, under the names that it gives; sources do not show."""
    columns = sent([1, 2])
    answer = ours(computer, "flight", columns)
    assert cells(answer) == cells(theirs(computing, "flight", columns)) | {"nickname": cells(answer)["nickname"]}
    assert list(answer) == list(theirs(computing, "flight", columns))
    assert list(ours(computer, "renamed", columns, full_feature_names=True)) == [
        *("bird_id", "sums__total", "aged__grams", "aged__is_heavy", "aged__known_as")
    ]


def test_a_source_that_is_asked_for_itself_is_answered_too(computer: Client) -> None:
    """A source's feature in the same request is answered as it is stored, and computed from all the same."""
    answer = ours(computer, ["aged:grams", "bird_weight:nickname", "aged:is_heavy"], {"bird_id": [1]})
    assert list(answer) == ["bird_id", "nickname", "grams", "is_heavy"]
    assert [column[0].value for column in answer.values()] == [1, "kiwi", 2500.0, False]


def test_what_is_missing_is_told_of_what_is_computed_from_it(computer: Client) -> None:
    """A null has the status of the input that is not there; a value that is computed from nothing is PRESENT, as with Feast."""
    answer = ours(computer, "renamed", sent([1, 2, 4, 404]))
    assert answer["grams"] == [
        Cell(2500.0, "PRESENT", None),
        Cell(40000.0, "PRESENT", None),
        Cell(None, "OUTSIDE_MAX_AGE", None),
        Cell(None, "NOT_FOUND", None),
    ]
    assert [(cell.value, cell.status) for cell in answer["known_as"]] == [
        ("kiwi", "PRESENT"),
        *[("nobody", "PRESENT")] * 3,
    ]
    assert [cell.status for cell in answer["total"]] == ["PRESENT", "PRESENT", "PRESENT", "NOT_FOUND"]


def test_nulls_that_were_stored_and_sent(computer: Client) -> None:
    """A stored null and one that is sent are NULL_VALUE in what is computed from them, and leave other rows as they are."""
    columns = sent([8, 9, 1], wind=[0.5, 0.5, Value()])
    answer = ours(computer, ["in_pandas:ratio", "in_pandas:power", "in_pandas:chosen", "in_pandas:named"], columns)
    assert [cell.value for cell in answer["ratio"]] == [2 / 3, 2 / 3, 1.5]
    assert [(cell.value, cell.status) for cell in answer["power"]] == [
        *((None, "NULL_VALUE"), (16.0, "PRESENT"), (2.25, "PRESENT"))
    ]
    assert [cell.value for cell in answer["chosen"]] == [0.0, 3.5, 0.0]
    assert [(cell.value, cell.status) for cell in answer["named"]] == [
        *(("RED-angry", "PRESENT"), (None, "NULL_VALUE"), ("BROWN-sad", "PRESENT"))
    ]


def test_a_nan_or_a_failed_division_is_as_feast_has_it(computing: Repo, computer: Client) -> None:
    """In pandas mode a division by zero is infinite or null; in Python mode it ends a request, with the row's number."""
    columns = sent([7, 4])
    assert cells(ours(computer, ["in_pandas:ratio"], columns)) == cells(theirs(computing, ["in_pandas:ratio"], columns))
    code, details = refused(computer.stub.GetOnlineFeatures, features_request(["per_hop:per_hop"], {"bird_id": [1, 7]}))
    assert code is grpc.StatusCode.FAILED_PRECONDITION
    assert details.startswith("per_hop:per_hop cannot be computed for row 1 of this request: it divides by zero.")
    with pytest.raises(ZeroDivisionError):
        theirs(computing, ["per_hop:per_hop"], {"bird_id": [1, 7]})


def test_two_sources_about_different_entities(computing: Repo, computer: Client) -> None:
    """Sources with a feature of one name are told apart by full names, and each is read by its own keys."""
    columns: dict[str, list[Any]] = {"bird_id": [1, 2, 12], "island_code": ["NI", "SI", "NI"]}
    [meals] = [ours(computer, "two_views", columns, full_feature_names=True)["of_two_views__meals_per_visit"]]
    assert [(cell.value, cell.status) for cell in meals] == [
        *((3 / 7, "PRESENT"), (9 / 8, "PRESENT"), (None, "NOT_FOUND"))
    ]
    expected = theirs(computing, "two_views", columns, full_feature_names=True)["of_two_views__meals_per_visit"]
    assert [cell.value for cell in expected] == [cell.value for cell in meals]


def test_request_data_may_come_in_either_place(computer: Client) -> None:
    """Request data are taken among the entities, as Feast's clients send them, or in request_context; alone they are the rows."""
    data = {name: column for name, column in sent([1, 2], wind=[1.5, 2.0]).items() if name != "bird_id"}
    among = ours(computer, ["of_request_alone:doubled"], data)
    beside = features_request(["of_request_alone:doubled"])
    for name, values in as_values(data).items():
        beside.request_context[name].val.extend(map(value_of, values))
    assert by_name(computer.stub.GetOnlineFeatures(beside, timeout=20)) == among
    assert [cell.value for cell in among["doubled"]] == [3.0, 4.0]


NO_ROWS: dict[str, list[Any]] = {}


@pytest.mark.parametrize(
    ("what", "entities", "context", "named"),
    [
        (["in_python:total"], {"bird_id": [1], "crowd": [1], "mood": ["x"]}, NO_ROWS, "'wind' (DOUBLE) is missing"),
        (["in_python:total"], sent([1], wind=[]), NO_ROWS, "'wind' has no values"),
        (["in_python:total"], sent([1, 2], wind=[0.5]), NO_ROWS, "The request has 2 rows"),
        (["in_python:total"], sent([1], wind=["much"]), NO_ROWS, "'wind' is DOUBLE: row 0 must set double_val"),
        (["in_python:total"], sent([1], crowd=[0.5]), NO_ROWS, "'crowd' is INT64: row 0 must set int64_val"),
        (["in_python:total"], sent([1]), {"wind": [1.0]}, "wind: sent twice"),
        (["in_python:total"], sent([1]), {"rain": [1.0]}, "rain: not request data of what was asked"),
        (["in_python:total"], {**sent([1]), "rain": [1.0]}, NO_ROWS, "'rain' is not a join key of what was asked"),
        (["in_python:total"], {**sent([1]), "bird_id": []}, NO_ROWS, "'bird_id' has no values"),
        (["in_python:total", "in_python:total"], sent([1]), NO_ROWS, "asked for several times"),
        (["in_python:total", "bird_weight:nickname"], {"bird_id": [1]}, NO_ROWS, "'wind' (DOUBLE) is missing"),
    ],
)
def test_what_is_wrong_with_request_data_is_told(
    computer: Client, what: list[str], entities: dict[str, list[Any]], context: dict[str, list[Any]], named: str
) -> None:
    """Request data that are missing, of another type or number, or for nothing, are INVALID_ARGUMENT by name and type."""
    request = features_request(what, as_values(entities))
    for name, values in as_values(context).items():
        request.request_context[name].val.extend(values)
    code, details = refused(computer.stub.GetOnlineFeatures, request)
    assert (code, named in details) == (grpc.StatusCode.INVALID_ARGUMENT, True), details


def test_whole_numbers_are_taken_for_floats(computer: Client) -> None:
    """A client that sends 2 for a double is understood, as by Feast; a null makes what is computed from it null."""
    request = features_request(["of_request_alone:doubled"])
    request.request_context["wind"].val.extend([Value(int64_val=2), Value(float_val=0.5), Value()])
    request.request_context["crowd"].val.extend([Value(int32_val=2)] * 3)
    request.request_context["mood"].val.extend([Value(string_val="")] * 3)
    answer = by_name(computer.stub.GetOnlineFeatures(request, timeout=20))
    assert [(cell.value, cell.status) for cell in answer["doubled"]] == [
        *((4.0, "PRESENT"), (1.0, "PRESENT"), (None, "NULL_VALUE"))
    ]


@pytest.mark.parametrize(
    ("reference", "code"),
    [("in_python:totl", grpc.StatusCode.NOT_FOUND), ("in_pythn:total", grpc.StatusCode.NOT_FOUND)],
)
def test_names_that_are_nearly_right(computer: Client, reference: str, code: grpc.StatusCode) -> None:
    """An on-demand view or feature that is not there is NOT_FOUND with what it may have meant."""
    found, details = refused(computer.stub.GetOnlineFeatures, features_request([reference], as_values(sent([1]))))
    assert (found, "Did you mean" in details) == (code, True)


def test_versions_are_those_of_the_views_that_are_read(computing: Repo, computer: Client) -> None:
    """include_feature_view_version_metadata names the sources, as Feast does."""
    request = features_request(["in_python:total"], as_values(sent([1])), include_feature_view_version_metadata=True)
    found = computer.stub.GetOnlineFeatures(request, timeout=20).metadata.feature_view_metadata
    assert [one.name for one in found] == ["bird_flight"]


def vectors(client: Client, **request: Any) -> GetVectorsResponse:
    """What `GetVectors` answers."""
    call = client.channel.unary_unary("/pedigree.serving.v1.FeatureService/GetVectors")
    found: GetVectorsResponse = GetVectorsResponse.FromString(
        call(GetVectorsRequest(**request).SerializeToString(), timeout=20)
    )
    return found


KEYS = [
    Keys(name="bird_id", ints=[1, 404, 8]),
    Keys(name="wind", values=[OwnValue(double_val=0.5)] * 3),
    Keys(name="crowd", ints=[1, 20, 0]),
    Keys(name="mood", strings=["calm", "sad", ""]),
]


@pytest.mark.parametrize("precision", ["PRECISION_DOUBLE", "PRECISION_FLOAT"])
def test_a_matrix_has_on_demand_numbers_last(computer: Client, precision: str) -> None:
    """GetVectors: on-demand numbers are the last columns, texts are beside them, and statuses say what is missing and why."""
    names = ["in_python:total", "bird_flight:tries", "in_python:title", "in_python:is_safe", "bird_flight:colour"]
    reply = vectors(computer, features=FeatureNames(names=names), keys=KEYS, precision=precision)
    assert list(reply.names) == ["bird_flight__tries", "in_python__total", "in_python__is_safe"]
    numbers = np.array(reply.values or reply.floats).reshape(3, 3)
    assert numbers[0].tolist() == [3, 2.0, 1]
    assert np.isnan(numbers[1]).tolist() == [True, True, False]
    assert numbers[2, [0, 2]].tolist() == [2, 0]
    assert np.isnan(numbers[2, 1])
    assert reply.statuses == bytes([1, 1, 1, 3, 3, 1, 1, 2, 1])
    colour, title = reply.others
    assert (colour.name, title.name, title.statuses) == ("bird_flight__colour", "in_python__title", bytes([1, 1, 1]))
    assert [value.string_val for value in title.values] == ["brown/3", "None/None", "red/2"]


def test_provenance_is_that_of_the_sources(computer: Client) -> None:
    """GetVectors with provenance tells of every view that was read, sources too, once."""
    names = FeatureNames(names=["in_python:total", "bird_weight:nickname", "aged:grams"])
    reply = vectors(computer, features=names, keys=KEYS, include_provenance=True)
    assert [one.view for one in reply.provenance] == ["bird_weight", "bird_flight"]
    fresh = int(FRESH.timestamp() * 1e6)
    assert list(reply.provenance[1].event_times_us) == [fresh, 0, fresh]


def test_the_python_client_sends_request_data(computer: Client) -> None:
    """The client for Python sends floats, whole numbers and texts beside the keys."""
    with OwnClient(computer.address) as client:
        data: dict[str, Any] = {
            "bird_id": [1, 2],
            "wind": np.array([0.5, 1.0]),
            "crowd": [1, 2],
            "mood": ["calm", "sad"],
        }
        found = client.vectors(["in_python:total", "in_python:is_safe"], data)
    assert found.numbers.tolist() == [[2.0, 1.0], [0.75, 0.0]]


def test_vectors_without_request_data_are_refused(computer: Client) -> None:
    """GetVectors tells what request data is missing, is sent twice, or is of another type."""
    names = FeatureNames(names=["in_python:total"])
    for keys, named in (
        (KEYS[:1], "'wind' (DOUBLE) is missing"),
        ([*KEYS, KEYS[1]], "'wind' was sent twice"),
        ([*KEYS[:3], Keys(name="mood", ints=[1, 2, 3])], "'mood' is STRING"),
    ):
        with pytest.raises(grpc.RpcError) as caught:
            vectors(computer, features=names, keys=keys)
        assert (caught.value.code(), named in caught.value.details()) == (grpc.StatusCode.INVALID_ARGUMENT, True)


def explain(client: Client, service: str, feature: str) -> ExplainResponse:
    """What `Explain` answers."""
    call = client.channel.unary_unary("/pedigree.serving.v1.FeatureService/Explain")
    request = ExplainRequest(feature_service=service, feature=feature, entity={"bird_id": OwnValue(int64_val=1)})
    found: ExplainResponse = ExplainResponse.FromString(call(request.SerializeToString(), timeout=20))
    return found


def test_explain_names_what_a_feature_was_computed_from(computer: Client) -> None:
    """Explain of an on-demand feature says what it is computed from, and explains that by the same service."""
    with pytest.raises(grpc.RpcError) as caught:
        explain(computer, "renamed", "sums:total")
    assert caught.value.code() is grpc.StatusCode.UNIMPLEMENTED
    assert "request data, too: wind); explain bird_flight:height of the same service" in caught.value.details()
    assert explain(computer, "renamed", "bird_flight:height").value.double_val == 1.5


def test_the_command_explain_names_what_a_feature_was_computed_from(computing: Repo, computer: Client) -> None:
    """`pedigree explain` of an on-demand feature says what the server says, whether or not request data is given with the key."""
    row = typed_row(decoded(plan_text(computing)), "renamed", {"bird_id": "1", "wind": "0.5"})
    with pytest.raises(AskedInVainError, match="explain bird_flight:height of the same service"):
        explain_command(computer.address, "renamed", "sums:total", row)
    with pytest.raises(UnexplainedError, match="The row of bird_flight__height was pushed"):
        explain_command(computer.address, "renamed", "bird_flight:height", row)


def test_lineage_has_the_sources_of_on_demand_features(computing: Repo) -> None:
    """What `pedigree serve` declares: a computed feature is made of each stored feature that its function reads."""
    service = decoded(plan_text(computing)).services["renamed"]
    sources = sources_of(service, "flightless", "redis://127.0.0.1")
    made = vectors_of("flightless", service, [], sources)
    found = {name: [(one.dataset.name, one.field) for one in origins] for name, origins in made.origins.items()}
    assert [field for _, field in found["sums__total"]] == ["height"]
    assert [field for _, field in found["aged__known_as"]] == ["nickname"]
    assert "bird_flight" in found["sums__total"][0][0]


def test_statuses_of_on_demand_features_are_counted(computing: Repo, computer: Client) -> None:
    """What the sampler counts of a reply is by the on-demand view's own name."""
    plan = decoded(plan_text(computing))
    selection = CurrentPlan.of(plan).selection(None, ["aged:grams", "bird_weight:nickname"], full_names=True)
    request = features_request(
        ["aged:grams", "bird_weight:nickname"], as_values({"bird_id": [1, 404]}), full_feature_names=True
    )
    reply = computer.stub.GetOnlineFeatures(request, timeout=20).SerializeToString()
    assert statuses_of_features(reply, selection) == {
        ("bird_weight", "PRESENT"): 1,
        ("bird_weight", "NOT_FOUND"): 1,
        ("aged", "PRESENT"): 1,
        ("aged", "NOT_FOUND"): 1,
    }
    names = FeatureNames(names=["aged:grams", "bird_weight:nickname"])
    matrix = vectors(computer, features=names, keys=[Keys(name="bird_id", ints=[1, 404])]).SerializeToString()
    assert statuses_of_vectors(matrix, selection) == statuses_of_features(reply, selection)


def plan_text(repo: Repo) -> bytes:
    """The plan beside the rows."""
    with redis.Redis(port=repo.redis.port) as store:
        text: bytes = store.get("flightless:plan")
        return text


def test_plans_come_back_as_they_were(computing: Repo) -> None:
    """A plan with on-demand views is written and read without a difference."""
    compiled = compile_plan(computing.store.registry.proto(), "flightless")
    assert decoded(encoded(compiled)) == compiled == decoded(plan_text(computing))


DAMAGE: dict[str, Any] = {
    "an operation that there is not": lambda view: view["program"].update(
        outputs=[["grams", ["eval", ["const", "1"]]]]
    ),
    "an input that there is not": lambda view: view["program"].update(outputs=[["grams", ["input", 99]]]),
    "a mode that there is not": lambda view: view["program"].update(mode="spark"),
    "a feature that is not made": lambda view: view["features"].append(["more", "DOUBLE"]),
    "a type that is not computed": lambda view: view["features"][0].__setitem__(1, "MAP"),
    "a source that is not there": lambda view: view["inputs"][1].__setitem__(1, 7),
    "an input of no kind": lambda view: view["inputs"][1].__setitem__(0, "secret"),
    "an input that is of another type": lambda view: view["inputs"][1].__setitem__(3, "BYTES"),
    "no program": lambda view: view.pop("program"),
    "a bomb": lambda view: view["program"].update(steps=[["add", *[["const", 1]] * 2]] * 3000),
}


@pytest.mark.parametrize("damage", DAMAGE)
def test_a_damaged_plan_is_refused(computing: Repo, damage: str) -> None:
    """A plan whose on-demand view was tampered with is an error to read, and nothing else."""
    parts = json.loads(plan_text(computing))
    decoded(json.dumps(parts))
    DAMAGE[damage](parts["on_demand"]["aged"])
    with pytest.raises(PlanError, match="Run `feast apply`"):
        decoded(json.dumps(parts))


def test_a_server_keeps_serving_when_its_plan_is_tampered_with(computing: Repo) -> None:
    """A running server refuses a plan with an unknown operation and serves on by the good one."""
    text = plan_text(computing)
    parts = json.loads(text)
    parts["on_demand"]["aged"]["program"]["outputs"] = [["grams", ["eval", ["const", "1"]]]]
    settings = computing.settings(plan_every=timedelta(milliseconds=20))
    with running(settings) as client, redis.Redis(port=computing.redis.port) as store:
        store.set("flightless:plan", json.dumps(parts))
        sleep(0.3)
        answer = ours(client, ["aged:grams"], {"bird_id": [1]})
        store.set("flightless:plan", text)
    assert answer["grams"] == [Cell(2500.0, "PRESENT", None)]


class Poison:
    """Unpickled, it would leave a file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (self.path,)


@pytest.mark.parametrize("mode", ["pandas", "python"])
def test_code_in_the_registry_is_not_run(computing: Repo, tmp_path: Path, mode: str) -> None:
    """Malicious text and a malicious pickle in the registry run nothing, neither as the plan is compiled nor as it is served."""
    trap = tmp_path / "sprung"
    registry = Registry()
    registry.CopyFrom(computing.store.registry.proto())
    [view] = [one for one in registry.on_demand_feature_views if one.spec.name == "aged"]
    udf = view.spec.feature_transformation.user_defined_function
    udf.body = pickle.dumps(Poison(trap))
    view.spec.mode = udf.mode = mode
    evil = f"__import__('pathlib').Path({str(trap)!r}).touch()"
    texts = [
        f"{evil}\ndef aged(inputs):\n    return {{'grams': 1.0}}",
        f"@(lambda f: {evil})\ndef aged(inputs, more={evil}) -> {evil}:\n    {evil}\n    return inputs",
        f"def aged(inputs):\n    return {{'grams': {evil}, 'is_heavy': True, 'known_as': ''}}",
        f"def aged(inputs):\n    class Evil:\n        x = {evil}\n    return inputs",
        "",
    ]
    for text in texts:
        udf.body_text = text
        plan = compile_plan(registry, "flightless")
        assert "aged" not in plan.on_demand
        assert decoded(encoded(plan)).reasons["aged"].startswith("its function cannot be compiled")
    harmless = (
        "assign(grams=inputs['weight_avg_1d'], is_heavy=inputs['weight_avg_1d'] > 1, known_as=inputs['nickname'])"
    )
    udf.body_text = f"{evil}\n@(lambda f: {evil})\ndef aged(inputs):\n    return inputs[['nickname']].{harmless}"
    plan = compile_plan(registry, "flightless")
    assert ("aged" in plan.on_demand) is (mode == "pandas")
    assert not trap.exists()


def test_kinds_that_are_not_served_are_told(computing: Repo) -> None:
    """Views that are disabled, written to the store, aggregate, or are in another mode are refused, each with what to do."""
    registry = Registry()
    registry.CopyFrom(computing.store.registry.proto())
    views_by_name = {one.spec.name: one.spec for one in registry.on_demand_feature_views}
    views_by_name["aged"].disabled = True
    views_by_name["per_hop"].write_to_online_store = True
    views_by_name["in_pandas"].aggregations.add(column="tries", function="sum")
    views_by_name["copied_in_pandas"].mode = "substrait"
    views_by_name["in_python"].sources["bird_flight"].feature_view_projection.feature_view_name = "nobody"
    views_by_name["of_two_views"].features[0].value_type = ValueType.Enum.DOUBLE_LIST
    plan = compile_plan(registry, "flightless")
    assert plan.refused["aged"] is Refusal.DISABLED
    assert plan.refused["in_python"] is Refusal.MISSING
    assert "write_to_online_store" in plan.reasons["per_hop"]
    assert "aggregations" in plan.reasons["in_pandas"]
    assert "its mode is substrait" in plan.reasons["copied_in_pandas"]
    assert "meals_per_visit is DOUBLE_LIST" in plan.reasons["of_two_views"]
    assert plan.services["renamed"].refused == {"aged": Refusal.DISABLED, "in_python": Refusal.MISSING}


def test_feast_apply_warns_of_what_cannot_be_compiled(computing: Repo, caplog: pytest.LogCaptureFixture) -> None:
    """`feast apply` names each on-demand view that will not be served, and why."""
    store = computing.store
    publish_plan(store.config, store._get_provider().online_store.opened(store.config))
    [line] = [record.getMessage() for record in caplog.records if "on-demand" in record.getMessage()]
    assert line.startswith("the on-demand feature view 'bird_backwards' is not served: its function cannot be compiled")


def permitted(computing: Repo, *stored: Permission) -> PermissionRules:
    """The rules of a plan with permissions."""
    registry = Registry()
    registry.CopyFrom(computing.store.registry.proto())
    for permission in stored:
        registry.permissions.add().CopyFrom(permission.to_proto())
        registry.permissions[-1].spec.project = "flightless"
    return PermissionRules.of(compile_plan(registry, "flightless"))


def test_an_on_demand_view_needs_a_permission_of_its_kind_and_for_its_sources(computing: Repo) -> None:
    """As with Feast's server, an on-demand view needs permissions for it, by its kind, and for what it is computed from."""
    who = Principal("kiwi", frozenset({"reader"}), frozenset(), frozenset())
    read: dict[str, Any] = {"policy": RoleBasedPolicy(["reader"]), "actions": [AuthzedAction.READ_ONLINE]}
    on_demand = Permission("computed", types=[OnDemandFeatureView], **read)
    stored = Permission("stored", types=[FeatureView], **read)
    service = Permission("service", types=[FeatureService], name_patterns=["renamed"], **read)
    permitted(computing, on_demand, stored).permit(who, Asked("", ["aged:grams"]))
    permitted(computing, on_demand, stored).permit(who, Asked("renamed"))
    permitted(computing, service).permit(who, Asked("renamed"))
    for some in ([on_demand], [stored], [service]):
        with pytest.raises(DeniedError):
            permitted(computing, *some).permit(who, Asked("", ["aged:grams"]))
    with pytest.raises(DeniedError):
        permitted(computing, stored).permit(who, Asked("renamed"))
