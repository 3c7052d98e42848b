"""`pedigree doctor`: what is wrong with what is set up here, before it makes an answer wrong."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import click

from pedigree.cli.errors import PedigreeError


@dataclass(frozen=True, slots=True)
class Finding:
    """What one check has found; `problem` is empty where all is well."""

    about: str
    state: str
    problem: str = ""


@click.command()
def doctor() -> None:
    """Look for what is set up wrong: whether the online store answers, and whether it would drop rows."""
    findings = [finding for check in CHECKS for finding in check()]
    for one in findings:
        click.echo(f"{'ok ' if not one.problem else 'BAD'} {one.about}: {one.problem or one.state}")
    bad = sum(bool(one.problem) for one in findings)
    if bad:
        raise PedigreeError(f"{bad} of {len(findings)} checks failed. Nothing was changed.")


def online_store() -> Iterator[Finding]:
    """Whether Redis answers, and keeps what it is given."""
    import redis.exceptions

    from pedigree.online.address import reason_of
    from pedigree.online.eviction import policy_problem
    from pedigree.online.redis_store import RedisStore
    from pedigree.serving.feature_store_yaml import read_repo
    from pedigree.serving.settings import serving_settings

    repo = read_repo(serving_settings().feature_store_yaml)
    about = f"online store {repo.address}"
    redis_store = RedisStore.open(repo.project, repo.address)
    try:
        memories = redis_store.memories()
    except redis.exceptions.RedisError as error:
        yield Finding(about, "", f"it does not answer ({reason_of(error)}). Start it (on a laptop: pedigree up)")
        return
    finally:
        redis_store.close()
    yield Finding(about, "it answers")
    policies = ", ".join(sorted({one.policy for one in memories or ()}))
    yield Finding(f"eviction of {about}", f"it evicts no rows ({policies})", policy_problem(memories) or "")


CHECKS: tuple[Callable[[], Iterator[Finding]], ...] = (online_store,)
