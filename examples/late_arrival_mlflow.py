"""Train on a training set by its id, and have MLflow keep the id with the run.

    pedigree dataset create late_arrival --entities flights.parquet
    python examples/late_arrival_mlflow.py late_arrival@3f2a9c late_arrival

The integration is MLflow's own: a dataset with a source, a digest and a schema. The digest is the id, so that
`pedigree dataset show` and `rebuild` find, years later, exactly the rows that a model was trained on.
"""

from __future__ import annotations

import sys

import mlflow
import xgboost
from sklearn.metrics import roc_auc_score

from pedigree.datasets import training_set

TRAINED_ON = 0.8
"""The share of the rows, in their order, that the model sees; the rest tests it."""


def main(reference: str, label: str, tracking: str = "sqlite:///.pedigree/mlflow.db") -> str:
    """Train, log, and return the id of the MLflow run.

    Args:
        reference: the training set, `service@id`.
        label: the column to predict.
        tracking: the URL of an MLflow server, or of a database.
    """
    train = training_set(reference).verify()
    features, target = train.xy(label)
    split = int(len(features) * TRAINED_ON)
    mlflow.set_tracking_uri(tracking)
    mlflow.set_experiment(train.manifest.ingredients.definitions.service)
    with mlflow.start_run() as run:
        frame = train.to_pandas([*train.features, label])
        mlflow.log_input(
            mlflow.data.from_pandas(
                frame, source=train.location, targets=label, name=train.manifest.name, digest=train.id
            ),
            context="training",
        )
        mlflow.set_tags({"pedigree.dataset": train.id, "pedigree.content": train.manifest.content.hash})
        mlflow.log_params({"label": label, "rows": len(features), "trained_on": split})
        model = xgboost.XGBClassifier(n_estimators=60, max_depth=6, enable_categorical=True, random_state=0)
        model.fit(features[:split], target[:split])
        scores = model.predict_proba(features[split:])[:, 1]
        mlflow.log_metric("roc_auc", float(roc_auc_score(target[split:], scores)))
    return str(run.info.run_id)


if __name__ == "__main__":
    sys.stdout.write(f"MLflow run {main(*sys.argv[1:])}\n")
