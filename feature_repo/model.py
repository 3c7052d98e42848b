"""Training as a user of the store does it: labels with instants, a training set by its id, a small scikit-learn model."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

import pandas as pd
from feast import FeatureStore
from pyspark.sql import DataFrame
from pyspark.sql import functions as F
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.metrics import roc_auc_score

from feature_repo.flights import FLIGHT_EVENTS
from pedigree.datasets import TrainingSet
from pedigree.features.lake import current_lake
from pedigree.jobs.build.build import Jobs
from pedigree.jobs.sources.reader import read
from pedigree.jobs.training_sets.entity_set import entities_of
from pedigree.jobs.training_sets.service import TrainingSetRequest, TrainingSetService, create
from pedigree.jobs.training_sets.store import TrainingSetStore
from pedigree.lineage.recorder import Run

LABEL = "late_arrival"
INSTANT = "event_timestamp"
LEAD = timedelta(hours=2)
"""How long before its scheduled departure a flight is predicted: features are as of that instant."""

SCHEDULE = ("carrier", "origin", "dest", "departure_hour", "weekday")
"""What anybody knows of a flight: the baseline that features must beat."""

KEYS = ("carrier", "origin", "dest", "tail_number")


@dataclass(frozen=True, slots=True)
class Scores:
    """ROC AUC on flights later than all that the models were trained on."""

    trained_on: int
    tested_on: int
    without_features: float
    with_features: float


def flights(jobs: Jobs) -> DataFrame:
    """Flights that landed, with keys, label, schedule, and the instant at which each is predicted."""
    sources = {source.name: read(jobs.spark, source, jobs.repository) for source in FLIGHT_EVENTS.sources}
    departure = F.col("scheduled_departure_at")
    local = F.from_utc_timestamp(departure, "America/New_York")
    return (
        jobs.events.of(FLIGHT_EVENTS, sources)
        .where(F.col("outcome") == "landed")
        .select(
            *KEYS,
            LABEL,
            F.col("arrival_delay").alias("minutes_late"),
            F.hour(local).alias("departure_hour"),
            F.weekday(local).alias("weekday"),
            F.timestamp_seconds(F.unix_timestamp(departure) - int(LEAD.total_seconds())).alias(INSTANT),
        )
    )


def sampled(labelled: DataFrame, *, one_in: int) -> pd.DataFrame:
    """One flight in `one_in`, the same ones in every run, oldest first; instants are aware UTC."""
    chosen = labelled.where(F.pmod(F.xxhash64(*KEYS, INSTANT), F.lit(one_in)) == 0)
    return in_utc(chosen.toPandas()).sort_values([INSTANT, *KEYS], ignore_index=True)


def next_flight(labelled: DataFrame, *, after: datetime) -> pd.DataFrame:
    """The first flight that is due to be predicted after an instant, as a frame of one row."""
    following = labelled.where(F.col(INSTANT) > F.lit(after)).orderBy(INSTANT, *KEYS).limit(1)
    return in_utc(following.toPandas())


def in_utc(frame: pd.DataFrame) -> pd.DataFrame:
    """The frame with its instants aware; Spark's session runs in UTC and hands them out naive."""
    return frame.assign(**{INSTANT: pd.to_datetime(frame[INSTANT], utc=True)})


def historical(store: FeatureStore, service: str, rows: pd.DataFrame) -> pd.DataFrame:
    """The rows with the service's features as of each row's instant, in their order."""
    features = store.get_feature_service(service)
    job = store.get_historical_features(entity_df=rows, features=features, full_feature_names=True)
    found: pd.DataFrame = job.to_df()
    return found


def made(store: FeatureStore, service: str, flights: pd.DataFrame, run: Run) -> TrainingSet:
    """The training set of these flights, made within a run and kept."""
    set_store = TrainingSetStore(current_lake().datasets)
    order = TrainingSetRequest(
        service, entities_of(flights), f"flights, {LEAD // timedelta(hours=1)} hours before departure"
    )
    return TrainingSet(create(order, TrainingSetService(store, set_store), run), set_store)


def score(rows: pd.DataFrame, features: Sequence[str], *, split_at: datetime) -> Scores:
    """Train before `split_at` and test from there on, once without and once with features."""
    is_train = rows[INSTANT] < split_at
    train, test = rows[is_train], rows[~is_train]
    areas = {}
    for name, columns in (("without", list(SCHEDULE)), ("with", [*SCHEDULE, *features])):
        model = HistGradientBoostingClassifier(categorical_features="from_dtype", max_iter=60, random_state=0)
        model.fit(predictors(train, columns), train[LABEL])
        areas[name] = float(roc_auc_score(test[LABEL], model.predict_proba(predictors(test, columns))[:, 1]))
    return Scores(len(train), len(test), without_features=areas["without"], with_features=areas["with"])


def predictors(rows: pd.DataFrame, columns: Sequence[str]) -> pd.DataFrame:
    """The columns a model sees: text as categories, numbers as floats with NaN for what is not known."""
    chosen = rows[list(columns)]
    text = [column for column in columns if chosen[column].dtype == object and column in SCHEDULE]
    numbers = {column: pd.to_numeric(chosen[column]).astype(float) for column in columns if column not in text}
    return chosen.assign(**numbers).astype(dict.fromkeys(text, "category"))
