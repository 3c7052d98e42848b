"""Real Redis in more than one piece: a cluster, a master with a replica and a sentinel, and TLS in front of one."""

from __future__ import annotations

import asyncio
import ssl
import subprocess
import threading
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import redis
from redis.crc import key_slot

from pedigree.serving.settings import Tls

from .redis_server import BINARY, RedisServer, answers, free_port, wait_for

SLOTS = 16384
CLUSTERED = ("--cluster-enabled", "yes", "--cluster-node-timeout", "1000", "--cluster-announce-ip", "127.0.0.1")


@contextmanager
def started(folder: Path, *options: str, port: int | None = None) -> Iterator[RedisServer]:
    """A Redis in a folder of its own."""
    folder.mkdir(parents=True)
    server = RedisServer(folder, options=options, port=port or free_port())
    server.start()
    try:
        yield server
    finally:
        server.kill()


@dataclass(frozen=True, slots=True)
class Cluster:
    """A cluster whose masters have each a third of the slots.

    Attributes:
        nodes: the masters first.
        announced: the ports by which clients know them, where those are others than their own.
    """

    nodes: Sequence[RedisServer]
    announced: Sequence[int]

    @property
    def address(self) -> str:
        """What a connection string says of it."""
        return ",".join(f"127.0.0.1:{port}" for port in self.announced)

    def node_of(self, key: bytes) -> RedisServer:
        """The master that has a key now."""
        alive = next(node for node in self.nodes if node.process is not None)
        slots = self.call(alive, "SLOTS")
        [port] = [place[1] for first, last, place, *_ in slots if first <= key_slot(key) <= last]
        return self.nodes[self.announced.index(port)]

    def call(self, node: RedisServer, *parts: Any) -> Any:
        """What a node says to a command of CLUSTER."""
        with redis.Redis(port=node.port) as client:
            return client.execute_command("CLUSTER", *parts)

    def id_of(self, node: RedisServer) -> str:
        """A node's name among nodes."""
        return str(self.call(node, "MYID").decode())

    def start_moving(self, key: bytes, target: RedisServer) -> RedisServer:
        """Begin to move the slot of a key; returns who had it."""
        slot, source = key_slot(key), self.node_of(key)
        self.call(target, "SETSLOT", slot, "IMPORTING", self.id_of(source))
        self.call(source, "SETSLOT", slot, "MIGRATING", self.id_of(target))
        return source

    def move_keys(self, key: bytes, target: RedisServer) -> None:
        """Move what is in the slot of a key."""
        slot, source = key_slot(key), self.node_of(key)
        with redis.Redis(port=source.port) as client:
            for one in client.execute_command("CLUSTER", "GETKEYSINSLOT", slot, 1000):
                client.migrate("127.0.0.1", target.port, one, 0, 5000)

    def end_moving(self, key: bytes, target: RedisServer) -> None:
        """Give the slot of a key to its new master, and tell the others."""
        for node in (target, *self.nodes):
            self.call(node, "SETSLOT", key_slot(key), "NODE", self.id_of(target))


def ranges(nodes: int) -> list[tuple[int, int]]:
    """The first and last slot of each node."""
    bounds = [SLOTS * number // nodes for number in range(nodes + 1)]
    return [(first, last - 1) for first, last in pairwise(bounds)]


@contextmanager
def clustered(folder: Path, *, replicated: bool = False, tls: Tls | None = None) -> Iterator[Cluster]:
    """A cluster of three masters; `replicated`: each with a replica; `tls`: by which alone clients are told to come."""
    with ExitStack() as stack:
        nodes, announced = [], []
        for number in range(6 if replicated else 3):
            port = free_port()
            announced.append(stack.enter_context(with_tls(port, tls)) if tls else port)
            options = ("--cluster-announce-port", str(announced[-1]), "--cluster-announce-bus-port", str(port + 10_000))
            nodes.append(stack.enter_context(started(folder / str(number), *CLUSTERED, *options, port=port)))
        cluster = Cluster(nodes, announced)
        for node, (first, last) in zip(nodes[:3], ranges(3), strict=True):
            cluster.call(node, "ADDSLOTS", *range(first, last + 1))
        for node in nodes:
            cluster.call(nodes[0], "MEET", "127.0.0.1", node.port)
        for node in nodes:
            wait_for(lambda node=node: is_whole(cluster, node))
        for master, replica in zip(nodes, nodes[3:], strict=False):
            cluster.call(replica, "REPLICATE", cluster.id_of(master))
            wait_for(lambda replica=replica: has_all(replica))
        yield cluster


def has_all(replica: RedisServer) -> bool:
    """Whether a replica follows its master."""
    with redis.Redis(port=replica.port) as client:
        return bool(client.info("replication").get("master_link_status") == "up")


def is_whole(cluster: Cluster, node: RedisServer) -> bool:
    """Whether a node knows all others, and that all slots are had."""
    info = cluster.call(node, "INFO")
    known = info if isinstance(info, dict) else dict(line.split(":") for line in info.decode().split())
    return (known["cluster_state"], known["cluster_known_nodes"]) == ("ok", str(len(cluster.nodes)))


@dataclass(frozen=True, slots=True)
class Watched:
    """A master and its replica, and the sentinel that watches them."""

    master: RedisServer
    replica: RedisServer
    sentinel: int
    password: str | None = None

    def asked(self) -> Any:
        """A client of the sentinel."""
        return redis.Redis(port=self.sentinel, password=self.password)

    def master_port(self) -> int:
        """Who the master is now, by the sentinel's word."""
        with self.asked() as client:
            return int(client.execute_command("SENTINEL", "GET-MASTER-ADDR-BY-NAME", "birds")[1])

    def wait_for_replica(self) -> None:
        """Wait until the replica has all that the master has, and the sentinel knows it."""
        with redis.Redis(port=self.master.port) as client:
            wait_for(lambda: client.wait(1, 1000) == 1)
        with self.asked() as client:
            wait_for(lambda: has_one_replica(client))


def has_one_replica(sentinel: Any) -> bool:
    """Whether the sentinel knows of a replica that it could make the master."""
    found = sentinel.sentinel_slaves("birds")
    return len(found) == 1 and found[0]["flags"] == "slave" and found[0]["master-link-status"] == "ok"


@contextmanager
def watched(folder: Path, password: str | None = None) -> Iterator[Watched]:
    """A master `birds` with a replica and a sentinel that is quick to judge, and may want a password."""
    port = free_port()
    config = folder / "sentinel.conf"
    with (
        started(folder / "master") as master,
        started(folder / "replica", "--replicaof", "127.0.0.1", str(master.port)) as replica,
    ):
        config.write_text(
            f"port {port}\nbind 127.0.0.1\ndir {folder}\nsentinel monitor birds 127.0.0.1 {master.port} 1\n"
            "sentinel down-after-milliseconds birds 300\nsentinel failover-timeout birds 2000\n"
            + (f"requirepass {password}\n" if password else "")
        )
        process = subprocess.Popen([BINARY, str(config), "--sentinel"], stdout=subprocess.DEVNULL)
        found = Watched(master, replica, port, password)
        try:
            wait_for(lambda: answers(port, password))
            found.wait_for_replica()
            yield found
        finally:
            process.kill()
            process.wait()


@contextmanager
def with_tls(port: int, tls: Tls) -> Iterator[int]:
    """TLS in front of a Redis that has none; the port where it is spoken."""
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=tls.client_ca)
    context.load_cert_chain(tls.cert, tls.key)
    if tls.client_ca:
        context.verify_mode = ssl.CERT_REQUIRED
    ready, found = threading.Event(), dict[str, Any]()

    async def serve() -> None:
        found["loop"], found["stop"] = asyncio.get_running_loop(), asyncio.Event()
        server = await asyncio.start_server(lambda *ends: joined(*ends, port=port), "127.0.0.1", 0, ssl=context)
        found["port"] = server.sockets[0].getsockname()[1]
        ready.set()
        await found["stop"].wait()
        server.close()

    thread = threading.Thread(target=asyncio.run, args=(serve(),))
    thread.start()
    assert ready.wait(10)
    try:
        yield found["port"]
    finally:
        found["loop"].call_soon_threadsafe(found["stop"].set)
        thread.join()


async def joined(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, *, port: int) -> None:
    """Hand bytes on in both directions until either end is gone."""
    plain_reader, plain_writer = await asyncio.open_connection("127.0.0.1", port)
    ends = [asyncio.create_task(handed_on(*pair)) for pair in ((reader, plain_writer), (plain_reader, writer))]
    await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
    for end in ends:
        end.cancel()
    for one in (writer, plain_writer):
        one.close()


async def handed_on(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Hand bytes on in one direction."""
    with suppress(OSError):
        while data := await reader.read(65536):
            writer.write(data)
            await writer.drain()
