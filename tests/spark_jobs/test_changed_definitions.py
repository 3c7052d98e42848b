"""A view, or its table, is another than when it was loaded: what is served is what is declared today, by the next load."""

from __future__ import annotations

import json
import os
import re
import shutil
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from delta.tables import DeltaTable
from feast import Entity, FeatureView, Field, ValueType
from feast.infra.offline_stores.contrib.spark_offline_store.spark_source import SparkSource
from feast.table_format import DeltaFormat
from feast.types import Float64, Int64, String

from pedigree.jobs import delta_tables
from pedigree.jobs.errors import SchemaBrokenError
from pedigree.jobs.gate_mark import CommitMark
from pedigree.online.store import redis_keys

from .loaded_shop import CUSTOMER, Shop
from .purchases import DAY, START

WIDE = "customer BIGINT, shop STRING, event_at TIMESTAMP, created_at TIMESTAMP, spend DOUBLE, paid DOUBLE, items BIGINT"
SHOP_KEY = Entity(name="shop", join_keys=["shop"], value_type=ValueType.STRING)
SPEND, ITEMS = Field(name="spend", dtype=Float64), Field(name="items", dtype=Int64)


def bought(customer: int, day: int, spend: float, *, shop: str = "north") -> tuple[Any, ...]:
    """A purchase, for which a tenth more was paid, of a hundred times as many items."""
    at = START + (day - 1) * DAY
    return customer, shop, at, at + DAY, spend, spend * 1.1, int(spend * 100)


def publish(
    shop: Shop, *rows: tuple[Any, ...], schema: str = WIDE, overwrite: bool = False, where: str | None = None
) -> None:
    """Rows that passed the gate, added to the table, in place of a part, or in place of all of it, columns and all."""
    frame = shop.spark.createDataFrame(list(rows), schema).coalesce(1)
    mark = CommitMark.of_gate(shop.uri, run_id=str(uuid4()), rows=len(rows)).text()
    write = frame.write.format("delta").option("userMetadata", mark).option(delta_tables.CHANGE_FEED, "true")
    if where is not None:
        write.mode("overwrite").option("replaceWhere", where).save(shop.uri)
        return
    (write.mode("overwrite").option("overwriteSchema", "true") if overwrite else write.mode("append")).save(shop.uri)


def declare(
    shop: Shop,
    *features: Field,
    keys: Sequence[Entity] = (CUSTOMER,),
    mapping: dict[str, str] | None = None,
    ttl: timedelta = timedelta(0),
    place: str | None = None,
) -> None:
    """Apply the view with these features, keys and columns."""
    source = SparkSource(
        name="purchases",
        path=place or shop.uri,
        table_format=DeltaFormat(),
        timestamp_field="event_at",
        created_timestamp_column="created_at",
        field_mapping=mapping,
    )
    columns = {"customer": Int64, "shop": String}
    joined = [Field(name=key.join_key, dtype=columns[key.join_key]) for key in keys]
    view = FeatureView(name="purchases", entities=list(keys), ttl=ttl, schema=[*joined, *features], source=source)
    shop.store.apply([*keys, view])


def served(loaded: Shop, *features: str, **key: Any) -> list[Any]:
    """What Feast reads of one key."""
    found = loaded.store.get_online_features([f"purchases:{name}" for name in features], [key]).to_dict()
    return [found[name][0] for name in features]


def stored(shop: Shop) -> int:
    """How many keys of the store have a field that holds rows of the view, in whatever place."""
    fields = {redis_keys.field("purchases", generation) for generation in range(20)}
    keys = [key for key in shop.redis_store.redis.scan_iter() if redis_keys.is_entity_key(key)]
    return sum(bool(fields & set(shop.redis_store.redis.hkeys(key))) for key in keys)


@pytest.fixture
def loaded(shop: Shop) -> Shop:
    """Two customers' purchases, loaded for their amounts alone."""
    publish(shop, bought(1, 1, 0.5), bought(1, 2, 0.75), bought(2, 1, 1.25, shop="south"))
    declare(shop, SPEND)
    shop.load()
    return shop


def test_a_feature_whose_column_was_there_all_along_is_served(loaded: Shop, caplog: pytest.LogCaptureFixture) -> None:
    """The same span is loaded anew for it, and a line says why; once more, and nothing is."""
    declare(loaded, SPEND, ITEMS)
    loaded.load()
    assert served(loaded, "spend", "items", customer=1) == [0.75, 75]
    assert "all of purchases is loaded anew, since its features, types, keys or columns have changed" in caplog.text
    before = loaded.mark.load
    caplog.clear()
    loaded.load()
    assert (loaded.mark.generation, loaded.mark.load) == (before, before + 1)
    assert "anew" not in caplog.text


def test_a_feature_that_reads_another_column_now_has_its_values(loaded: Shop) -> None:
    """A field mapping that names another column is another feature, though name and type are the same.

    Also where the table has a column of the feature's name.
    """
    for mapping, value in (({"spend": "amount"}, 1.25), ({"paid": "amount"}, 1.375)):
        declare(loaded, Field(name="amount", dtype=Float64), mapping=mapping)
        loaded.load()
        assert served(loaded, "amount", customer=2) == [pytest.approx(value)]
    declare(loaded, SPEND, mapping={"paid": "spend"})
    loaded.load()
    assert served(loaded, "spend", customer=2) == [pytest.approx(1.375)]


def test_a_feature_of_another_type_is_served_in_it(loaded: Shop) -> None:
    """Where a feature becomes a whole number, whole numbers are served, and no old record in the type of before."""
    declare(loaded, Field(name="spend", dtype=Int64), mapping={"items": "spend"})
    assert served(loaded, "spend", customer=1) == [None]
    loaded.load()
    assert served(loaded, "spend", customer=1) == [75]
    assert isinstance(served(loaded, "spend", customer=1)[0], int)


@pytest.mark.slow
def test_a_feature_that_is_taken_out_and_put_back_has_the_values_of_today(loaded: Shop) -> None:
    """What happened to its column while it was out is not missed."""
    declare(loaded, ITEMS)
    loaded.load()
    publish(loaded, bought(1, 3, 2.0))
    loaded.load()
    declare(loaded, SPEND)
    loaded.load()
    assert served(loaded, "spend", customer=1) == [2.0]


def test_a_second_key_finds_the_rows(loaded: Shop) -> None:
    """Rows move to where two keys put them, and none stays where one key had put it."""
    declare(loaded, SPEND, keys=(CUSTOMER, SHOP_KEY))
    loaded.load()
    assert served(loaded, "spend", customer=2, shop="south") == [1.25]
    assert served(loaded, "spend", customer=2, shop="north") == [None]
    assert stored(loaded) == 2


@pytest.mark.slow
def test_a_key_less_finds_the_newest_of_its_rows(loaded: Shop) -> None:
    """The other way round, and to no key at all."""
    declare(loaded, SPEND, keys=(SHOP_KEY,))
    loaded.load()
    assert served(loaded, "spend", shop="north") == [0.75]
    declare(loaded, SPEND, keys=())
    loaded.load()
    assert served(loaded, "spend", anything=1) == [0.75]
    assert stored(loaded) == 1


@pytest.mark.slow
def test_another_ttl_or_tag_loads_nothing(loaded: Shop, caplog: pytest.LogCaptureFixture) -> None:
    """What decides no value and no place is no other definition."""
    before = loaded.mark
    declare(loaded, SPEND, ttl=timedelta(days=400))
    loaded.load()
    assert (loaded.mark.generation, loaded.mark.definition) == (before.generation, before.definition)
    assert "anew" not in caplog.text


@pytest.mark.slow
def test_a_table_at_another_place_is_another(loaded: Shop, tmp_path: Path) -> None:
    """A view that reads another table now has that one's rows, also where versions and times of the two agree."""
    other = tmp_path / "other" / "purchases"
    publish(Shop(loaded.spark, other.parent, loaded.store, loaded.redis_store), bought(1, 1, 7.0))
    declare(loaded, SPEND, place=other.as_uri())
    loaded.load()
    assert (served(loaded, "spend", customer=1), served(loaded, "spend", customer=2)) == ([7.0], [None])


def test_a_table_made_anew_at_the_same_place_is_another(loaded: Shop, caplog: pytest.LogCaptureFixture) -> None:
    """Also where its version and the time of its commit are those of the one before."""
    [log] = (loaded.path / "_delta_log").glob("*0.json")
    written = log.stat()
    shutil.rmtree(loaded.path)
    publish(loaded, bought(1, 1, 9.0))
    [log] = (loaded.path / "_delta_log").glob("*0.json")
    text = log.read_text()
    stamp = loaded.mark.committed_us
    assert stamp is not None
    log.write_text(re.sub(r'"timestamp":\d+', f'"timestamp":{stamp // 1000}', text))
    (log.parent / f".{log.name}.crc").unlink(missing_ok=True)
    os.utime(log, ns=(written.st_atime_ns, written.st_mtime_ns))
    loaded.load()
    assert (served(loaded, "spend", customer=1), served(loaded, "spend", customer=2)) == ([9.0], [None])


def test_a_rollback_by_another_definition_has_the_features_of_today(loaded: Shop) -> None:
    """The rows of the earlier version come by today's definition, those that did not change since as well."""
    publish(loaded, bought(1, 3, 3.0))
    loaded.load()
    declare(loaded, SPEND, ITEMS)
    assert loaded.rollback() == 0
    assert served(loaded, "spend", "items", customer=1) == [0.75, 75]
    assert served(loaded, "spend", "items", customer=2) == [1.25, 125]


@pytest.mark.slow
def test_a_rollback_to_a_version_without_a_feature_s_column_is_refused_by_name(loaded: Shop) -> None:
    """What is served stays, and the message names the column."""
    wider = [*bought(1, 4, 4.0), "gold"]
    publish(loaded, tuple(wider), schema=f"{WIDE}, tier STRING", overwrite=True)
    declare(loaded, SPEND, Field(name="tier", dtype=String))
    loaded.load()
    with pytest.raises(SchemaBrokenError, match="tier is missing in version 0"):
        loaded.rollback()
    assert served(loaded, "spend", "tier", customer=1) == [4.0, "gold"]


@pytest.mark.slow
def test_a_view_that_a_release_before_loaded_is_loaded_anew_once(
    loaded: Shop, caplog: pytest.LogCaptureFixture
) -> None:
    """Its mark does not say by which definition, so nothing is left out on its word."""
    text = loaded.redis_store.mark_text("purchases").decode()
    former = {"table_id", "definition", "keys"}
    kept = {name: value for name, value in json.loads(text).items() if name not in former}
    loaded.redis_store.redis.hset(redis_keys.marks_key("shop"), "purchases", json.dumps(kept))
    loaded.load()
    assert "the release that loaded it did not note by which definition" in caplog.text
    caplog.clear()
    loaded.load()
    assert "anew" not in caplog.text


def overwritten(shop: Shop) -> None:
    publish(shop, bought(1, 5, 5.0), overwrite=True)


def overwritten_with_other_columns(shop: Shop) -> None:
    publish(shop, (*bought(1, 5, 5.0), 1), schema=f"{WIDE}, points BIGINT", overwrite=True)


def overwritten_with_other_columns_and_back(shop: Shop) -> None:
    overwritten_with_other_columns(shop)
    overwritten(shop)


def column_dropped_and_changed_in_type(shop: Shop) -> None:
    schema = WIDE.replace("items BIGINT", "items STRING")
    publish(shop, (*bought(1, 5, 5.0)[:-1], "many"), schema=schema, overwrite=True)


def vacuumed(shop: Shop) -> None:
    """The files of the changes are gone, and those of the version that is loaded."""
    publish(shop, bought(1, 4, 4.0), overwrite=True)
    overwritten(shop)
    check = "spark.databricks.delta.retentionDurationCheck.enabled"
    shop.spark.conf.set(check, "false")
    DeltaTable.forPath(shop.spark, shop.uri).vacuum(0)
    shop.spark.conf.unset(check)


def feed_switched_on_later(shop: Shop) -> None:
    for value in ("false", "true"):
        shop.spark.sql(f"ALTER TABLE delta.`{shop.uri}` SET TBLPROPERTIES ('{delta_tables.CHANGE_FEED}' = '{value}')")
        if value == "false":
            overwritten_in_part(shop)


def overwritten_in_part(shop: Shop) -> None:
    """Every row goes, and one comes, in a commit that the gate let pass."""
    frame = shop.spark.createDataFrame([bought(1, 5, 5.0)], WIDE)
    mark = CommitMark.of_gate(shop.uri, run_id=str(uuid4()), rows=1).text()
    write = frame.write.format("delta").mode("overwrite").option("userMetadata", mark)
    write.option("replaceWhere", "true").save(shop.uri)


def restored(shop: Shop) -> None:
    """Another state comes and goes again by RESTORE, and then the last one is published."""
    publish(shop, bought(1, 4, 4.0), bought(3, 4, 4.0), overwrite=True)
    DeltaTable.forPath(shop.spark, shop.uri).restoreToVersion(0)
    overwritten(shop)


ALTERATIONS: list[Callable[[Shop], None]] = [
    overwritten,
    overwritten_with_other_columns,
    overwritten_with_other_columns_and_back,
    column_dropped_and_changed_in_type,
    vacuumed,
    feed_switched_on_later,
    restored,
]
QUICK = (overwritten_with_other_columns, feed_switched_on_later)


@pytest.mark.parametrize(
    "alter",
    [
        pytest.param(alter, marks=[] if alter in QUICK else [pytest.mark.slow], id=alter.__name__)
        for alter in ALTERATIONS
    ],
)
def test_the_next_load_follows_whatever_the_feed_tells(loaded: Shop, alter: Callable[[Shop], None]) -> None:
    """Whether Delta tells what changed, tells it in part or not at all, customer 1 has the new row and customer 2 none."""
    alter(loaded)
    loaded.load()
    assert (served(loaded, "spend", customer=1), served(loaded, "spend", customer=2)) == ([5.0], [None])


@pytest.mark.slow
def test_a_rollback_follows_too_where_the_feed_cannot_be_read(loaded: Shop) -> None:
    """What was published with other columns is gone back from, by all rows of the earlier version."""
    overwritten_with_other_columns(loaded)
    loaded.load()
    assert loaded.rollback() == 0
    assert (served(loaded, "spend", customer=1), served(loaded, "spend", customer=2)) == ([0.75], [1.25])


@pytest.mark.slow
def test_deleted_rows_of_a_table_without_feed_go(loaded: Shop) -> None:
    """A gate's commit that takes rows out is followed where the table never told of changes."""
    loaded.spark.sql(f"ALTER TABLE delta.`{loaded.uri}` SET TBLPROPERTIES ('{delta_tables.CHANGE_FEED}' = 'false')")
    overwritten_in_part(loaded)
    loaded.load()
    assert (served(loaded, "spend", customer=1), served(loaded, "spend", customer=2)) == ([5.0], [None])


@pytest.mark.slow
def test_spans_in_any_order_are_all_there(shop: Shop) -> None:
    """January, then March, then February: each month's keys are served."""
    publish(shop, *(bought(month, 1 + 30 * month, float(month)) for month in range(4)))
    declare(shop, SPEND)
    for month in (0, 2, 1):
        since: datetime = START + 30 * month * DAY
        shop.load(since, since + 29 * DAY)
    assert [served(shop, "spend", customer=month)[0] for month in range(4)] == [0.0, 1.0, 2.0, None]
