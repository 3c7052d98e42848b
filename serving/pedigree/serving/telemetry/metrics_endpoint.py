"""Where Prometheus comes to read: /metrics, of all processes of a server together."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from prometheus_client import CollectorRegistry, start_http_server
from prometheus_client.multiprocess import MultiProcessCollector, mark_process_dead

from pedigree.serving.errors import AddressTakenError

FOLDER = "PROMETHEUS_MULTIPROC_DIR"
SETTING = "PEDIGREE_SERVING_METRICS_ADDRESS"


@contextmanager
def metrics_of(folder: Path, address: str) -> Iterator[str]:
    """Serve what the processes that count in `folder` have counted; yields the address with the port that was taken."""
    registry = CollectorRegistry()
    MultiProcessCollector(registry, path=str(folder))  # type: ignore[no-untyped-call]
    with metrics_at(address, registry) as taken:
        yield taken


@contextmanager
def metrics_at(address: str, registry: CollectorRegistry) -> Iterator[str]:
    """Serve a registry; yields the address with the port that was taken.

    Raises:
        AddressTakenError: something else listens there.
    """
    host, _, port = address.rpartition(":")
    try:
        server, thread = start_http_server(int(port), host.strip("[]"), registry=registry)
    except OSError as error:
        raise AddressTakenError(address, SETTING) from error
    try:
        yield f"{host}:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


@contextmanager
def counting_folder() -> Iterator[Path]:
    """An empty folder to count in, gone afterwards."""
    with tempfile.TemporaryDirectory(prefix="pedigree-metrics-") as folder:
        yield Path(folder)


def ended(folder: Path, process: int) -> None:
    """A process has ended: what it had under way is no more; what it counted stays counted."""
    mark_process_dead(process, str(folder))  # type: ignore[no-untyped-call]
