"""The embedded lineage backend as a process: `python -m pedigree.lineage.server [--host …] [--port …]`."""

from __future__ import annotations

import argparse
import logging
import os
import signal
import sys
import threading
from collections.abc import Sequence
from types import FrameType

import sqlalchemy as sa
import uvicorn

from pedigree.lineage.backend.api import application
from pedigree.lineage.backend.request import Limits
from pedigree.lineage.backend.tables import open_database
from pedigree.lineage.errors import DatabaseUnusableError, ExposedError, LineageError, LineageSettingsError
from pedigree.lineage.loopback import is_reached_from_beyond
from pedigree.lineage.redaction import RedactingFormatter, redact_tracebacks, redacted, shown
from pedigree.lineage.settings import Insecurity, LineageSettings, lineage_settings

GRACE_SECONDS = 5
IDLE_SECONDS = 0.5

log = logging.getLogger(__name__)


def serve(settings: LineageSettings, *, host: str, port: int) -> None:
    """Answer until SIGTERM or SIGINT; calls that are being answered are answered first, within `GRACE_SECONDS`.

    Raises:
        ExposedError: anybody on other machines could read, write and delete.
        DatabaseUnusableError: the database cannot be opened.
    """
    refuse_exposed(settings, host)
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, stopped)  # uvicorn stops gracefully first and then raises the signal once more
    engine = opened(settings)
    key = settings.api_key.get_secret_value() if settings.api_key else None
    limits = Limits(settings.max_event_bytes, settings.max_event_members)
    config = uvicorn.Config(
        application(engine, api_key=key, limits=limits),
        host=host.strip("[]"),
        port=port,
        ssl_certfile=settings.tls_cert,
        ssl_keyfile=settings.tls_key,
        log_config=None,  # what it says goes through our own log
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


def refuse_exposed(settings: LineageSettings, host: str) -> None:
    """Raise where other machines reach the backend and it has no TLS or no key, unless the settings say that it may.

    Raises:
        ExposedError: it must not start.
    """
    try:
        is_exposed = is_reached_from_beyond(host)
    except OSError as error:
        raise LineageSettingsError([f"{host!r} is no address to listen on ({error})"]) from error
    lacking: dict[Insecurity, str] = {}
    if settings.tls_cert is None:
        lacking["no-tls"] = "without TLS (PEDIGREE_LINEAGE_TLS_CERT and PEDIGREE_LINEAGE_TLS_KEY)"
    if settings.api_key is None:
        lacking["no-key"] = "without a key (PEDIGREE_LINEAGE_API_KEY), so that anybody may delete"
    if is_exposed and not settings.insecure.issuperset(lacking):
        problems = [text for name, text in lacking.items() if name not in settings.insecure]
        raise ExposedError(host, problems, setting=",".join(lacking))


def opened(settings: LineageSettings) -> sa.Engine:
    """The backend's database.

    Raises:
        DatabaseUnusableError: it cannot be opened.
    """
    url = settings.database.get_secret_value()
    try:
        return open_database(url)
    except (sa.exc.SQLAlchemyError, ImportError, ValueError, OSError) as error:
        raise DatabaseUnusableError(shown(url), redacted(str(error).partition("\n")[0])) from None


def stopped(_: int, __: FrameType | None) -> None:
    """Having been told to stop is no failure."""
    raise SystemExit(0)


def main(arguments: Sequence[str] | None = None) -> None:
    """The command: an error that we know ends it with one line on stderr."""
    redact_tracebacks()
    handler = logging.StreamHandler()
    handler.setFormatter(RedactingFormatter("%(asctime)s %(levelname)s %(name)s %(message)s"))
    logging.basicConfig(level=logging.INFO, handlers=[handler])
    try:
        run(arguments)
    except LineageError as error:
        sys.exit(str(error))


def run(arguments: Sequence[str] | None) -> None:
    """Serve. Host and port come from PEDIGREE_LINEAGE_URL unless they are given."""
    settings = lineage_settings()
    parser = argparse.ArgumentParser(prog="python -m pedigree.lineage.server", description=__doc__)
    parser.add_argument("--host", default=settings.host)
    parser.add_argument("--port", type=int, default=settings.port)
    chosen = parser.parse_args(arguments)
    serve(settings, host=chosen.host, port=chosen.port)


if __name__ == "__main__":
    main()
