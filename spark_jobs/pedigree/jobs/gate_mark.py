"""What a commit of ours says of itself, as Delta's `userMetadata`, and which commits passed the quality gate by that.

A mark alone proves nothing, since anybody can copy one. A commit passed the gate where its mark says so **and** the commit
bears it out: it is a write to the table that the mark names, of as many rows as the gate let through, and the first commit of
its run.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from uuid import UUID

FORMAT = 1
PASSED = "passed"
WRITE = "WRITE"
"""Delta's name for the operation of every commit that the gate lets through."""

FORM_ONLY = frozenset(
    {
        *("OPTIMIZE", "REORG", "VACUUM START", "VACUUM END", "CLUSTER BY", "ROW TRACKING BACKFILL", "UPGRADE PROTOCOL"),
        *("SET TBLPROPERTIES", "UNSET TBLPROPERTIES", "ADD CONSTRAINT", "DROP CONSTRAINT"),
        *("ADD COLUMNS", "CHANGE COLUMN", "CHANGE COLUMNS"),
    }
)
"""Operations of Delta's that change no row."""


@dataclass(frozen=True, slots=True)
class CommitMark:
    """What a commit of ours says of itself.

    Attributes:
        run: the id of the run that made it.
        table: the last part of the table's place, so that a lake can move and a mark cannot be taken to another table.
        gate: `passed`; None where no gate looked at the rows (tiles, quarantine).
        rows: how many rows the gate let through.
        made_from: the state of the file that the table is a copy of, where it is one.
    """

    run: str
    table: str
    gate: str | None = None
    rows: int | None = None
    made_from: str | None = None

    @classmethod
    def of_gate(cls, uri: str, *, run_id: str, rows: int, made_from: str | None = None) -> CommitMark:
        """The mark of a commit to the table at `uri` whose rows passed the gate."""
        return cls(run_id, table_name(uri), PASSED, rows, made_from)

    def text(self) -> str:
        """As it is kept."""
        said = {name: value for name, value in asdict(self).items() if name != "made_from" or value is not None}
        return json.dumps({"pedigree": {"format": FORMAT, **said}}, separators=(",", ":"))

    @classmethod
    def read(cls, text: str | None) -> CommitMark | None:
        """What a commit says of itself; None where it says nothing that is ours."""
        try:
            said = json.loads(text or "null")
            mine = said["pedigree"]
            values = (mine["run"], mine["table"], mine["gate"], mine["rows"], mine.get("made_from"))
            return cls(*values) if mine["format"] == FORMAT else None
        except (ValueError, TypeError, KeyError, RecursionError):
            return None  # somebody else's words


@dataclass(frozen=True, slots=True)
class TableCommit:
    """A commit of a Delta table's history; `rows` is how many it wrote, by Delta's own count, `at_us` when, in µs of UTC."""

    version: int
    operation: str
    metadata: str | None
    rows: int
    at_us: int

    @property
    def changes_rows(self) -> bool:
        """True where it may have changed a row."""
        return self.operation not in FORM_ONLY

    @property
    def run_of_a_release_before(self) -> str | None:
        """The run that a release without marks wrote as all of the metadata: passed the gate or not, nobody can tell."""
        return self.metadata if is_run_id(self.metadata) else None


@dataclass(frozen=True, slots=True)
class Audited:
    """The newest version of a table that may be served.

    Attributes:
        version: the newest version that holds what `published` wrote, and the same rows.
        published: the version of the commit that passed the gate.
        unaudited: the newer versions that no audited run wrote.
        beneath: those between it and the audited commit before: their rows may be in it.
    """

    version: int
    published: int
    unaudited: tuple[int, ...]
    beneath: tuple[int, ...] = ()


def passed(commits: Iterable[TableCommit], uri: str, by_audit: frozenset[int] = frozenset()) -> list[TableCommit]:
    """The commits to the table at `uri` that passed the gate, the newest first.

    Args:
        by_audit: versions of a table that somebody else writes, which an audit let pass.
    """
    every = sorted(commits, key=lambda commit: commit.version)
    found = {str(commit.version): commit for commit in every if commit.version in by_audit}
    for commit in every:
        mark = CommitMark.read(commit.metadata)
        if mark is not None and mark.run not in found and is_borne_out(mark, commit, uri):
            found[mark.run] = commit
    return sorted(found.values(), key=lambda commit: -commit.version)


def is_borne_out(mark: CommitMark, commit: TableCommit, uri: str) -> bool:
    """True where a commit is what its mark says."""
    says_so = mark.gate == PASSED and is_run_id(mark.run) and mark.table == table_name(uri)
    return says_so and commit.operation == WRITE and commit.rows == mark.rows


def audited(commits: Iterable[TableCommit], uri: str, by_audit: frozenset[int] = frozenset()) -> Audited | None:
    """The newest version that may be served; None where no commit passed the gate."""
    every = sorted(commits, key=lambda commit: -commit.version)
    good = [commit.version for commit in passed(every, uri, by_audit)]
    if not good:
        return None
    published = good[0]
    foreign = [commit.version for commit in every if commit.changes_rows and commit.version not in good]
    former = {commit.version for commit in every if commit.run_of_a_release_before}
    newer = sorted(version for version in foreign if version > published)
    before = good[1] if len(good) > 1 else -1
    is_whole = published in by_audit  # an audit looks at all rows, those of the commits beneath too
    return Audited(
        version=min(newer, default=every[0].version + 1) - 1,
        published=published,
        unaudited=tuple(newer),
        beneath=()
        if is_whole
        else tuple(sorted(version for version in foreign if before < version < published and version not in former)),
    )


def content_of(commits: Iterable[TableCommit], version: int) -> TableCommit | None:
    """The commit that gave a version its rows; None where the history no longer tells of it."""
    older = [commit for commit in commits if commit.version <= version and commit.changes_rows]
    return max(older, key=lambda commit: commit.version, default=None)


def is_run_id(text: object) -> bool:
    """True for the id of a run."""
    try:
        return isinstance(text, str) and str(UUID(text)) == text
    except ValueError:
        return False


def table_name(uri: str) -> str:
    """The last part of a table's place."""
    return uri.rstrip("/").rsplit("/", 1)[-1]
