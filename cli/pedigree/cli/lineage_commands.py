"""`pedigree lineage outbox` and `replay`: the events that have not arrived, and another try for those that were set aside."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import click

from pedigree.cli.errors import PedigreeError

if TYPE_CHECKING:
    from pedigree.lineage.outbox import Outbox


@click.command()
def outbox() -> None:
    """List the lineage events that have not arrived: what waits, what was parked or refused, and why."""
    from pedigree.lineage.outbox import Outbox
    from pedigree.lineage.settings import lineage_settings

    found = Outbox.open(lineage_settings())
    click.echo(
        f"{found.waiting()} waiting in {found.folder}, {len(found.parked())} parked, {len(found.rejected())} refused"
    )
    for line in undelivered(found):
        click.echo(line)


@click.command()
def replay() -> None:
    """Send the lineage events again that were parked or refused, after the backend or the events were mended."""
    from pedigree.lineage.outbox import Outbox
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
    if found.parked() or found.rejected():
        yield "`pedigree lineage replay` sends what was parked or refused again; delete what is not worth it."


def reason(path: Path) -> str:
    """Why an event was set aside."""
    try:
        return path.with_suffix(".reason").read_text().strip()
    except OSError:
        return "the reason was not kept"
