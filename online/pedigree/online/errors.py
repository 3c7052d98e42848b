"""What can go wrong with the online store, on either side of it."""

from __future__ import annotations

from collections.abc import Sequence


class OnlineError(Exception):
    """Root of every error of `online`. `transient`: the same may work later."""

    transient = False


class AddressError(OnlineError):
    """A connection string cannot be used."""

    def __init__(self, reason: str) -> None:
        super().__init__(
            f"The online store's connection_string cannot be used: {reason}. Write host:port, host:port,ssl=true,… or a URL "
            "such as rediss://user:password@host:6379/0; keep the password in the environment: ${REDIS_PASSWORD}."
        )


class UnstorableNameError(OnlineError):
    """A project, view or join key cannot be part of a key."""

    def __init__(self, kind: str, name: str) -> None:
        super().__init__(f"The {kind} {name!r} cannot be stored: it is empty or has one of the characters : , ~ in it.")


class FutureRowsError(OnlineError):
    """Rows are of a time that has not come; stored, they would block their keys until it has."""

    def __init__(self, view: str, rows: int, *, newest: str, allowed: str) -> None:
        self.view = view
        self.rows = rows
        super().__init__(
            f"{rows} rows of {view} are of the future (up to {newest}; {allowed} ahead of the clock is allowed). "
            "Nothing of this batch was written. Put their event times right, or raise `future_skew_seconds`."
        )


class UnfitValueError(OnlineError):
    """A value is none of the type that was declared. `place` is its row in a batch, `column` where it stands, if known."""

    column: str | None = None

    def __init__(self, place: int, value: object, kind: str) -> None:
        self.place, self.value, self.kind = place, value, kind
        super().__init__(place, value, kind)

    def __str__(self) -> str:
        named = f"{self.column} is " if self.column else ""
        return f"{named}{shortened(self.value)}, which is not a value of {self.kind}"


class UnfitRowError(OnlineError):
    """A row has a value that its view's type cannot hold, so a load or a write ended."""

    def __init__(self, view: str, problem: str, *, state: str) -> None:
        self.view, self.problem = view, problem
        super().__init__(
            f"A row does not fit {view}: {problem}. {state} Correct the row, or cast the column where the table is made; or "
            "declare a type that holds the value."
        )


def shortened(value: object) -> str:
    """A value as a message shows it."""
    text = repr(value)
    return text if len(text) <= 80 else f"{text[:77]}…"


class SchemaMissingError(OnlineError):
    """A record was written under a schema that the store no longer tells, or of which it tells something else."""

    def __init__(self, view: str) -> None:
        super().__init__(
            f"A record of {view} has a layout that the store does not describe, or not as it was written. Nothing is answered "
            f"for {view} until it is filled again: pedigree rebuild {view}."
        )


class DamagedRecordError(OnlineError):
    """A record is not what was written, or nobody tells how it is laid out."""

    def __init__(self, view: str) -> None:
        self.view = view
        super().__init__(
            f"A record of {view} in the online store is damaged: its bytes are not those that were written, or the store does "
            f"not describe their layout. Nothing of it is told. Fill the view again: pedigree rebuild {view}."
        )


class RecordError(OnlineError):
    """Bytes in the store are not a record."""

    def __init__(self, reason: str) -> None:
        super().__init__(f"Bytes in the online store are not a record: {reason}.")


class DamagedError(OnlineError):
    """What the store keeps beside the rows is not what was written."""

    def __init__(self, what: str, reason: str, *, mends: str) -> None:
        self.what = what
        super().__init__(
            f"The online store is damaged where it keeps {what}: {reason}. Nothing is answered from it; the tables and "
            f"everything else in the store are as they were. Write it anew: {mends}."
        )


class NewerFormatError(OnlineError):
    """What the store keeps was written by a newer release, in a way that this one does not know."""

    transient = True

    def __init__(self, what: str, *, found: int, known: int) -> None:
        self.found = found
        super().__init__(
            f"A newer release wrote {what}: its format is {found}, and this release reads up to {known}. Nothing is answered "
            "from it here. Ask a server of the newer release, or upgrade this one."
        )


class PlanError(OnlineError):
    """A serving plan cannot be read."""

    def __init__(self, problems: Sequence[str], remedy: str = "Run `feast apply` to compile it anew.") -> None:
        super().__init__(f"The serving plan cannot be read: {'; '.join(problems)}. {remedy}")


class ExpressionError(OnlineError):
    """What a plan holds of an on-demand view's function is not what this release compiles, so nothing of it is computed."""

    def __init__(self, reason: str) -> None:
        self.reason = reason
        super().__init__(f"an on-demand view's expression is refused: {reason}")


class UncompiledError(OnlineError):
    """A function has something that is not compiled. `line` counts in the function's own text, decorators too."""

    def __init__(self, construct: str, line: int) -> None:
        self.construct = construct
        self.line = line
        super().__init__(f"{construct} (line {line})")


class NotLoadedError(OnlineError):
    """A view has no load that ended, so a row that is missing says nothing."""

    transient = True

    def __init__(self, view: str) -> None:
        self.view = view
        super().__init__(
            f"{view} is not loaded: it was never materialized to the end, or the online store was emptied. "
            f"Run `pedigree rebuild {view}`, or `feast materialize`."
        )


class RowsEvictedError(OnlineError):
    """Redis may have evicted rows of a view, so a row that is missing says nothing."""

    transient = True

    def __init__(self, view: str) -> None:
        self.view = view
        super().__init__(
            f"Redis has evicted keys since {view} was filled, so nobody knows whether a row that is missing ever was. Set its "
            f"maxmemory-policy to noeviction, give it more memory, and run `pedigree rebuild {view}`."
        )


class UnstorableViewError(OnlineError):
    """A view's name or types cannot be stored."""

    def __init__(self, view: str, reason: str) -> None:
        self.view = view
        super().__init__(f"{view} cannot be stored or served: {reason}, and `feast apply`. Nothing was written.")


class PlanContendedError(OnlineError):
    """Others change definitions faster than a plan can be compiled of them."""

    transient = True

    def __init__(self, project: str) -> None:
        super().__init__(
            f"The definitions of {project} were changed by others again and again while the serving plan was compiled. The "
            "registry has yours; servers go by the plan of the other changes. Run `feast apply` again once they are done."
        )


class StoreAwayError(OnlineError):
    """The online store cannot be told of new definitions."""

    transient = True

    def __init__(self, address: str, reason: str) -> None:
        super().__init__(
            f"The online store at {address} cannot be written: {reason}. The registry has the new definitions, but servers and "
            "store do not know them. Start it (on a laptop: pedigree up) or put `online_store` right; then `feast apply` again."
        )
