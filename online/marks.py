"""What is loaded of each view, and by whom each record was written. Kept as JSON, for people to read in `redis-cli`."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from enum import StrEnum


class State(StrEnum):
    """How far a view is."""

    DECLARED = "declared"
    """`feast apply` knows it; no row was ever written."""
    LOADING = "loading"
    """A first load is under way, or broke off."""
    OPEN = "open"
    """Rows come one by one (push, write-to-online-store), without a load."""
    LOADED = "loaded"
    """A load ended."""


READABLE = frozenset({State.OPEN, State.LOADED})


@dataclass(frozen=True, slots=True)
class Mark:
    """What the store holds of one view.

    Attributes:
        generation: the field that is read; a full refresh is built in the next one.
        load: the number of the last load that ended, 0 where none has.
        version: the table version that it loaded.
        since_us, until_us: the event times that are loaded, in µs of UTC.
        newest_us: the newest event time that a load wrote.
        loaded_us: when the last load ended.
        rows: the keys that the last full load wrote.
        withheld: the version up to which nothing is loaded, since it was rolled back; None where none was.
    """

    state: State
    generation: int = 0
    load: int = 0
    version: int | None = None
    since_us: int | None = None
    until_us: int | None = None
    newest_us: int | None = None
    loaded_us: int | None = None
    rows: int = 0
    withheld: int | None = None

    @property
    def readable(self) -> bool:
        """True where a key without a record is a key that has no row."""
        return self.state in READABLE

    def text(self) -> str:
        """As it is kept."""
        return json.dumps(asdict(self), separators=(",", ":"))

    @classmethod
    def read(cls, text: bytes) -> Mark:
        """What `text` says."""
        values = json.loads(text)
        return cls(**values | {"state": State(values["state"])})


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
    def read(cls, text: bytes) -> Load:
        """What `text` says."""
        return cls(**json.loads(text))


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
    def read(cls, text: bytes) -> OpenLoad:
        """What `text` says; members of a later release are left alone."""
        values = json.loads(text)
        return cls(values["view"], values.get("moves_from"))
