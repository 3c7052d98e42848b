"""`FeatureStore.get_historical_features` over our offline store, as any Feast user calls it."""

from __future__ import annotations

import random
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pandas as pd
import pyarrow as pa
import pytest
from feast import Entity, FeatureService, FeatureStore, FeatureView, Field, ValueType
from feast.errors import FeastEntityDFMissingColumnsError
from feast.infra.offline_stores.contrib.spark_offline_store.spark_source import SavedDatasetSparkStorage, SparkSource
from feast.table_format import DeltaFormat
from feast.types import Float64, Int64
from pyspark.sql import SparkSession

from benchmarks.stores import FEAST_SPARK, OURS, open_store
from pedigree.jobs.errors import EntityFrameError

START = datetime(2013, 3, 1, tzinfo=UTC)
PAIR_REFS = ["pair_delays:delay"]


def pair_rows() -> pd.DataFrame:
    """Rows of the pairs (1, 12) and (11, 2), which a key glued together without a separator would mix up."""
    return pd.DataFrame(
        {
            "a": [1, 11, 1],
            "b": [12, 2, 12],
            "event_at": [START, START, START + timedelta(hours=4)],
            "created_at": [START, START, START + timedelta(days=30)],
            "delay": [1.0, 2.0, 3.0],
        }
    )


def season_rows() -> pd.DataFrame:
    """Rows of a view about nothing in particular."""
    return pd.DataFrame(
        {"event_at": [START, START + timedelta(hours=2)], "created_at": [START, START], "warmth": [5, 6]}
    )


def source(name: str, folder: Path) -> SparkSource:
    return SparkSource(
        name=name,
        path=(folder / name).as_uri(),
        table_format=DeltaFormat(),
        timestamp_field="event_at",
        created_timestamp_column="created_at",
    )


@pytest.fixture(scope="module")
def stores(spark: SparkSession, tmp_path_factory: pytest.TempPathFactory) -> dict[str, FeatureStore]:
    """The same definitions over the same tables: in our store, in ours without knowledge time, and in Feast's own."""
    folder = tmp_path_factory.mktemp("historical")
    spark.createDataFrame(pair_rows()).write.format("delta").save((folder / "pair_delays").as_uri())
    spark.createDataFrame(season_rows()).write.format("delta").save((folder / "season").as_uri())
    keys = [Entity(name=name, join_keys=[name], value_type=ValueType.INT64) for name in ("a", "b")]
    schema = [Field(name="a", dtype=Int64), Field(name="b", dtype=Int64), Field(name="delay", dtype=Float64)]
    pairs = FeatureView(
        name="pair_delays", entities=keys, ttl=timedelta(hours=6), schema=schema, source=source("pair_delays", folder)
    )
    season = FeatureView(
        name="season",
        entities=[],
        ttl=timedelta(0),
        schema=[Field(name="warmth", dtype=Int64)],
        source=source("season", folder),
    )
    both = FeatureService(
        name="both_ways",
        features=[
            pairs.with_name("out").with_join_key_map({"a": "from_a", "b": "from_b"}),
            pairs.with_name("back").with_join_key_map({"a": "to_a", "b": "to_b"}),
        ],
    )
    objects = [*keys, pairs, season, both]
    offline = {"ours": OURS, "true by then": {**OURS, "knowledge_time": False}, "feast": FEAST_SPARK}
    return {name: open_store(folder, name.replace(" ", ""), config, objects) for name, config in offline.items()}


def asked(*rows: tuple[int | None, int | None, datetime]) -> pd.DataFrame:
    return pd.DataFrame(rows, columns=["a", "b", "event_timestamp"]).astype({"a": "Int64", "b": "Int64"})


def delays(store: FeatureStore, frame: Any, **options: Any) -> list[float | None]:
    found = store.get_historical_features(entity_df=frame, features=PAIR_REFS, **options).to_df()
    return [None if pd.isna(value) else float(value) for value in found["delay"]]


def test_pairs_of_keys_are_not_glued_together(stores: dict[str, FeatureStore]) -> None:
    """(1, 12) and (11, 2) at one instant are two rows with two answers; Feast's own store mixes them."""
    frame = asked((1, 12, START), (11, 2, START))
    assert delays(stores["true by then"], frame) == [1.0, 2.0]


def test_every_row_comes_back_once_and_in_its_place(stores: dict[str, FeatureStore]) -> None:
    """A thousand rows in random order, duplicates and null keys among them, come back as they went in."""
    chance = random.Random(3)
    keys = [(1, 12), (11, 2), (7, 7), (None, 12)]
    rows = [(*chance.choice(keys), START + timedelta(minutes=chance.randrange(-60, 600))) for _ in range(1000)]
    frame = asked(*rows).assign(note=[f"row {number}" for number in range(1000)])
    found = stores["true by then"].get_historical_features(entity_df=frame, features=PAIR_REFS).to_df()
    assert list(found["note"]) == list(frame["note"])
    assert found["delay"].notna().sum() > 100
    assert found[found["a"].isna()]["delay"].isna().all()


def test_the_ttl_holds_its_boundary(stores: dict[str, FeatureStore]) -> None:
    """A row as old as the ttl is seen; one a microsecond older is not; nor is one of the future."""
    edge = START + timedelta(hours=6)
    tick = timedelta(microseconds=1)
    assert delays(stores["true by then"], asked((11, 2, edge), (11, 2, edge + tick), (11, 2, START - tick))) == [
        2.0,
        None,
        None,
    ]


def test_a_row_learnt_later_is_not_seen_unless_asked_for(stores: dict[str, FeatureStore]) -> None:
    """The correction that was created a month later is hidden by default, seen without knowledge time, hidden on request."""
    frame = asked((1, 12, START + timedelta(hours=5)))
    assert delays(stores["ours"], frame) == [1.0]
    assert delays(stores["true by then"], frame) == [3.0]
    assert delays(stores["true by then"], frame, filter_by_created_timestamp=True) == [1.0]


def test_instants_may_be_in_any_time_zone(stores: dict[str, FeatureStore]) -> None:
    """One instant written in New York, in Tokyo, and naive in UTC is one instant; rows may differ in theirs."""
    zones = [ZoneInfo("America/New_York"), ZoneInfo("Asia/Tokyo"), UTC]
    frame = pd.DataFrame({"a": [11] * 3, "b": [2] * 3, "event_timestamp": [START.astimezone(zone) for zone in zones]})
    assert delays(stores["ours"], frame) == [2.0] * 3
    naive = pd.DataFrame({"a": [11], "b": [2], "event_timestamp": [START.replace(tzinfo=None)]})
    assert delays(stores["ours"], naive) == [2.0]


def test_entities_may_be_pandas_arrow_spark_or_sql(spark: SparkSession, stores: dict[str, FeatureStore]) -> None:
    """The four kinds of entity frames give the same answers, and answers come as pandas, Arrow or Spark."""
    frame = pd.DataFrame({"a": [1, 11], "b": [12, 2], "event_timestamp": [START, START]})
    spark.createDataFrame(frame).createOrReplaceTempView("asked")
    kinds = (frame, pa.Table.from_pandas(frame), spark.table("asked"), "SELECT * FROM asked ORDER BY a")
    for kind in kinds:
        job = stores["ours"].get_historical_features(entity_df=kind, features=PAIR_REFS, full_feature_names=True)
        assert job.to_arrow()["pair_delays__delay"].to_pylist() == [1.0, 2.0]
        assert job.to_spark_df().columns == ["a", "b", "event_timestamp", "pair_delays__delay"]
        assert job.metadata.keys == ["a", "b"]
        assert job.metadata.min_event_timestamp == START


def test_one_view_stands_twice_under_two_names(stores: dict[str, FeatureStore]) -> None:
    """Join-key aliases: a service takes the same view for where a journey starts and where it ends."""
    frame = pd.DataFrame({"from_a": [1], "from_b": [12], "to_a": [11], "to_b": [2], "event_timestamp": [START]})
    service = stores["ours"].get_feature_service("both_ways")
    job = stores["ours"].get_historical_features(entity_df=frame, features=service, full_feature_names=True)
    row = job.to_df().iloc[0]
    assert (row["out__delay"], row["back__delay"]) == (1.0, 2.0)


def test_a_view_without_entities_is_joined_by_time_alone(stores: dict[str, FeatureStore]) -> None:
    """What is about nothing in particular is as of the instant, too."""
    instants = [START - timedelta(hours=1), START, START + timedelta(hours=3)]
    frame = pd.DataFrame({"event_timestamp": instants})
    found = stores["ours"].get_historical_features(entity_df=frame, features=["season:warmth"]).to_df()
    assert [None if pd.isna(value) else int(value) for value in found["warmth"]] == [None, 5, 6]


def test_a_training_set_can_be_saved(spark: SparkSession, stores: dict[str, FeatureStore], tmp_path: Path) -> None:
    """`persist` writes what the retrieval yields."""
    job = stores["ours"].get_historical_features(entity_df=asked((1, 12, START)), features=PAIR_REFS)
    job.persist(SavedDatasetSparkStorage(path=(tmp_path / "saved").as_uri(), file_format="parquet"))
    assert [row["delay"] for row in spark.read.parquet((tmp_path / "saved").as_uri()).collect()] == [1.0]


def test_a_missing_key_is_told_in_feasts_own_words(stores: dict[str, FeatureStore]) -> None:
    """A frame without a join key is refused before anything is read, and the key is named."""
    frame = pd.DataFrame({"a": [1], "event_timestamp": [START]})
    with pytest.raises(FeastEntityDFMissingColumnsError, match="b"):
        stores["ours"].get_historical_features(entity_df=frame, features=PAIR_REFS)


def test_a_key_is_never_rounded_to_another(spark: SparkSession, stores: dict[str, FeatureStore]) -> None:
    """A label's key of 1.5 is not the row's key 1, on either engine; a key of 1.0 is."""
    frame = pd.DataFrame({"a": [1.5, 1.0], "b": [12, 12], "event_timestamp": [START, START]})
    assert delays(stores["ours"], frame) == [None, 1.0]
    assert delays(stores["ours"], spark.createDataFrame(frame)) == [None, 1.0]


@pytest.mark.parametrize(
    ("frame", "said"),
    [
        (pd.DataFrame({"a": ["1"], "b": [12], "event_timestamp": [START]}), "its key a is string"),
        (pd.DataFrame({"a": [1], "b": [12], "__x": [0], "event_timestamp": [START]}), "__x"),
        (pd.DataFrame({"a": [1], "b": [12], "delay": [0], "event_timestamp": [START]}), "full_feature_names"),
        (pd.DataFrame({"a": [1], "b": [12], "event_timestamp": ["last week"]}), "event_timestamp is no time"),
        (pd.DataFrame({"a": [1, "x"], "b": [12, 2], "event_timestamp": [START, START]}), "mixes types"),
        ([1, 2], "Give a frame of pandas, Arrow or Spark"),
    ],
    ids=["text for a number", "a reserved name", "a feature's name", "no time", "mixed types", "no frame"],
)
def test_a_frame_that_will_not_do_is_told_what_to_change(
    stores: dict[str, FeatureStore], frame: Any, said: str
) -> None:
    """Each of these is refused with the column and the remedy in the message."""
    with pytest.raises(EntityFrameError, match=said):
        stores["ours"].get_historical_features(entity_df=frame, features=PAIR_REFS).to_df()


def test_instants_may_be_text(stores: dict[str, FeatureStore]) -> None:
    """ISO 8601 text is read as an instant, with its zone where it names one."""
    frame = pd.DataFrame({"a": [11, 11], "b": [2, 2], "event_timestamp": ["2013-03-01", "2013-02-28T23:00-01:00"]})
    assert delays(stores["ours"], frame) == [2.0, 2.0]


def test_feasts_own_store_agrees_where_it_is_right(stores: dict[str, FeatureStore]) -> None:
    """For single instants and distinct keys, Feast's Spark store gives the same values."""
    rows = [(1, 12, START + timedelta(minutes=minutes)) for minutes in range(-30, 700, 10)]
    theirs = stores["feast"].get_historical_features(entity_df=asked(*rows), features=PAIR_REFS).to_df()
    in_order = theirs.sort_values("event_timestamp")["delay"]
    assert delays(stores["true by then"], asked(*rows)) == [None if pd.isna(value) else value for value in in_order]
