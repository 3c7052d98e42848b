"""Names with anything in them work through every door, or are refused before anything is loaded."""

from __future__ import annotations

from uuid import uuid4

import pandas as pd
import pytest
from feast import Entity, FeatureView, Field, ValueType
from feast.types import Int64, String

from pedigree.jobs import delta_tables
from pedigree.jobs.gate_mark import CommitMark

from .loaded_shop import Shop
from .purchases import DAY, START

NAMES = {
    "two underscores": "a__b",
    "a dot": "a.b",
    "a colon": "a:b",
    "a backtick": "a`b",
    "quotes": "a\"b'c",
    "no ASCII": "größe_価格",
    "a keyword": "select",
    "another keyword": "order",
    "a number": "1",
    "a hyphen": "a-b",
    "a dollar": "$a",
    "a percent sign": "a%b",
    "a name of ours": "load",
    "upper case": "Amount",
}

SIGNS = ("a dot", "a backtick", "a colon")
QUICK = (("a dot", "feature"), ("a backtick", "key"))


def quoted(name: str) -> str:
    return "`" + name.replace("`", "``") + "`"


def publish(shop: Shop, key: str, feature: str, value: int) -> None:
    """A row that passed the gate."""
    mark = CommitMark.of_gate(shop.uri, run_id=str(uuid4()), rows=1).text()
    times = "TIMESTAMP '2026-01-01' AS event_at, TIMESTAMP '2026-01-01' AS created_at"
    frame = shop.spark.sql(f"SELECT 'k' AS {quoted(key)}, {times}, {value}L AS {quoted(feature)}")
    write = frame.write.format("delta").option("userMetadata", mark).option(delta_tables.CHANGE_FEED, "true")
    write.mode("overwrite").save(shop.uri)


def declare(shop: Shop, key: str, feature: str) -> None:
    entity = Entity(name="thing", join_keys=[key], value_type=ValueType.STRING)
    view = FeatureView(
        name="purchases",
        entities=[entity],
        schema=[Field(name=key, dtype=String), Field(name=feature, dtype=Int64)],
        source=shop.source,
    )
    shop.store.apply([entity, view])


def served(shop: Shop, key: str, feature: str) -> int:
    """What Feast's SDK answers."""
    answer = shop.store.get_online_features([f"purchases:{feature}"], [{key: "k"}]).to_dict()
    return int(answer[feature][0])


@pytest.mark.parametrize(
    ("name", "place"),
    [
        pytest.param(name, place, marks=[] if (label, place) in QUICK else [pytest.mark.slow], id=f"{label} as {place}")
        for label, name in NAMES.items()
        for place in ("feature", "key")
        if place == "feature" or label in SIGNS
    ],
)
def test_a_name_is_only_a_name(shop: Shop, name: str, place: str) -> None:
    """It is loaded, follows a change, is rolled back, pushed, served, and trained on by either engine."""
    key, feature = (name, "f") if place == "key" else ("k", name)
    publish(shop, key, feature, 7)
    declare(shop, key, feature)
    shop.load()
    assert served(shop, key, feature) == 7
    publish(shop, key, feature, 8)
    shop.load()
    assert served(shop, key, feature) == 8
    shop.rollback()
    assert served(shop, key, feature) == 7
    labels = pd.DataFrame({key: ["k"], "event_timestamp": [START + pd.Timedelta(days=9)]})
    for engine in ("auto", "spark"):
        shop.store.config.offline_store.engine = engine
        found = shop.store.get_historical_features(labels, [f"purchases:{feature}"]).to_df()
        assert found[feature].tolist() == [8], engine
    frame = pd.DataFrame({key: ["k"], feature: [9], "event_at": [START + DAY], "created_at": [START + DAY]})
    shop.store.write_to_online_store("purchases", frame)
    assert served(shop, key, feature) == 9
