"""The names of keys: an entity's is told from all others by its form alone."""

from __future__ import annotations

import pytest

from pedigree.online.store import redis_keys

OTHERS = (
    redis_keys.marks_key("shop"),
    redis_keys.loads_key("shop"),
    redis_keys.last_load_key("shop"),
    redis_keys.progress_key("shop"),
    redis_keys.open_loads_key("shop"),
    redis_keys.alive_key("shop", 3),
    redis_keys.evictions_key("shop"),
    redis_keys.schemas_key("shop"),
    redis_keys.plan_key("shop"),
)


@pytest.mark.parametrize("key", OTHERS)
def test_no_other_key_is_taken_for_an_entitys(key: bytes) -> None:
    """A project that is forgotten takes the keys of its entities by their form; the open loads' key has colons in braces."""
    assert not redis_keys.is_entity_key(key)


@pytest.mark.parametrize("join_keys", [[], ["customer"], ["a{b", "c:d"]])
@pytest.mark.parametrize("value", [b"", b"a:b", b"{x}", b"\xff{"])
def test_every_entitys_key_is_told(join_keys: list[str], value: bytes) -> None:
    """Whatever its join keys are called, and whatever bytes its values are."""
    assert redis_keys.is_entity_key(redis_keys.entity_key(redis_keys.entity_prefix("shop", join_keys), [value]))
