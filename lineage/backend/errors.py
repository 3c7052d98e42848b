"""What the backend answers when it cannot answer, with the status of each: the one table from error to HTTP."""

from __future__ import annotations

from lineage.backend.incoming import InvalidEventError, MalformedEventError
from lineage.errors import LineageError


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


STATUS: dict[type[LineageError], int] = {
    BadRequestError: 400,
    MalformedEventError: 400,
    NotAllowedError: 401,
    NotFoundError: 404,
    SupersededError: 405,
    TooLargeError: 413,
    InvalidEventError: 422,
}
