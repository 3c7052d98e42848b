"""`pedigree tidy`: the online store without what nothing reads."""

from __future__ import annotations

from feast import FeatureStore
from rich.console import Console

from pedigree.cli.console import working
from pedigree.features.settings import repository_settings
from pedigree.online.apply import forget_lost
from pedigree.online.feast_plugin import open_redis_store
from pedigree.online.plans.plan_compiler import view_names
from pedigree.online.store.strays import find_strays, remove_strays


def tidy(console: Console, *, is_dry_run: bool) -> None:
    """Delete the rows of views that the registry no longer has, and records that nothing reads; say how many."""
    feast = FeatureStore(fs_yaml_file=repository_settings().feature_store_yaml)
    store = open_redis_store(feast.config)
    try:
        with working(console, 1) as (say, advance):
            looked = 0

            def tell(entities: int) -> None:
                nonlocal looked
                looked += entities
                say(f"tidy: {looked:,} entities")

            known, registry = store.views(), feast.registry.proto()
            if is_dry_run:
                found = find_strays(store, gone=known - view_names(registry, store.project))
            else:
                forget_lost(store, known, registry)
                found = remove_strays(store, tell)
            advance()
    finally:
        store.close()
    done = "are read by nothing" if is_dry_run else "were read by nothing and are deleted"
    console.print(f"  {found.records:,} records of {found.entities:,} entities {done}")
