"""`pedigree ask` and `explain`: what the server answers for one entity row, and where a value came from."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from pedigree.cli.errors import KeyTypesUnreadError
from pedigree.cli.lineage.lineage_commands import lineage_client

if TYPE_CHECKING:
    from pedigree.serving.settings import ServingSettings
    from pedigree.serving.v1.value_pb2 import Value


class KeyValue(click.ParamType[tuple[str, str]]):
    """`key=value`."""

    name = "key=value"

    def convert(self, value: str, param: click.Parameter | None, ctx: click.Context | None) -> tuple[str, str]:
        """The key and the value."""
        key, sign, rest = value.partition("=")
        if not key or not sign or not rest:
            self.fail(f"{value!r} is no key=value, such as customer=C42.", param, ctx)
        return key, rest


@click.command()
@click.argument("service")
@click.argument("entities", nargs=-1, type=KeyValue(), metavar="KEY=VALUE...")
def ask(*, service: str, entities: tuple[tuple[str, str], ...]) -> None:
    """Show what is served for one entity row: every feature of SERVICE, its status and its event time.

    Example: pedigree ask my_service customer=C42
    """
    from pedigree.cli.console import engines_to_log

    with engines_to_log() as console:
        from pedigree.cli.online.online_client import ask as ask_server
        from pedigree.cli.online.online_client import vector_table
        from pedigree.serving.settings import serving_settings

        settings = serving_settings()
        row = entity_row(settings, service, entities)
        console.print(vector_table(ask_server(settings.address, service, row)))


@click.command()
@click.argument("service")
@click.argument("feature")
@click.argument("entities", nargs=-1, type=KeyValue(), metavar="KEY=VALUE...")
def explain(*, service: str, feature: str, entities: tuple[tuple[str, str], ...]) -> None:
    """Show where a served value came from: FEATURE (view:feature) of SERVICE for one entity row.

    Example: pedigree explain my_service my_view:my_feature customer=C42
    """
    from pedigree.cli.console import engines_to_log

    with engines_to_log() as console, lineage_client():  # lineage that waits on disk is delivered
        from pedigree.cli.online.explain import drawn
        from pedigree.cli.online.explain import explain as ask_server
        from pedigree.serving.settings import serving_settings

        settings = serving_settings()
        row = entity_row(settings, service, entities)
        console.print(drawn(ask_server(settings.address, service, feature, row)), soft_wrap=True)


def entity_row(settings: ServingSettings, service: str, texts: tuple[tuple[str, str], ...]) -> dict[str, Value]:
    """What was typed for an entity row, each value of its key's type.

    Raises:
        KeyTypesUnreadError: the online store, which has the types, does not answer.
        NotAppliedError: nothing was applied yet.
        EntityRowError: a text is no value of its key's type.
    """
    from pedigree.cli.online.entity_row import typed_row
    from pedigree.cli.serving_plan import current_plan
    from pedigree.serving.errors import StoreUnreachableError
    from pedigree.serving.feature_store_yaml import read_repo

    repo = read_repo(settings.feature_store_yaml)
    try:
        plan = current_plan(repo)
    except StoreUnreachableError as error:
        raise KeyTypesUnreadError(str(repo.address), error.reason) from error
    return typed_row(plan, service, dict(texts))
