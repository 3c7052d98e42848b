"""What can go wrong with lineage. None of it may stop a job that is already running; all of it is said."""

from __future__ import annotations

from collections.abc import Sequence

from pedigree.lineage.redaction import redacted


class LineageError(Exception):
    """Root of every error of `lineage`; `transient` says whether the same call may work later."""

    transient = False


class LineageSettingsError(LineageError):
    """The settings cannot be used; the message names each wrong one."""

    def __init__(self, problems: Sequence[str]) -> None:
        self.problems = tuple(problems)
        super().__init__(f"The lineage settings cannot be used: {'; '.join(self.problems)}.")


class ExposedError(LineageError):
    """The embedded backend would be open to other machines, and nobody has said that it may be."""

    def __init__(self, host: str, problems: Sequence[str], *, setting: str) -> None:
        super().__init__(
            f"The lineage backend would be reached from other machines at {host}, {' and '.join(problems)}. Nothing was started. "
            f"Set those, or listen on 127.0.0.1. Where something else sees to it, say so: PEDIGREE_LINEAGE_INSECURE={setting}."
        )


class DatabaseUnusableError(LineageError):
    """The embedded backend's database cannot be opened."""

    def __init__(self, place: str, reason: str) -> None:
        super().__init__(
            f"The lineage database {place} cannot be opened: {reason}. Nothing was started. Put PEDIGREE_LINEAGE_DATABASE right, "
            "such as sqlite:////var/lib/lineage.db or postgresql+psycopg://user:${PASSWORD}@host/lineage."
        )


class UnnameablePlaceError(LineageError):
    """A place that has no lineage name."""

    def __init__(self, place: str, reason: str) -> None:
        self.place = redacted(place)
        super().__init__(
            f"{redacted(place)!r} cannot be named: {reason}. Give a place such as file:///data/orders.csv, "
            "/data/orders.csv, s3a://bucket/key or, for Redis, host:port."
        )


class OutboxUnwritableError(LineageError):
    """Events cannot be kept before they are sent, so nothing was started."""

    def __init__(self, folder: str, reason: str) -> None:
        self.folder = folder
        super().__init__(
            f"The lineage outbox {folder} cannot be written ({reason}). No run was started. "
            "Make it writable, or set PEDIGREE_LINEAGE_OUTBOX to a folder that is."
        )


class LineageUnavailableError(LineageError):
    """The lineage backend does not answer. Events keep waiting in the outbox."""

    transient = True

    def __init__(self, url: str, reason: str) -> None:
        self.url = url
        super().__init__(
            f"The lineage backend at {url} does not answer ({reason}). No event is lost: they wait in the outbox. "
            "Start it with `pedigree up`, or set PEDIGREE_LINEAGE_URL to the one that runs."
        )


class LineageRefusedError(LineageError):
    """The lineage backend answered, but not with what was asked."""

    def __init__(self, url: str, *, status: int, message: str) -> None:
        self.url = url
        self.status = status
        super().__init__(f"The lineage backend refused {url} with {status}: {message}")


class LineageUnknownError(LineageError):
    """Nothing of that name was ever recorded."""

    def __init__(self, kind: str, name: str) -> None:
        self.kind = kind
        self.name = name
        super().__init__(
            f"Lineage knows no {kind} {name}. If a job has just written it, deliver what waits with "
            "`pedigree lineage flush` and ask again."
        )
