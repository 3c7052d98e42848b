"""The embedded lineage backend as a process: `python -m lineage.server [--host …] [--port …]`."""

from __future__ import annotations

import argparse
import logging
import os
import signal
import threading
from collections.abc import Sequence
from types import FrameType

import sqlalchemy as sa
import uvicorn

from lineage.backend.api import application
from lineage.backend.call import Limits
from lineage.backend.tables import open_database
from lineage.settings import LineageSettings, lineage_settings

GRACE_SECONDS = 5
IDLE_SECONDS = 0.5

log = logging.getLogger(__name__)


def serve(settings: LineageSettings, *, host: str, port: int) -> None:
    """Answer until SIGTERM or SIGINT; calls that are being answered are answered first, within `GRACE_SECONDS`."""
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, stopped)  # uvicorn stops gracefully first and then raises the signal once more
    engine = open_database(settings.database)
    limits = Limits(settings.max_event_bytes, settings.max_event_members)
    config = uvicorn.Config(
        application(engine, api_key=settings.api_key, limits=limits),
        host=host,
        port=port,
        log_level="warning",
        access_log=False,
        timeout_graceful_shutdown=GRACE_SECONDS,
    )
    try:
        uvicorn.Server(config).run()
    finally:
        leave(engine)


def leave(engine: sa.Engine) -> None:
    """Give the database back; what still takes an event would keep the process for as long as that lasts.

    Its transaction is never committed, so nothing is half stored, and its sender, who has no answer, sends it again.
    """
    workers = [each for each in threading.enumerate() if each is not threading.main_thread() and not each.daemon]
    for worker in workers:
        worker.join(IDLE_SECONDS)  # one that does nothing has been told to end
    if any(worker.is_alive() for worker in workers):
        log.warning("Stopped while a call was being answered. Nothing of it is stored.")
        logging.shutdown()
        os._exit(0)
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
