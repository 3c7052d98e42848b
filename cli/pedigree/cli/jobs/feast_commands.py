"""The stock Feast command line, run within this process, which has Feast imported and a Spark session open."""

from __future__ import annotations

import click
from feast.cli.cli import cli

from pedigree.cli.errors import FeastFailedError
from pedigree.jobs.settings import job_settings


def feast(*arguments: str) -> None:
    """What `feast -f <feature_store.yaml> <arguments>` does from the repository's root; it prints to stdout.

    Raises:
        FeastFailedError: it did not succeed.
    """
    yaml = str(job_settings().feature_store_yaml)
    try:
        cli(["-f", yaml, *arguments], standalone_mode=False)
    except (click.ClickException, SystemExit) as error:
        command = " ".join(("feast", "-f", yaml, *arguments))
        raise FeastFailedError(command, output=str(error)) from error
