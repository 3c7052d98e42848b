"""What the backend answers when it cannot answer, with the status of each: the one table from error to HTTP."""

from __future__ import annotations

from sqlalchemy.exc import DataError, DBAPIError, OperationalError, StatementError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError

from pedigree.lineage.backend.event_parser import InvalidEventError, MalformedEventError
from pedigree.lineage.errors import LineageError
from pedigree.lineage.strict_json import NotStrictJsonError


class NotFoundError(LineageError):
    """Nothing of that name was recorded; the message is Marquez's."""

    def __init__(self, kind: str, name: str) -> None:
        super().__init__(f"{kind} '{name}' not found.")


class BadRequestError(LineageError):
    """A parameter or a body cannot be understood."""


class NotAllowedError(LineageError):
    """The request carries no key, or a wrong one."""

    def __init__(self) -> None:
        super().__init__("Send the backend's key as `Authorization: Bearer …` (PEDIGREE_LINEAGE_API_KEY).")


class TooLargeError(LineageError):
    """A body is larger than this backend takes."""


class SupersededError(LineageError):
    """An endpoint that Marquez has deprecated in favour of OpenLineage events."""

    def __init__(self) -> None:
        super().__init__("Marquez has deprecated this endpoint. POST an OpenLineage event to /api/v1/lineage instead.")


class UnstorableError(LineageError):
    """The database refuses what was sent, and would refuse it again."""

    def __init__(self, reason: str) -> None:
        super().__init__(f"The database cannot keep this: {reason}. Nothing was stored.")


class DatabaseUnavailableError(LineageError):
    """The database does not answer, or not in time."""

    transient = True

    def __init__(self) -> None:
        super().__init__("The lineage database does not answer. Try again.")


STATUS: dict[type[LineageError], int] = {
    BadRequestError: 400,
    MalformedEventError: 400,
    NotStrictJsonError: 400,
    NotAllowedError: 401,
    NotFoundError: 404,
    SupersededError: 405,
    TooLargeError: 413,
    InvalidEventError: 422,
    UnstorableError: 422,
    DatabaseUnavailableError: 503,
}

UNSTORABLE_SQLSTATES = ("22", "54")
"""PostgreSQL's classes of errors that speak of the data: data exceptions, and limits of the program such as an index row's."""
UNSTORABLE = (DataError, UnicodeError, OverflowError, RecursionError)
"""What drivers raise for values that they cannot send, and SQLite for those that it cannot keep."""


def database_refusal(error: Exception) -> LineageError | None:
    """What an error of the database, or on the way to it, means for who called; None for a fault of this program."""
    cause = error.orig if isinstance(error, StatementError) else error
    of_the_data = str(getattr(cause, "sqlstate", None) or "").startswith(UNSTORABLE_SQLSTATES)
    unsendable = isinstance(error, StatementError) and not isinstance(error, DBAPIError)
    if of_the_data or unsendable or isinstance(error, UNSTORABLE):
        return UnstorableError(str(cause).partition("\n")[0][:200])
    if isinstance(error, OperationalError | PoolTimeoutError):
        return DatabaseUnavailableError()
    return None
