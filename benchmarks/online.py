"""Online reads: requests per second and their tail against Feast's servers, a bare Redis and a bare gRPC, on the same rows.

50 features in five views for 1 and for 100 entities, closed loop by `h2load` (Debian: nghttp2-client); the tail in an open loop.
Every server's replies are compared with what was written before it is measured.
Feast's Go server is measured where FEAST_GO_SERVER names its binary. `QUICK=1`: fewer entities and shorter rounds.
"""

from __future__ import annotations

import asyncio
import gc
import json
import os
import re
import shutil
import signal
import statistics
import struct
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import partial
from itertools import cycle
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import psutil
import pyarrow as pa
from feast import Entity, FeatureService, FeatureStore, FeatureView, Field, FileSource, ValueType
from feast.infra.online_stores.helpers import get_online_store_from_config
from feast.protos.feast.types.EntityKey_pb2 import EntityKey
from feast.protos.feast.types.Value_pb2 import Value as FeastValue
from feast.types import Float32, Int64

from benchmarks.servers import Redis, free_port, waiting_for
from pedigree.online.plans.view_definitions import schema_of
from pedigree.online.records import batch_encoder
from pedigree.online.store import redis_keys
from pedigree.online.store.address import parse
from pedigree.online.store.load_state import Load, LoadState, LoadStatus
from pedigree.online.store.redis_store import RedisStore
from pedigree.serving.store.redis_client import SingleRedis
from pedigree.serving.v1 import pedigree_pb2
from pedigree.serving.v1.serving_pb2 import GetOnlineFeaturesRequest, GetOnlineFeaturesResponse
from pedigree.serving.v1.value_pb2 import RepeatedValue, Value

QUICK = bool(os.environ.get("QUICK"))
ENTITIES = 2_000 if QUICK else 20_000
SECONDS = 2 if QUICK else 8
ROUNDS = 1 if QUICK else 3
TAIL_ROUNDS, TAIL_SECONDS = (2, 2) if QUICK else (9, 3)
VIEWS, FEATURES = 5, 10
CONNECTIONS = 8
LISTEN = "/GrpcFeatureServer/GetOnlineFeatures"
"""What `feast listen` calls it; the message is the same."""
ONLINE = "/feast.serving.ServingService/GetOnlineFeatures"
VECTORS = "/pedigree.serving.v1.FeatureService/GetVectors"
NOW = datetime.now(UTC).replace(microsecond=0) - timedelta(minutes=5)


@dataclass(frozen=True, slots=True)
class Server:
    """A server under measurement: where it listens, the processes whose CPU counts, the RPC that is called, and for how much."""

    name: str
    address: str
    pids: tuple[int, ...]
    method: str = ONLINE
    sizes: tuple[str, ...] = ("1", "100")

    def call(self, size: str, asked: Mapping[str, bytes]) -> tuple[str, bytes]:
        """The RPC, and its message; who is bare is asked for the same entities, whatever it replies."""
        if self.name == "ours":
            return VECTORS if size == "vectors_100" else ONLINE, asked[size]
        return self.method, asked[size.removeprefix("vectors_")]


@dataclass(frozen=True, slots=True)
class Measured:
    """Requests a second, and the server's CPU for each, in microseconds."""

    rps: float
    cpu_us: float


def definitions() -> list[Any]:
    """Five views of ten features about one entity, and a service of all."""
    entity = Entity(name="customer", join_keys=["customer_id"], value_type=ValueType.INT64)
    views = [
        FeatureView(
            name=f"customer_activity_{number}",
            entities=[entity],
            ttl=timedelta(days=1),
            schema=[
                Field(name="customer_id", dtype=Int64),
                *(Field(name=f"spend_{number}_{place}", dtype=Float32) for place in range(FEATURES)),
            ],
            source=FileSource(name=f"source_{number}", path="none.parquet", timestamp_field="event_at"),
        )
        for number in range(VIEWS)
    ]
    return [entity, *views, FeatureService(name="everything", features=views)]


def matrix() -> np.ndarray[Any, np.dtype[np.float32]]:
    """The value of every feature of every entity."""
    return np.random.default_rng(7).random((ENTITIES, VIEWS * FEATURES), np.float32)


def feast_repo(folder: Path, port: int) -> FeatureStore:
    """Feast's own layout, filled through Feast's own store."""
    folder.mkdir()
    path = folder / "feature_store.yaml"
    path.write_text(
        f"project: bench\nprovider: local\nregistry: {folder}/registry.db\n"
        f"online_store: {{type: redis, connection_string: '127.0.0.1:{port}'}}\n"
        "offline_store: {type: file}\nentity_key_serialization_version: 3\n"
    )
    store = FeatureStore(fs_yaml_file=path)
    store.apply(definitions())
    online, values = get_online_store_from_config(store.config.online_store), matrix()
    for number in range(VIEWS):
        view = store.get_feature_view(f"customer_activity_{number}")
        rows = [
            (
                EntityKey(join_keys=["customer_id"], entity_values=[FeastValue(int64_val=entity)]),
                {
                    f"spend_{number}_{place}": FeastValue(float_val=values[entity, number * FEATURES + place])
                    for place in range(FEATURES)
                },
                NOW,
                None,
            )
            for entity in range(ENTITIES)
        ]
        for start in range(0, ENTITIES, 2000):
            online.online_write_batch(store.config, view, rows[start : start + 2000], None)
    return store


def our_repo(folder: Path, port: int) -> Path:
    """Our layout, of the same values."""
    folder.mkdir()
    path = folder / "feature_store.yaml"
    path.write_text(
        f"project: bench\nprovider: local\nregistry: {{registry_type: sql, path: 'sqlite:///{folder}/registry.db'}}\n"
        f"online_store: {{type: pedigree.online.feast_plugin.PedigreeOnlineStore, connection_string: '127.0.0.1:{port}'}}\n"
        "offline_store: {type: file}\nentity_key_serialization_version: 3\n"
    )
    store = FeatureStore(fs_yaml_file=path)
    store.apply(definitions())
    bank, values = RedisStore.open("bench", parse(f"127.0.0.1:{port}")), matrix()
    for number in range(VIEWS):
        view = store.get_feature_view(f"customer_activity_{number}")
        batch = pa.record_batch(
            {
                "customer_id": pa.array(np.arange(ENTITIES)),
                "event_at": pa.array([NOW] * ENTITIES, pa.timestamp("us", "UTC")),
                **{
                    f"spend_{number}_{place}": pa.array(values[:, number * FEATURES + place])
                    for place in range(FEATURES)
                },
            }
        )
        load = bank.begin(Load(view.name, "bench", "bench", 0))
        records = batch_encoder.records(
            batch, schema_of(view), event="event_at", created=None, load=load, encode=no_other
        )
        keys = batch_encoder.keys(
            batch, redis_keys.entity_prefix("bench", ["customer_id"]), [("customer_id", "INT64")], no_other
        )
        bank.write(redis_keys.field(view.name, 0), list(zip(keys.to_pylist(), records.to_pylist(), strict=True)))
        bank.set_mark(view.name, LoadState(LoadStatus.LOADED, load=load, version=0))
        bank.strike_off([load])
    bank.close()
    return path


def no_other(kind: str, _values: Sequence[Any]) -> Sequence[bytes | None]:
    """No feature here is of another type."""
    raise AssertionError(kind)


@contextmanager
def process(command: Sequence[str], port: int, **environment: str) -> Iterator[psutil.Process]:
    """A server process that listens on a port."""
    with tempfile.TemporaryFile() as log:
        started = subprocess.Popen(command, env={**os.environ, **environment}, stdout=log, stderr=log)
        try:
            waiting_for(port, started)
            yield psutil.Process(started.pid)
        finally:
            if started.poll() is None:
                parent = psutil.Process(started.pid)
                family = [parent, *parent.children(recursive=True)]
                started.send_signal(signal.SIGTERM)
                for one in psutil.wait_procs(family, timeout=15)[1]:
                    one.kill()
                started.wait()


@contextmanager
def ours(yaml: Path, folder: Path) -> Iterator[Server]:
    """Our server, one process per core."""
    port = free_port()
    settings = {
        "PEDIGREE_FEATURE_STORE_YAML": str(yaml),
        "PEDIGREE_SERVING_ADDRESS": f"127.0.0.1:{port}",
        "PEDIGREE_SERVING_PLAN": str(folder / "plan.json"),
    }
    with process([sys.executable, "-m", "pedigree.serving.server"], port, **settings) as found:
        time.sleep(2)
        yield Server("ours", f"127.0.0.1:{port}", pids_of(found), sizes=("1", "100", "vectors_100"))


@contextmanager
def feast_listen(folder: Path) -> Iterator[Server]:
    """Feast's Python gRPC server."""
    port = free_port()
    feast = str(Path(sys.executable).with_name("feast"))
    command = [feast, "-f", str(folder / "feature_store.yaml"), "listen", "--address", f"127.0.0.1:{port}"]
    with process(command, port, FEAST_USAGE="False") as found:
        yield Server("feast_listen", f"127.0.0.1:{port}", pids_of(found), LISTEN)


@contextmanager
def feast_go(folder: Path, binary: str) -> Iterator[Server]:
    """Feast's Go server, from a binary that somebody built."""
    port = free_port()
    command = [
        binary,
        "-type",
        "grpc",
        "-host",
        "127.0.0.1",
        "-port",
        str(port),
        "-chdir",
        str(folder),
        "-metrics-port",
        "-1",
    ]
    with process(command, port) as found:
        yield Server("feast_go", f"127.0.0.1:{port}", pids_of(found))


@contextmanager
def bare(size: str, reply: Path, *redis: int) -> Iterator[Server]:
    """Python gRPC that answers every call with the same bytes, and asks nobody or reads Redis: what no Python server can pass."""
    port = free_port()
    command = [sys.executable, "-m", "benchmarks.bare", str(port), str(reply), *map(str, redis)]
    with process(command, port) as found:
        time.sleep(2)  # until the other process listens, too
        yield Server("bare_read" if redis else "bare_grpc", f"127.0.0.1:{port}", pids_of(found), sizes=(size,))


def pids_of(found: psutil.Process) -> tuple[int, ...]:
    """A server's processes."""
    return (found.pid, *(child.pid for child in found.children(recursive=True)))


def cpu_seconds(pids: Sequence[int]) -> float:
    """The CPU that processes have used."""
    times = [psutil.Process(pid).cpu_times() for pid in pids]
    return float(sum(one.user + one.system for one in times))


def request(entities: Sequence[int]) -> bytes:
    """Feast's own request."""
    column = RepeatedValue(val=[Value(int64_val=entity) for entity in entities])
    asked = GetOnlineFeaturesRequest(feature_service="everything", entities={"customer_id": column})
    return bytes(asked.SerializeToString())


def vector_request(entities: Sequence[int]) -> bytes:
    """Ours, for numbers of four bytes, which is what these features are."""
    asked = pedigree_pb2.GetVectorsRequest(
        feature_service="everything",
        keys=[pedigree_pb2.Keys(name="customer_id", ints=entities)],
        precision=pedigree_pb2.PRECISION_FLOAT,
    )
    return bytes(asked.SerializeToString())


def verify(server: Server) -> None:
    """Every value of some replies is what was written."""
    values = matrix()
    some = np.random.default_rng(11).choice(ENTITIES, 100, replace=False).tolist()
    with grpc.insecure_channel(server.address) as channel:
        for entities in (some[:1], some):
            reply = GetOnlineFeaturesResponse.FromString(
                channel.unary_unary(server.method)(request(entities), timeout=30)
            )
            order = {name: place for place, name in enumerate(reply.metadata.feature_names.val)}
            for number in range(VIEWS * FEATURES):
                name = f"spend_{number // FEATURES}_{number % FEATURES}"
                column = reply.results[order[name]]
                assert [value.float_val for value in column.values] == values[entities, number].tolist(), server.name
            if server.name == "ours":
                dense = pedigree_pb2.GetVectorsResponse.FromString(
                    channel.unary_unary(VECTORS)(vector_request(entities), timeout=30)
                )
                assert list(dense.floats) == values[entities].ravel().tolist()


def closed_loop(server: Server, path: str, message: bytes, folder: Path) -> Measured:
    """As many requests as the server answers, from eight connections with one request each."""
    if shutil.which("h2load") is None:
        raise SystemExit("This benchmark needs h2load: apt install nghttp2-client")
    frame = folder / "frame"
    frame.write_bytes(b"\0" + struct.pack(">I", len(message)) + message)
    command = ["h2load", "-c", str(CONNECTIONS), "-m", "1", "-t", "1", "-D", str(SECONDS), "--warm-up-time", "1"]
    command += ["-d", str(frame), "-H", "content-type: application/grpc", "-H", "te: trailers"]
    before = cpu_seconds(server.pids)
    said = subprocess.run(
        [*command, f"http://{server.address}{path}"], capture_output=True, text=True, check=True
    ).stdout
    used = cpu_seconds(server.pids) - before
    done = int(re.search(r"(\d+) succeeded", said)[1])  # type: ignore[index]
    failed = int(re.search(r"(\d+) failed", said)[1])  # type: ignore[index]
    assert done, said
    assert not failed, said
    rps = float(re.search(r"finished in [\d.]+s, ([\d.]+) req/s", said)[1])  # type: ignore[index]
    return Measured(rps, used / (rps * (SECONDS + 1)) * 1e6)


async def open_loop(call: Any, rate: float, seconds: float) -> list[float]:
    """Milliseconds from when each request was due to its reply; requests come at a rate, whether or not replies do.

    Those that were refused, after a pause of the machine, are not among them.
    """
    loop, latencies, tasks = asyncio.get_running_loop(), [], []
    start = loop.time() + 0.1

    async def one(due: float) -> None:
        try:
            await call()
        except grpc.aio.AioRpcError as error:
            if error.code() is not grpc.StatusCode.CANCELLED:
                raise
            return
        latencies.append((loop.time() - due) * 1e3)

    for number in range(int(rate * seconds)):
        due = start + number / rate
        pause = due - loop.time()
        if pause > 0:
            await asyncio.sleep(pause)
        tasks.append(asyncio.create_task(one(due)))
    await asyncio.gather(*tasks)
    return latencies[len(latencies) // 10 :]


async def tails(server: Server, redis_port: int, rate: float) -> dict[str, float]:
    """p50 and p99 of one entity's 50 features, through the server and from a bare Redis, by the same client at the same rate.

    Medians of short rounds in turn, each with new connections: a pause of the machine, which is longer than any read, then counts
    for one round alone, and so does an uneven share of connections among the server's processes.
    """
    gc.collect()
    gc.freeze()  # what this process has loaded is not looked through while it measures
    client = SingleRedis(parse(f"127.0.0.1:{redis_port}"), patience=5.0)  # one connection, as a server has it
    key = redis_keys.entity_prefix("bench", ["customer_id"]) + Value(int64_val=7).SerializeToString()
    asked = [((key,), tuple(redis_keys.field(f"customer_activity_{number}", 0) for number in range(VIEWS)))]
    await client.hmget(asked)
    rounds: dict[str, list[float]] = {}
    for _ in range(TAIL_ROUNDS):
        measured = {
            "server": await through_server(server, rate),
            "redis": await open_loop(lambda: client.hmget(asked), rate, TAIL_SECONDS),
        }
        for name, latencies in measured.items():
            cut = statistics.quantiles(latencies, n=100)
            answered = len(latencies) / (int(rate * TAIL_SECONDS) * 0.9)
            told = {"p50_ms": cut[49], "p99_ms": cut[98], "refused": max(1 - answered, 0.0)}
            for what, value in told.items():
                rounds.setdefault(f"{name}_{what}", []).append(value)
    await client.close()
    return {name: round(statistics.median(values), 4) for name, values in rounds.items()}


async def through_server(server: Server, rate: float) -> list[float]:
    """Milliseconds of one entity's features through the server, over new connections."""
    message, own = request([7]), (("grpc.use_local_subchannel_pool", 1),)
    channels = [grpc.aio.insecure_channel(server.address, options=own) for _ in range(CONNECTIONS)]
    calls = cycle([channel.unary_unary(ONLINE) for channel in channels])
    await asyncio.gather(*(next(calls)(message) for _ in channels))
    latencies = await open_loop(lambda: next(calls)(message), rate, TAIL_SECONDS)
    await asyncio.gather(*(channel.close() for channel in channels))
    return latencies


def replies_of(yaml: Path, folder: Path) -> dict[str, Path]:
    """What our server answers, for the bare ones."""
    found = {name: folder / f"reply_{name}" for name in ("1", "100", "vectors_100")}
    some = list(range(100))
    with ours(yaml, folder) as server, grpc.insecure_channel(server.address) as channel:
        for name, entities in (("1", some[:1]), ("100", some)):
            found[name].write_bytes(channel.unary_unary(ONLINE)(request(entities), timeout=30))
        found["vectors_100"].write_bytes(channel.unary_unary(VECTORS)(vector_request(some), timeout=30))
    return found


def measure(servers: Sequence[Any], folder: Path) -> dict[str, Measured]:
    """Every server with one and with a hundred entities: the median of rounds, in turn, one server at a time."""
    rng = np.random.default_rng(3)
    found: dict[str, Measured] = {}
    hundred = rng.choice(ENTITIES, 100, replace=False).tolist()
    asked = {
        "1": request(hundred[:1]),
        "100": request(hundred),
        "vectors_100": vector_request(hundred),
    }
    rounds: dict[str, list[Measured]] = {}
    for number in range(ROUNDS):
        for opened in servers:
            with opened() as server:
                if number == 0 and not server.name.startswith("bare"):
                    verify(server)
                for size in server.sizes:
                    path, message = server.call(size, asked)
                    result = closed_loop(server, path, message, folder)
                    label = f"{server.name}_{size}"
                    rounds.setdefault(label, []).append(result)
                    print(
                        f"  {label:<20} {result.rps:>9,.0f} requests/s {result.cpu_us:>9,.0f} µs of CPU each",
                        flush=True,
                    )
    for label, results in rounds.items():
        found[label] = Measured(
            statistics.median(one.rps for one in results), statistics.median(one.cpu_us for one in results)
        )
    return found


def ratios(found: Mapping[str, Measured]) -> dict[str, float]:
    """How many times the requests per second of each peer."""
    told = {}
    for peer in ("feast_listen", "feast_go"):
        for size in ("1", "100"):
            if f"{peer}_{size}" in found:
                told[f"rps_vs_{peer}_{size}"] = round(found[f"ours_{size}"].rps / found[f"{peer}_{size}"].rps, 2)
        if f"{peer}_100" in found:
            told[f"vectors_vs_{peer}_100"] = round(found["ours_vectors_100"].rps / found[f"{peer}_100"].rps, 2)
    for size in ("1", "100", "vectors_100"):
        for floor in ("bare_grpc", "bare_read"):
            told[f"of_{floor}_{size}"] = round(found[f"ours_{size}"].rps / found[f"{floor}_{size}"].rps, 2)
            go = found.get(f"feast_go_{size.removeprefix('vectors_')}")
            if go:
                told[f"{floor}_vs_feast_go_{size}"] = round(found[f"{floor}_{size}"].rps / go.rps, 2)
    return told


def main() -> None:
    """Figures as JSON on the last line."""
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        theirs, mine = (stack.enter_context(Redis.running(folder / name)) for name in ("theirs", "mine"))
        empty = [one.used_memory() for one in (theirs, mine)]
        feast_repo(folder / "feast", theirs.port)
        yaml = our_repo(folder / "ours", mine.port)
        memory = [(one.used_memory() - was) / ENTITIES for one, was in zip((theirs, mine), empty, strict=True)]
        replies = replies_of(yaml, folder)
        servers = [partial(ours, yaml, folder), partial(feast_listen, folder / "feast")]
        for redis in ((), (mine.port,)):
            servers.extend(partial(bare, size, reply, *redis) for size, reply in replies.items())
        binary = os.environ.get("FEAST_GO_SERVER")
        if binary:
            servers.append(partial(feast_go, folder / "feast", binary))
        found = measure(servers, folder)
        with ours(yaml, folder) as server:
            rate = found["ours_1"].rps / 2
            tail = asyncio.run(tails(server, mine.port, rate))
    figures = {
        **ratios(found),
        "p99_vs_redis": round(tail["server_p99_ms"] / tail["redis_p99_ms"], 2),
        "p99_rate": round(rate),
        **tail,
        "memory_vs_feast": round(memory[1] / memory[0], 3),
        "bytes_per_entity": round(memory[1]),
        "feast_bytes_per_entity": round(memory[0]),
        **{f"{label}_rps": round(one.rps) for label, one in found.items()},
        **{f"{label}_cpu_us": round(one.cpu_us) for label, one in found.items()},
    }
    print(json.dumps(figures))


if __name__ == "__main__":
    main()
