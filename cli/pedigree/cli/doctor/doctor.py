"""`pedigree doctor`: what is wrong with what is set up here, before it makes an answer wrong. It changes nothing."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass

import click

from pedigree.cli.errors import PedigreeError
from pedigree.cli.roles import missing_role
from pedigree.cli.told_errors import told
from pedigree.lineage.redaction import redacted


@dataclass(frozen=True, slots=True)
class Finding:
    """What one check has found; `problem` says what is wrong and what to do, and is empty where all is well."""

    about: str
    state: str
    problem: str = ""


Check = Callable[[], Iterator[Finding]]


@click.command()
@click.option("--json", "as_json", is_flag=True, help="Print the findings as JSON.")
@click.option("--spark", "starts_spark", is_flag=True, help="Start a Spark session as well, which takes a while.")
def doctor(*, as_json: bool, starts_spark: bool) -> None:
    """Look for what is set up wrong, and say what to do about it. Nothing is changed."""
    findings = [finding for check in checks(starts_spark=starts_spark) for finding in found_by(check)]
    if as_json:
        click.echo(json.dumps([asdict(one) for one in findings], indent=2))
    else:
        for one in findings:
            click.echo(f"{'ok ' if not one.problem else 'BAD'} {one.about}: {one.problem or one.state}")
    bad = sum(bool(one.problem) for one in findings)
    if bad:
        raise PedigreeError(f"{bad} of {len(findings)} checks failed. Nothing was changed.")


def checks(*, starts_spark: bool) -> tuple[Check, ...]:
    """Every check, in the order in which one needs what another looks at."""
    from pedigree.cli.doctor import doctor_checks as known

    spark = (known.spark_session,) if starts_spark else ()
    return (
        known.versions,
        known.java,
        known.jars,
        *spark,
        known.places,
        known.registry,
        known.online_store,
        known.server,
        known.lineage_backend,
        known.outbox,
    )


def found_by(check: Check) -> Iterator[Finding]:
    """What a check finds; an error that is told to users is a finding, and a role that is not installed is none's fault."""
    about = check.__name__.replace("_", " ")
    try:
        yield from check()
    except ModuleNotFoundError as error:
        role = missing_role(error)
        if role is None:
            raise
        yield Finding(about, f"not installed ({role.extra})")
    except Exception as error:
        known = told(error)
        if known is None:
            raise
        yield Finding(about, "", redacted(known.message))
