"""`pedigree lineage`: the graph behind the feature services, and the events that have not arrived."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import click

from pedigree.cli.errors import PedigreeError

if TYPE_CHECKING:
    from pedigree.lineage.client.client import LineageClient
    from pedigree.lineage.delivery.outbox import Outbox


@click.group(invoke_without_command=True)
@click.option("--node", default=None, help="A dataset or job, by id or name. [default: every feature service]")
@click.pass_context
def lineage(context: click.Context, *, node: str | None) -> None:
    """Draw what the feature services are made of, from the lineage backend."""
    if context.invoked_subcommand:
        return
    from pedigree.cli.console import engines_to_log

    with engines_to_log() as console, lineage_client() as client:
        from pedigree.cli.lineage.lineage_tree import drawn, node_named, service_graphs
        from pedigree.serving.settings import serving_settings

        for service, graph in service_graphs(serving_settings(), client).items():
            console.print(drawn(node_named(node, graph) if node else service, graph), soft_wrap=True)


@lineage.command()
def flush() -> None:
    """Deliver the lineage events that wait on disk."""
    from pedigree.lineage.delivery.outbox import Outbox
    from pedigree.lineage.settings import lineage_settings

    settings = lineage_settings()
    done = Outbox.open(settings).flush(60)
    click.echo(
        f"{done.delivered} delivered to {settings.url}, {done.waiting} waiting, {done.rejected} rejected, {done.parked} parked"
    )
    if done.waiting or done.rejected or done.parked:
        raise PedigreeError(
            f"Not everything could be delivered ({done.reason or 'see `pedigree lineage outbox`'}). "
            f"The events are kept in {settings.outbox}; start the backend (`pedigree up`) and run this again."
        )


@lineage.command()
def outbox() -> None:
    """List the lineage events that have not arrived: what waits, what was parked or refused, and why."""
    from pedigree.lineage.delivery.outbox import Outbox
    from pedigree.lineage.settings import lineage_settings

    found = Outbox.open(lineage_settings())
    click.echo(
        f"{found.waiting()} waiting in {found.folder}, {len(found.parked())} parked, {len(found.rejected())} refused"
    )
    for line in undelivered(found):
        click.echo(line)


@lineage.command()
def replay() -> None:
    """Send the lineage events again that were parked or refused, after the backend or the events were mended."""
    from pedigree.lineage.delivery.outbox import Outbox
    from pedigree.lineage.settings import lineage_settings

    found = Outbox.open(lineage_settings())
    aside = found.requeue()
    done = found.flush(60)
    click.echo(f"{aside} tried again: {done.delivered} delivered, {done.waiting} waiting, {done.rejected} refused")
    if done.waiting or done.rejected or done.parked:
        raise PedigreeError("\n".join(["Not everything could be delivered; it is kept.", *undelivered(found)]))


def undelivered(found: Outbox) -> Iterator[str]:
    """A line for each event that needs somebody's attention."""
    for name, attempt in found.failing().failed.items():
        yield f"waits, and holds the later events of its run: {name}: {attempt.reason}"
    for path in found.parked():
        yield f"parked: {path}: {reason(path)}"
    for path in found.rejected():
        yield f"refused: {path}: {reason(path)}"
    for path in found.half_written():
        yield f"half-written by a process that was killed, and never an event: {path}"
    if found.aside():
        yield "`pedigree lineage replay` sends what was parked or refused again; delete what is not worth it."


def reason(path: Path) -> str:
    """Why an event was set aside."""
    try:
        return path.with_suffix(".reason").read_text().strip()
    except OSError:
        return "the reason was not kept"


def lineage_client() -> LineageClient:
    """A client of the backend that the settings name, after what waits on disk was delivered."""
    from pedigree.lineage.client.client import LineageClient
    from pedigree.lineage.delivery.outbox import Outbox
    from pedigree.lineage.settings import lineage_settings

    Outbox.open(lineage_settings()).flush()
    return LineageClient(lineage_settings())


def tell_waiting() -> None:
    """Say so where lineage could not be delivered yet."""
    from pedigree.lineage.delivery.outbox import Outbox
    from pedigree.lineage.settings import lineage_settings

    settings = lineage_settings()
    kept = Outbox.open(settings)
    waiting, aside = kept.waiting(), len(kept.aside())
    if waiting:
        click.echo(
            f"{waiting} lineage events wait in {settings.outbox}, since {settings.url} does not answer or fails on them. They "
            "are delivered with the next run, or by `pedigree lineage flush` once the backend is up (`pedigree up`)."
        )
    if aside:
        click.echo(f"{aside} lineage events were set aside undelivered; `pedigree lineage outbox` says which and why.")
