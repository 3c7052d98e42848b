"""What a user is told of an error, in one line: ours in their own words, some of the engines' with what to do."""

from __future__ import annotations

import sys
from dataclasses import dataclass

from pedigree.cli.errors import PedigreeError
from pedigree.cli.roles import missing_role
from pedigree.lineage.errors import LineageError
from pedigree.online.errors import OnlineError
from pedigree.serving.errors import ServingError

OURS = (PedigreeError, ServingError, LineageError, OnlineError)
OURS_ONCE_IMPORTED = {
    "feast.errors": "FeastError",
    "pedigree.features.errors": "RepositoryError",
    "pedigree.jobs.errors": "JobError",
}
"""Roots of errors in modules that not every installation has, and that not every command needs."""


@dataclass(frozen=True, slots=True)
class Told:
    """A message, and whether the same command may work later."""

    message: str
    transient: bool = False


ENGINES = {
    ("redis.exceptions", "RedisError"): Told(
        "The online store cannot be used: {reason} Start it (on a laptop: pedigree up), or look at online_store in "
        "feature_store.yaml; `pedigree doctor` looks at both.",
        transient=True,
    ),
    ("pyspark.errors", "AnalysisException"): Told(
        "Spark does not take this: {reason} Nothing was published. Look for that name among the columns and types of the table's "
        "sources, events, contract and transform."
    ),
}
"""What is told of errors of the engines, by their root; `{reason}` is the first line of what they say."""


def told(error: Exception) -> Told | None:
    """What a user is told of an error; None where it is a bug, which shows its traceback."""
    role = missing_role(error) if isinstance(error, ModuleNotFoundError) else None
    if role is not None:
        return Told(str(role))
    roots = (getattr(sys.modules[name], root) for name, root in OURS_ONCE_IMPORTED.items() if name in sys.modules)
    if isinstance(error, (*OURS, *roots)):
        return Told(str(error), transient=bool(getattr(error, "transient", False)))
    for (module, root), template in ENGINES.items():
        if module in sys.modules and isinstance(error, getattr(sys.modules[module], root)):
            reason = str(error).strip().partition("\n")[0].partition(" SQLSTATE")[0].rstrip(".;") + "."
            return Told(template.message.replace("{reason}", reason), transient=template.transient)
    return None
