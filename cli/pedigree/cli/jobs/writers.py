"""Which runs wrote the table versions that a training set was cut from, read from the lineage backend."""

from __future__ import annotations

from collections.abc import Sequence

from pedigree.jobs.training_sets.difference import SourceChange
from pedigree.jobs.training_sets.manifest import TableVersion
from pedigree.lineage.client.client import LineageClient
from pedigree.lineage.client.records import RunRecord
from pedigree.lineage.errors import LineageUnavailableError, LineageUnknownError
from pedigree.lineage.naming import at_path

MOST = 20
"""How many runs are named between two versions; the newest."""


def writers(sources: Sequence[TableVersion], lineage: LineageClient) -> dict[str, RunRecord]:
    """For each table the run that last wrote rows to it, as it stood at its version.

    A table that no run of ours wrote, or that the backend cannot be asked for, is left out.
    """
    newest = {source.uri: written_between(source.uri, -1, source.version, lineage, most=1) for source in sources}
    return {uri: next(iter(runs.values())) for uri, runs in newest.items() if runs}


def changes(sources: Sequence[SourceChange], lineage: LineageClient) -> dict[str, dict[int, RunRecord]]:
    """For each table that two sets read in different versions, the runs that wrote the versions between, by version."""
    return {
        change.uri: written_between(*ends(change), lineage, most=MOST)
        for change in sources
        if change.before and change.after and change.before.table_id == change.after.table_id
    }


def ends(change: SourceChange) -> tuple[str, int, int]:
    """The table, and the lower and the higher of two versions of it."""
    versions = sorted(each.version for each in (change.before, change.after) if each)
    return change.uri, versions[0], versions[-1]


def written_between(uri: str, after: int, until: int, lineage: LineageClient, *, most: int) -> dict[int, RunRecord]:
    """The runs that wrote the versions in `(after, until]` of a table, the newest `most` of them."""
    found: dict[int, RunRecord] = {}
    for version in range(until, after, -1):
        try:
            found[version] = lineage.written_by(at_path(uri), str(version))
        except LineageUnknownError:
            continue  # a version that only rearranged files or set properties was written by no run of ours
        except LineageUnavailableError:
            break
        if len(found) == most:
            break
    return found
