"""The embedded lineage backend as a process: `python -m lineage.server [--host …] [--port …]`."""

from __future__ import annotations

import argparse
import logging
import signal
from collections.abc import Sequence
from types import FrameType

import uvicorn

from lineage.backend.api import application
from lineage.backend.tables import open_database
from lineage.settings import LineageSettings, lineage_settings

GRACE_SECONDS = 5


def serve(settings: LineageSettings, *, host: str, port: int) -> None:
    """Answer until SIGTERM or SIGINT; calls that are being answered are answered first."""
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, stopped)  # uvicorn stops gracefully first and then raises the signal once more
    engine = open_database(settings.database)
    config = uvicorn.Config(
        application(engine, api_key=settings.api_key),
        host=host,
        port=port,
        log_level="warning",
        access_log=False,
        timeout_graceful_shutdown=GRACE_SECONDS,
    )
    try:
        uvicorn.Server(config).run()
    finally:
        engine.dispose()


def stopped(_: int, __: FrameType | None) -> None:
    """Having been told to stop is no failure."""
    raise SystemExit(0)


def main(arguments: Sequence[str] | None = None) -> None:
    """Host and port come from PEDIGREE_LINEAGE_URL unless they are given."""
    settings = lineage_settings()
    parser = argparse.ArgumentParser(prog="python -m lineage.server", description=__doc__)
    parser.add_argument("--host", default=settings.host)
    parser.add_argument("--port", type=int, default=settings.port)
    chosen = parser.parse_args(arguments)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s %(message)s")
    serve(settings, host=chosen.host, port=chosen.port)


if __name__ == "__main__":
    main()
