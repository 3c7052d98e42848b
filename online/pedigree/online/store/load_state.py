"""What is loaded of each view, and by whom each record was written. Kept as JSON, for people to read in `redis-cli`.

Both have a format. Members that a reader does not know are ignored, so a release may add some; where the old ones come to mean
something else the format rises, and older releases refuse it. Without the member `format` it is 1: releases that would not
ignore a new member are still in use.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import Annotated, TypeVar

from pydantic import Field, TypeAdapter, ValidationError

from pedigree.online.errors import DamagedError, NewerFormatError

FORMAT = 1
"""The newest format that this release reads, and the one that it writes."""

Count = Annotated[int, Field(ge=0)]
T = TypeVar("T")


class LoadStatus(StrEnum):
    """How far a view is."""

    DECLARED = "declared"
    """`feast apply` knows it; no row was ever written."""
    LOADING = "loading"
    """A first load is under way, or broke off."""
    OPEN = "open"
    """Rows come one by one (push, write-to-online-store), without a load."""
    LOADED = "loaded"
    """A load ended."""


READABLE = frozenset({LoadStatus.OPEN, LoadStatus.LOADED})


@dataclass(frozen=True, slots=True)
class LoadState:
    """What the store holds of one view.

    Attributes:
        generation: the field that is read; a full refresh is built in the next one.
        load: the number of the last load that ended, 0 where none has.
        version: the table version that it loaded.
        committed_us: when that was committed, by the table's history: it tells it from a version of the same number in a table
            that was made anew. None where a release before loaded it.
        since_us, until_us: the event times that are loaded, in µs of UTC.
        newest_us: the newest event time that a load wrote.
        loaded_us: when the last load ended.
        rows: the keys that the last full load wrote.
        withheld: the version up to which nothing is loaded, since it was rolled back; None where none was.
        evictable: whether Redis could evict rows while they were written. What it had evicted by then is kept apart, and may
            itself be evicted.
        table_id: Delta's own id of the table, which another table at the same place does not have.
        definition: what tells the records from those of another definition of the view (features, types, keys, columns).
        keys: the join keys, which the places of the records follow from.

    What a release before loaded has neither of the last three. A load may leave a row out only where they are those of the
    view and the table today.
    """

    state: LoadStatus
    generation: Count = 0
    load: Count = 0
    version: int | None = None
    since_us: int | None = None
    until_us: int | None = None
    newest_us: int | None = None
    loaded_us: int | None = None
    rows: int = 0
    withheld: int | None = None
    committed_us: int | None = None
    evictable: bool = False
    table_id: str | None = None
    definition: str | None = None
    keys: tuple[str, ...] | None = None

    @property
    def readable(self) -> bool:
        """True where a key without a record is a key that has no row."""
        return self.state in READABLE

    def text(self) -> str:
        """As it is kept."""
        return json.dumps(asdict(self), separators=(",", ":"))

    @classmethod
    def read(cls, text: bytes, view: str) -> LoadState:
        """What `text` says of a view.

        Raises:
            DamagedError, NewerFormatError: it says nothing that this release can read.
        """
        return kept(MARK, text, f"what is loaded of {view}", mends=f"pedigree rebuild {view}")


@dataclass(frozen=True, slots=True)
class Load:
    """Who wrote records: a run, from a version of a table."""

    view: str
    run_id: str
    table: str
    version: int

    def text(self) -> str:
        """As it is kept."""
        return json.dumps(asdict(self), separators=(",", ":"))

    @classmethod
    def read(cls, text: bytes, number: int) -> Load:
        """What `text` says of a load.

        Raises:
            DamagedError, NewerFormatError: it says nothing that this release can read.
        """
        return kept(LOAD, text, f"who wrote the rows of load {number}", mends="pedigree rebuild with the view's name")


@dataclass(frozen=True, slots=True)
class OpenLoad:
    """A load that has begun and not ended well.

    Attributes:
        moves_from: the generation out of which it still has to take pushed rows, though its own is read by now; None before that.
    """

    view: str
    moves_from: int | None = None

    def text(self) -> str:
        """As it is kept."""
        return json.dumps(asdict(self), separators=(",", ":"))

    @classmethod
    def read(cls, text: bytes, number: int) -> OpenLoad:
        """What `text` says of a load.

        Raises:
            DamagedError, NewerFormatError: it says nothing that this release can read.
        """
        return kept(OPEN_LOAD, text, f"that load {number} is open", mends="pedigree rebuild")


@dataclass(frozen=True, slots=True)
class Kept:
    """What everything that is kept has."""

    format: Annotated[int, Field(ge=1)] = 1


FORMATS, MARK, LOAD, OPEN_LOAD = TypeAdapter(Kept), TypeAdapter(LoadState), TypeAdapter(Load), TypeAdapter(OpenLoad)


def kept(kind: TypeAdapter[T], text: bytes, what: str, *, mends: str) -> T:
    """What was kept as `text`, without the members that are not known.

    Args:
        what: what it says, for people.
        mends: the command that writes it anew.
    Raises:
        DamagedError: it is not what was written.
        NewerFormatError: a newer release wrote it, in a way that this one does not know.
    """
    try:
        found = FORMATS.validate_json(text, strict=True).format
        if found > FORMAT:
            raise NewerFormatError(what, found=found, known=FORMAT)
        return kind.validate_json(text, strict=True)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        where = ".".join(map(str, first["loc"]))
        raise DamagedError(what, f"{where}: {first['msg']}" if where else first["msg"], mends=mends) from None
