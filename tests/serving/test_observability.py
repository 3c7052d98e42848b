"""What can be seen of a server: health, metrics, logs and traces; through the real process where it is about one."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import grpc
import httpx
import pytest
import redis
import yaml
from grpc_health.v1 import health_pb2, health_pb2_grpc
from prometheus_client import Counter, Gauge, Histogram
from prometheus_client.parser import text_string_to_metric_families

from pedigree.online.store.load_state import LoadState, LoadStatus
from pedigree.serving.telemetry import metrics

from ..distributions import ROOT
from ..redis_server import wait_for
from .birds import CLOCK_AT
from .conftest import Repo, feast_stub, running
from .feast_requests import by_name, features_request, refused
from .server_process import command, ended, started
from .token_issuer import issuing

DIET = features_request("diet", {"bird_id": [1, 404]})
SERVING = health_pb2.HealthCheckResponse.SERVING
NOT_SERVING = health_pb2.HealthCheckResponse.NOT_SERVING
TRACE, PARENT = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"


@dataclass(frozen=True, slots=True)
class Server:
    """A server process with its metrics."""

    process: subprocess.Popen[str]
    stub: Any
    metrics: str

    def value(self, name: str, **labels: str) -> float:
        """The sum of a metric's samples that have these labels."""
        families = text_string_to_metric_families(httpx.get(f"http://{self.metrics}/metrics", timeout=5).text)
        samples = [
            sample for family in families for sample in family.samples if sample.name == f"pedigree_serving_{name}"
        ]
        return sum(one.value for one in samples if labels.items() <= one.labels.items())


@contextmanager
def measured(repo: Repo, **more: str) -> Iterator[Server]:
    """A server with two processes that tells its metrics."""
    wanted = {"PEDIGREE_SERVING_METRICS_ADDRESS": "127.0.0.1:0", "PEDIGREE_SERVING_WORKERS": "2", **more}
    with started(repo.path, **wanted) as (process, address), grpc.insecure_channel(address) as channel:
        assert process.stdout is not None
        line = process.stdout.readline()
        yield Server(process, feast_stub(channel), line.removeprefix("metrics on ").strip())


def test_readiness_follows_the_store_and_liveness_does_not(own_repo: Repo) -> None:
    """While Redis stands still `readiness` is NOT_SERVING and the server alive; when it goes on, both are SERVING."""
    with running(own_repo.settings()) as client:
        stub = health_pb2_grpc.HealthStub(client.channel)

        def health(name: str) -> object:
            return stub.Check(health_pb2.HealthCheckRequest(service=name), timeout=20).status

        wait_for(lambda: health("readiness") == SERVING)
        with own_repo.redis.paused():
            wait_for(lambda: health("readiness") == NOT_SERVING)
            assert health("") == health("liveness") == SERVING
        wait_for(lambda: health("readiness") == SERVING)


def test_metrics_count_what_all_processes_did(repo: Repo) -> None:
    """Requests by RPC, service and code, reads, values by status, refusals, the plan and readiness are told at one place."""
    with measured(repo, PEDIGREE_SERVING_RATE="0.001", PEDIGREE_SERVING_BURST="3") as server:
        assert by_name(server.stub.GetOnlineFeatures(DIET, timeout=20))["nickname"][1].status == "NOT_FOUND"
        refused(server.stub.GetOnlineFeatures, features_request("dite"))
        refused(server.stub.GetOnlineFeatures, features_request(["season:nothing"]))
        refused(server.stub.GetOnlineFeatures, DIET)
        rpc = "feast.serving.ServingService/GetOnlineFeatures"
        assert server.value("request_seconds_count", rpc=rpc, service="diet", code="OK") == 1
        assert server.value("request_seconds_count", service="(unknown)", code="NOT_FOUND") == 1
        assert server.value("request_seconds_count", service="", code="NOT_FOUND") == 1
        assert server.value("request_seconds_count", service="diet", code="RESOURCE_EXHAUSTED") == 1
        assert server.value("refused_total", reason="rate") == 1
        assert server.value("store_seconds_count", outcome="read") >= 1
        for status in ("PRESENT", "NOT_FOUND"):
            assert server.value("sampled_values_total", view="bird_weight", status=status) == 3
        wait_for(lambda: server.value("ready") == 1)
        wait_for(lambda: server.value("plan_info") == 2)


def test_metrics_tell_how_old_views_are(own_repo: Repo) -> None:
    """The time since a view's newest event and its last load is told of views that nobody has asked for."""
    hour = 3_600_000_000
    now = int(CLOCK_AT.timestamp()) * 1_000_000
    mark = LoadState(LoadStatus.LOADED, newest_us=now - 2 * hour, loaded_us=now - hour)
    with redis.Redis(port=own_repo.redis.port) as store:
        before = store.hget("flightless:marks", "season")
        store.hset("flightless:marks", "season", mark.text())
        try:
            with measured(own_repo) as server:
                wait_for(lambda: server.value("view_newest_event_age_seconds", view="season") == 7200)
                assert server.value("view_loaded_age_seconds", view="season") == 3600
        finally:
            store.hset("flightless:marks", "season", before)


def test_metrics_show_what_is_under_way_and_that_the_store_is_away(own_repo: Repo) -> None:
    """Requests that wait for the store are counted while they do, however long a request may wait for it."""
    with measured(own_repo, PEDIGREE_SERVING_STORE_TIMEOUT="60") as server:
        wait_for(lambda: server.value("ready") == 1)
        with own_repo.redis.paused():
            waiting = [server.stub.GetOnlineFeatures.future(DIET, timeout=60) for _ in range(3)]
            wait_for(lambda: (server.value("active_requests"), server.value("ready")) == (3, 0))
        assert all(one.result(timeout=20).results for one in waiting)
        wait_for(lambda: (server.value("active_requests"), server.value("ready")) == (0, 1))


def test_an_address_of_metrics_that_is_taken_is_an_error(repo: Repo) -> None:
    """A server whose metrics cannot be told there ends with exit code 1 and the setting's name."""
    with measured(repo) as server:
        process = command(repo.path, "127.0.0.1:0", PEDIGREE_SERVING_METRICS_ADDRESS=server.metrics)
        out, err = process.communicate(timeout=60)
    assert (process.returncode, out) == (1, "")
    assert f"Cannot listen on {server.metrics}" in err
    assert "set PEDIGREE_SERVING_METRICS_ADDRESS to another address" in err


def names_in_use(text: str) -> set[str]:
    """Our metrics that a text names."""
    return set(re.findall(r"pedigree_serving_[a-z_]+", text))


def names_that_exist() -> set[str]:
    """The names of all samples that there can be."""
    found = set()
    for metric in vars(metrics).values():
        if isinstance(metric, (Counter, Gauge, Histogram)):
            [family] = metric.describe()
            endings = {"histogram": ("_bucket", "_sum", "_count"), "counter": ("_total",)}.get(family.type, ("",))
            found |= {family.name + ending for ending in endings}
    return found


@pytest.mark.parametrize("name", ["grafana.json", "alerts.yaml"])
def test_what_is_monitored_exists(name: str) -> None:
    """Every metric that the dashboard and the alerts name is one that the server tells."""
    text = (ROOT / "monitoring" / name).read_text()
    parsed = json.loads(text) if name.endswith("json") else yaml.safe_load(text)
    assert parsed
    assert names_in_use(text)
    assert names_in_use(text) <= names_that_exist()


def objects(text: str) -> list[dict[str, Any]]:
    """The JSON objects that a process wrote, one a line."""
    return [json.loads(line) for line in text.splitlines() if line.startswith("{")]


def trailing_id(stub: Any, *sent: tuple[str, str]) -> str:
    """The request id that a call gets back."""
    call = stub.GetOnlineFeatures.future(DIET, timeout=20, metadata=sent)
    call.exception()
    return str(dict(call.trailing_metadata())["x-request-id"])


def test_a_request_s_id_comes_back_and_is_in_the_log(own_repo: Repo) -> None:
    """A sane id is kept, another replaced; each line of the log is JSON, and those about a request have its id."""
    with started(own_repo.path, PEDIGREE_SERVING_WORKERS="1") as (process, address):
        with grpc.insecure_channel(address) as channel:
            stub = feast_stub(channel)
            assert trailing_id(stub, ("x-request-id", "order-66.b")) == "order-66.b"
            made = [trailing_id(stub), trailing_id(stub, ("x-request-id", 'x" } evil')), trailing_id(stub)]
            assert len(set(made)) == 3 and all(re.fullmatch("[0-9a-f]{12}-[0-9a-f]+", one) for one in made)
            with own_repo.redis.paused():
                assert trailing_id(stub, ("x-request-id", "late-1")) == "late-1"
        err = ended(process)
    lines = objects(err)
    ours = [line for line in err.splitlines() if not re.match(r"(WARNING: All log|[EFIW]\d{4} )", line)]
    assert len(lines) == len(ours), "gRPC's core may add lines of its own"
    assert [line["message"] for line in lines if line.get("request_id") == "late-1"] == [
        "the online store cannot be read: no reply within 0.5 s"
    ]
    assert {"at", "level", "logger", "process"} <= lines[0].keys()


def test_secrets_are_not_in_the_log(repo: Repo, tmp_path: Path) -> None:
    """Neither a token, right or wrong, nor the store's password is in the log of a server that refuses and is refused."""
    yaml_file = tmp_path / "feature_store.yaml"
    yaml_file.write_text(
        repo.path.read_text().replace(f':{repo.redis.port}"', f':{repo.redis.port},password=hunter2secret"')
    )
    with issuing() as issuer:
        named = {
            "PEDIGREE_SERVING_AUTH_JWKS": issuer.url,
            "PEDIGREE_SERVING_AUTH_ISSUER": "https://issuer.example/realms/birds",
            "PEDIGREE_SERVING_AUTH_AUDIENCE": "feature-server",
            "PEDIGREE_SERVING_PLAN": str(repo.path.with_name("plan.json")),
        }
        tokens = (issuer.token(), issuer.token(exp=1))
        with running(repo.settings()), started(yaml_file, **named) as (process, address):
            with grpc.insecure_channel(address) as channel:
                for token in tokens:
                    metadata = (("authorization", f"Bearer {token}"),)
                    refused(feast_stub(channel).GetOnlineFeatures, DIET, metadata=metadata)
            err = ended(process)
    assert "refused us" in err and "ExpiredSignatureError" in err
    for secret in ("hunter2secret", *(part for token in tokens for part in token.split("."))):
        assert secret not in err


def spans_of(repo: Repo, metadata: Sequence[tuple[str, str]], request: Any = DIET) -> list[dict[str, Any]]:
    """The spans that a server tells of one request."""
    wanted = {"PEDIGREE_SERVING_TRACES": "console", "PEDIGREE_SERVING_WORKERS": "1"}
    with started(repo.path, **wanted) as (process, address):
        with grpc.insecure_channel(address) as channel:
            feast_stub(channel).GetOnlineFeatures.future(request, timeout=20, metadata=metadata).exception()
        return [line for line in objects(ended(process)) if "context" in line]


def test_a_request_is_a_span_within_its_caller_s(repo: Repo) -> None:
    """The span of a request that bears a `traceparent` is the caller's child, and says what was asked and how it ended."""
    [span] = spans_of(repo, (("traceparent", f"00-{TRACE}-{PARENT}-01"), ("x-request-id", "r1")))
    assert (span["context"]["trace_id"], span["parent_id"]) == (f"0x{TRACE}", f"0x{PARENT}")
    assert span["name"] == "feast.serving.ServingService/GetOnlineFeatures"
    told_of = span["attributes"]
    assert (told_of["pedigree.service"], told_of["pedigree.request_id"]) == ("diet", "r1")
    assert (told_of["rpc.method"], told_of["rpc.grpc.status_code"]) == ("GetOnlineFeatures", 0)


def test_a_request_that_fails_is_a_span_with_its_code(repo: Repo) -> None:
    """A refused request's span has its code, and no caller where none was told; it is an error where the server is at fault."""
    for request, code, status in (
        (features_request("dite"), 5, "UNSET"),
        (features_request(["bird_weight@v1:nickname"]), 12, "ERROR"),
    ):
        [span] = spans_of(repo, (), request)
        assert (span["attributes"]["rpc.grpc.status_code"], span["parent_id"]) == (code, None)
        assert span["status"]["status_code"] == status


@pytest.mark.skipif(
    bool(find_spec("opentelemetry.exporter") and find_spec("opentelemetry.exporter.otlp")),
    reason="it is installed here",
)
def test_traces_that_cannot_be_sent_are_said_at_start(repo: Repo) -> None:
    """Asked for by our setting, they end the start; by OpenTelemetry's own name, the log says so and requests are answered."""
    process = command(repo.path, "127.0.0.1:0", PEDIGREE_SERVING_TRACES="otlp")
    out, err = process.communicate(timeout=60)
    assert (process.returncode, out) == (1, "")
    assert (
        "PEDIGREE_SERVING_TRACES='otlp': traces cannot be sent: the OTLP exporter is not installed (pip install" in err
    )
    with started(repo.path, OTEL_EXPORTER_OTLP_ENDPOINT="http://127.0.0.1:1") as (process, address):
        with grpc.insecure_channel(address) as channel:
            assert feast_stub(channel).GetOnlineFeatures(DIET, timeout=20).results
        err = ended(process)
    assert "the OTLP exporter is not installed" in err and "serving goes on without them" in err


def test_nothing_of_it_is_loaded_where_it_is_not_wanted() -> None:
    """A server without metrics and traces has loaded neither Prometheus' client nor OpenTelemetry."""
    script = (
        "import sys, pedigree.serving.worker, pedigree.serving.server\n"
        "print(sorted({'prometheus_client', 'opentelemetry'} & {name.partition('.')[0] for name in sys.modules}))\n"
    )
    done = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"
