# mypy: disable-error-code="untyped-decorator"
"""On-demand views of every kind that is compiled, over the views of `flightless`, and the rows that they are computed from."""

from __future__ import annotations

import math
from datetime import timedelta
from typing import Any

import numpy as np
import pandas as pd
from feast import FeatureService, FeatureStore, Field, RequestSource
from feast.on_demand_feature_view import on_demand_feature_view
from feast.protos.feast.types.Value_pb2 import Value
from feast.types import Bool, Float32, Float64, Int32, Int64, String

from .birds import FRESH, bird, bird_on_island, bird_weight, key, view, write

bird_flight = view(
    "bird_flight",
    [bird],
    [
        Field(name="tries", dtype=Int64),
        Field(name="hops", dtype=Int32),
        Field(name="height", dtype=Float64),
        Field(name="speed", dtype=Float32),
        Field(name="is_proud", dtype=Bool),
        Field(name="colour", dtype=String),
    ],
    ttl=timedelta(0),
)
asked = RequestSource(
    name="asked",
    schema=[Field(name="wind", dtype=Float64), Field(name="crowd", dtype=Int64), Field(name="mood", dtype=String)],
)


def fields(**types: Any) -> list[Field]:
    """A schema."""
    return [Field(name=name, dtype=dtype) for name, dtype in types.items()]


@on_demand_feature_view(
    sources=[bird_flight, asked],
    schema=fields(
        ratio=Float64,
        whole=Int64,
        left_over=Int64,
        power=Float64,
        proud_or_high=Bool,
        not_proud=Bool,
        label=String,
        named=String,
        logged=Float64,
        clipped=Float64,
        filled=Float64,
        counted=Int32,
        slow=Float32,
        is_unknown=Bool,
        among=Bool,
        chosen=Float64,
        higher=Float64,
        rounded=Float64,
        tempered=Float64,
    ),
)
def in_pandas(inputs: pd.DataFrame) -> pd.DataFrame:
    """Pandas mode: everything that is compiled of it."""
    df = pd.DataFrame()
    gusts: pd.Series = inputs["height"] - inputs["wind"]
    df["ratio"] = inputs["tries"] / inputs["hops"]
    df["whole"] = (inputs["tries"] // 3).astype("int64")
    df["left_over"] = inputs["tries"] % 5
    df["power"] = inputs["height"] ** 2
    df["proud_or_high"] = (inputs["is_proud"] | (inputs["height"] > 1)) & ~(inputs["crowd"] == 13)
    df["not_proud"] = ~inputs["is_proud"]
    df["label"] = np.where(gusts > 0, "up", "down")
    df["named"] = inputs["colour"].str.upper() + "-" + inputs["mood"]
    df["logged"] = np.log1p(inputs["height"].abs()) + np.sqrt(inputs["speed"])
    df["clipped"] = gusts.clip(lower=-1, upper=2.5)
    df["filled"] = inputs["height"].fillna(-1.0) * 2
    df["counted"] = inputs["crowd"].astype("int32")
    df["slow"] = inputs["speed"].astype("float32")
    df["is_unknown"] = inputs["height"].isna()
    df["among"] = inputs["colour"].isin(["brown", "grey"]) | inputs["tries"].between(2, 4)
    df["chosen"] = np.where(gusts > 0, gusts, 0.0)
    df["higher"] = np.maximum(inputs["height"], inputs["wind"]) - np.pi
    df["rounded"] = (inputs["height"] / 3).round(2)
    df["tempered"] = df["rounded"]
    df["tempered"] += inputs["bird_flight__speed"]
    return df


@on_demand_feature_view(sources=[bird_flight], schema=fields(inches=Float64, is_tall=Bool))
def copied_in_pandas(inputs: pd.DataFrame) -> pd.DataFrame:
    """Pandas mode on a copy, with assign."""
    df = inputs[["height"]].copy()
    df["inches"] = df["height"] * 39.37
    return df.assign(is_tall=df["inches"] > 50)


@on_demand_feature_view(
    sources=[bird_flight, asked],
    schema=fields(total=Float64, title=String, distance=Float64, is_safe=Bool, most=Int64),
    mode="python",
)
def in_python(inputs: dict[str, Any]) -> dict[str, Any]:
    """Python mode over lists. Feast knows a module that is no pandas or numpy only where the function imports it."""
    import math

    output: dict[str, Any] = {
        "total": [height + wind for height, wind in zip(inputs["height"], inputs["wind"], strict=False)],
        "title": [f"{colour}/{number}" for colour, number in zip(inputs["colour"], inputs["tries"], strict=False)],
    }
    heights = [abs(height) for height in inputs["height"]]
    output["distance"] = [math.sqrt(height) if height > 1 else 0.0 for height in heights]
    output["is_safe"] = [
        0 < crowd <= 10 and mood not in ("angry", "sad")
        for crowd, mood in zip(inputs["crowd"], inputs["mood"], strict=False)
    ]
    output["most"] = [int(max(tries, hops, 2)) for tries, hops in zip(inputs["tries"], inputs["hops"], strict=False)]
    return output


@on_demand_feature_view(
    sources=[bird_flight, asked],
    schema=fields(pace=Float64, verdict=String, share=Float64),
    mode="python",
    singleton=True,
)
def in_python_alone(inputs: dict[str, Any]) -> dict[str, Any]:
    """Python mode, one row at a time."""
    speed = inputs["speed"]
    crowd = inputs.get("crowd", 0)
    if speed is None:
        return {"pace": -1.0, "verdict": "unknown", "share": None}
    if crowd > 10:
        verdict = "crowded"
    elif crowd == 0:
        verdict = "alone"
    else:
        verdict = str(crowd)
    pace = round(speed * 3.6, 1)
    return {
        "pace": pace,
        "verdict": f"{inputs.get('bird_id')}: {verdict.upper()}",
        "share": inputs["tries"] / crowd if crowd else 0.0,
    }


@on_demand_feature_view(sources=[bird_flight], schema=fields(per_hop=Float64), mode="python")
def per_hop(inputs: dict[str, Any]) -> dict[str, Any]:
    """Python mode, which divides by zero where a bird does not hop."""
    return {"per_hop": [tries / hops for tries, hops in zip(inputs["tries"], inputs["hops"], strict=False)]}


@on_demand_feature_view(sources=[bird_weight, bird_on_island], schema=fields(meals_per_visit=Float64))
def of_two_views(inputs: pd.DataFrame) -> pd.DataFrame:
    """Two sources about different entities, which have a feature of one name."""
    return pd.DataFrame({"meals_per_visit": inputs["bird_weight__meal_count_1d"] / inputs["visit_count_7d"]})


@on_demand_feature_view(sources=[asked], schema=fields(doubled=Float64))
def of_request_alone(inputs: pd.DataFrame) -> pd.DataFrame:
    """Nothing that is stored."""
    df = pd.DataFrame()
    df["doubled"] = inputs["wind"] * 2
    return df


@on_demand_feature_view(sources=[bird_weight], schema=fields(grams=Float64, is_heavy=Bool, known_as=String))
def aged(inputs: pd.DataFrame) -> pd.DataFrame:
    """What is computed from a view with a ttl."""
    df = pd.DataFrame()
    df["grams"] = inputs["weight_avg_1d"] * 1000
    df["is_heavy"] = inputs["weight_avg_1d"] > 30
    df["known_as"] = inputs["nickname"].fillna("nobody")
    return df


FORMULAS = [in_pandas, copied_in_pandas, in_python, in_python_alone, per_hop, of_two_views, of_request_alone, aged]
SERVICES = [
    FeatureService(name="flight", features=[bird_weight[["nickname"]], in_pandas, in_python[["title", "total"]]]),
    FeatureService(name="renamed", features=[in_python[["total"]].with_name("sums"), aged]),
    FeatureService(name="alone", features=[in_python_alone]),
    FeatureService(name="two_views", features=[of_two_views]),
]

ROWS: dict[int, tuple[Any, ...]] = {
    1: (3, 2, 1.5, 0.5, True, "brown"),
    2: (-7, -3, -0.25, 2.0, False, "white"),
    3: (10**12, 7, 1e300, 0.1, True, "grey"),
    4: (0, 1, 0.0, 0.0, False, ""),
    5: (5, 4, math.nan, 1.0, True, "Ünï"),
    6: (5, 4, math.inf, 1.0, False, "brown"),
    7: (2, 0, 3.0, 1.0, True, "red"),
    8: (2, 3, None, 1.0, True, "red"),
    9: (2, 3, 4.0, None, None, None),
}
"""Birds 1 to 7 know everything (7 does not hop); 8 has no height, 9 neither speed, pride nor colour; nobody knows 404."""


def add(store: FeatureStore) -> None:
    """Apply all of the above and write its rows."""
    store.apply([bird_flight, *FORMULAS, *SERVICES])
    write(store, bird_flight, [(key(bird_id=number), row_of(*row), FRESH) for number, row in ROWS.items()])


def row_of(tries: Any, hops: Any, height: Any, speed: Any, is_proud: Any, colour: Any) -> dict[str, Value]:
    """A row of `bird_flight`; None is null."""
    parts = {
        "tries": ("int64_val", tries),
        "hops": ("int32_val", hops),
        "height": ("double_val", height),
        "speed": ("float_val", speed),
        "is_proud": ("bool_val", is_proud),
        "colour": ("string_val", colour),
    }
    return {name: Value() if value is None else Value(**{kind: value}) for name, (kind, value) in parts.items()}
