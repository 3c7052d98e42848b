"""The MLflow example as a user runs it, read back through MLflow's own client."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from mlflow.tracking import MlflowClient

from pedigree.jobs.training_sets.manifest import Manifest

from ..distributions import ROOT


def test_mlflow_keeps_the_id_with_the_run(kept: Manifest, tmp_path: Path) -> None:
    """The run's input has the id as its digest and the set's folder as its source; the tags lead back to it."""
    tracking = f"sqlite:///{tmp_path}/mlflow.db"
    done = subprocess.run(
        [
            sys.executable,
            ROOT / "examples" / "late_arrival_mlflow.py",
            f"lateness@{kept.short_id}",
            "is_late",
            tracking,
        ],
        cwd=ROOT,
        env={**os.environ, "PEDIGREE_LAKE": tmp_path.as_uri(), "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    run = MlflowClient(tracking).get_run(done.stdout.split()[-1])
    assert run.info.status == "FINISHED"
    (used,) = run.inputs.dataset_inputs
    assert (used.dataset.digest, used.dataset.name) == (kept.id, "mornings")
    assert f"{tmp_path.as_uri()}/datasets/{kept.id}" in used.dataset.source
    assert run.data.tags["pedigree.dataset"] == kept.id
    assert run.data.tags["pedigree.content"] == kept.content.hash
    assert run.data.params["rows"] == "1000"
    assert run.data.metrics["roc_auc"] > 0.9
