"""The process: how it starts, what it tells about itself, how it stops."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import grpc
import psutil
import pytest
from feast import FeatureStore
from google.protobuf.descriptor_pool import DescriptorPool
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha.proto_reflection_descriptor_database import ProtoReflectionDescriptorDatabase

from feature_repo.views import carrier_delays
from pedigree.serving.server import main
from pedigree.serving.settings import serving_settings

from ..distributions import ROOT
from ..redis_server import wait_for
from .conftest import Client, Repo, feast_stub
from .feast_requests import by_name, features_request
from .server_process import command, started

SERVING = health_pb2.HealthCheckResponse.SERVING
NOT_SERVING = health_pb2.HealthCheckResponse.NOT_SERVING


def test_a_stop_finishes_what_is_in_flight_and_takes_nothing_new(own_repo: Repo) -> None:
    """After SIGTERM health says NOT_SERVING, a new call is refused, the call in flight is answered, and the exit code is 0."""
    patient = {"PEDIGREE_SERVING_STORE_TIMEOUT": "60", "PEDIGREE_SERVING_DRAIN": "60"}
    with started(own_repo.path, **patient) as (process, address), grpc.insecure_channel(address) as channel:
        stub, health = feast_stub(channel), health_pb2_grpc.HealthStub(channel)
        watch = health.Watch(health_pb2.HealthCheckRequest(service="feast.serving.ServingService"), timeout=60)
        assert next(watch).status == SERVING
        with own_repo.redis.paused():
            in_flight = stub.GetOnlineFeatures.future(features_request("diet", {"bird_id": [1]}), timeout=60)
            assert health.Check(health_pb2.HealthCheckRequest(), timeout=20).status == SERVING
            process.send_signal(signal.SIGTERM)
            assert next(watch).status == NOT_SERVING
            watch.cancel()
            with grpc.insecure_channel(address) as late, pytest.raises(grpc.RpcError) as refused:
                feast_stub(late).GetOnlineFeatures(features_request("diet", {"bird_id": [1]}), timeout=20)
            assert refused.value.code() is grpc.StatusCode.UNAVAILABLE
            assert not in_flight.done()
        assert by_name(in_flight.result(timeout=20))["nickname"][0].value == "kiwi"
        assert process.wait(timeout=20) == 0


def test_two_servers_on_one_port_are_an_error(client: Client, repo: Repo) -> None:
    """A second server on a taken port ends with exit code 1 and one line that says so; the first goes on."""
    process = command(repo.path, client.address)
    out, err = process.communicate(timeout=60)
    assert (process.returncode, out) == (1, "")
    assert f"Cannot listen on {client.address}: the port is taken" in err
    assert "Traceback" not in err
    assert client.stub.GetOnlineFeatures(features_request("calendar"), timeout=20).results


def test_wrong_settings_are_an_error_before_anything_starts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Settings that cannot be used end with exit code 1 and one line that names each of them."""
    monkeypatch.setenv("PEDIGREE_SERVING_ADDRESS", "nowhere")
    monkeypatch.setenv("PEDIGREE_SERVING_MAX_ENTITIES", "many")
    monkeypatch.setenv("PEDIGREE_FEATURE_STORE_YAML", str(tmp_path / "none.yaml"))
    serving_settings.cache_clear()
    assert main() == 1
    out, err = capsys.readouterr()
    for name in ("PEDIGREE_SERVING_ADDRESS='nowhere'", "PEDIGREE_SERVING_MAX_ENTITIES='many'", "none.yaml"):
        assert name in err
    assert (out, err.count("\n")) == ("", 1)


def test_a_server_has_loaded_neither_spark_nor_our_jobs(repo: Repo, tmp_path: Path) -> None:
    """A process that opened a repository whose offline side is Spark's, listened and stopped, holds no module of it."""
    yaml = tmp_path / "feature_store.yaml"
    spark = "offline_store: {type: spark}\nbatch_engine: {type: pedigree.jobs.materialize.compute_engine.PedigreeSparkEngine}\n"
    yaml.write_text(repo.path.read_text().replace("offline_store: {type: file}\n", spark))
    FeatureStore(fs_yaml_file=yaml).registry.apply_feature_view(carrier_delays, "flightless")
    script = (
        "import asyncio, sys\n"
        "from pedigree.serving.worker import listening\n"
        "from pedigree.serving.settings import serving_settings\n"
        "async def once():\n"
        "    async with listening(serving_settings()) as server:\n"
        "        print(server.project)\n"
        "asyncio.run(once())\n"
        "others = ('pyspark', 'py4j', 'feast', 'pedigree.jobs', 'pedigree.features', 'pedigree.cli')\n"
        "print(sorted(name for name in sys.modules if name in others))\n"
    )
    named = {"PEDIGREE_FEATURE_STORE_YAML": str(yaml), "PEDIGREE_SERVING_ADDRESS": "127.0.0.1:0"}
    done = subprocess.run(
        [sys.executable, "-c", script],
        cwd=ROOT,
        env={**os.environ, **named},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.splitlines() == ["flightless", "[]"]


@pytest.mark.parametrize("name", ["", "liveness", "feast.serving.ServingService", "pedigree.serving.v1.FeatureService"])
def test_health_answers_by_name(client: Client, name: str) -> None:
    """Health is SERVING for the whole server, for liveness and for both services."""
    stub = health_pb2_grpc.HealthStub(client.channel)
    assert stub.Check(health_pb2.HealthCheckRequest(service=name), timeout=20).status == SERVING


def test_reflection_lists_and_describes_feast_s_service(client: Client) -> None:
    """A stock reflection client finds the service and health, and builds Feast's messages from what it is told alone."""
    database = ProtoReflectionDescriptorDatabase(client.channel)
    assert {"feast.serving.ServingService", "grpc.health.v1.Health"} <= set(database.get_services())
    pool = DescriptorPool(database)
    service = pool.FindServiceByName("feast.serving.ServingService")
    assert [method.name for method in service.methods] == ["GetFeastServingInfo", "GetOnlineFeatures"]
    request = service.methods_by_name["GetOnlineFeatures"].input_type
    assert request.full_name == "feast.serving.GetOnlineFeaturesRequest"
    assert pool.FindMessageTypeByName("feast.types.Value").fields_by_name["zoned_timestamp_val"].number == 48
    assert pool.FindServiceByName("grpc.health.v1.Health").methods_by_name["Check"]


def test_reflection_lists_and_describes_our_own_service(client: Client) -> None:
    """A stock reflection client can also call our own service, knowing nothing but the address."""
    database = ProtoReflectionDescriptorDatabase(client.channel)
    assert "pedigree.serving.v1.FeatureService" in database.get_services()
    service = DescriptorPool(database).FindServiceByName("pedigree.serving.v1.FeatureService")
    assert [method.name for method in service.methods] == ["GetVectors", "Explain"]
    entity = service.methods_by_name["Explain"].input_type.fields_by_name["entity"].message_type
    assert "unix_timestamp_val" in entity.fields_by_name["value"].message_type.fields_by_name


def test_a_worker_that_ends_is_replaced_and_none_outlives_the_server(repo: Repo, tmp_path: Path) -> None:
    """A worker that is killed is started anew while the others answer; once the server itself is killed, all of them end."""
    plan = {"PEDIGREE_SERVING_PLAN": str(tmp_path / "plan.json"), "PEDIGREE_SERVING_WORKERS": "2"}
    with started(repo.path, **plan) as (process, address):
        workers = psutil.Process(process.pid).children()
        assert len(workers) == 2
        workers[0].kill()
        wait_for(lambda: len([one for one in psutil.Process(process.pid).children() if one not in workers]) == 1)
        with grpc.insecure_channel(address) as channel:
            assert feast_stub(channel).GetOnlineFeatures(features_request("calendar"), timeout=20).results
        workers = psutil.Process(process.pid).children()
        process.kill()
        process.wait()
        wait_for(lambda: not [one for one in workers if one.is_running() and one.status() != psutil.STATUS_ZOMBIE])
