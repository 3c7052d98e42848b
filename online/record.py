"""The packed record of one view for one entity key. Pure: bytes in, bytes out, and no message is ever parsed.

    event time i64 · created time i64 · load u32 · fingerprint 4 B · nulls ⌈n/8⌉ B · fixed · lengths · values · whole

Times are microseconds of UTC, big-endian, so that a Redis script can compare them. `load` is the number of the run that wrote
it. The fingerprint names the schema. *Fixed* holds what always has one width (double, float, bool) and *whole* the whole numbers,
varints that say themselves where they end; both without the constant tag of their `Value`. Every other value is a serialized
`feast.types.Value` with its length in one byte (255: four bytes more say it). A reply is spliced from these bytes: nothing is
decoded in between.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cached_property
from hashlib import blake2b
from struct import Struct
from struct import error as StructError

from online.errors import DamagedError, NewerFormatError, RecordError

HEAD = Struct(">qqI4s")
FINGERPRINT = 4
"""The bytes at the end of a head that name the record's layout."""
LONG = Struct(">I")
LONG_MARK = 255
NO_CREATED = -(2**53)
"""What stands for a created time that nobody told; older than every other. Redis's scripts are exact from here (1684) to 2255."""

FIXED = {"DOUBLE": (b"\x29", 8), "FLOAT": (b"\x35", 4), "BOOL": (b"\x38", 1)}
"""The types of one width: the tag of their `Value`, and the bytes that follow it."""

WHOLE = {"INT32": b"\x18", "INT64": b"\x20", "UNIX_TIMESTAMP": b"\x40"}
"""The types of whole numbers: the tag of their `Value`, which a varint follows."""

VARINT = re.compile(rb"[\x80-\xff]{0,9}[\x00-\x7f]")
"""One whole number."""

LAYOUT = 2
TITLE = f"pedigree record {LAYOUT}"

EPOCH = datetime.fromtimestamp(0, UTC)
MICROSECOND = timedelta(microseconds=1)


@dataclass(frozen=True, slots=True)
class Head:
    """What a record says of itself: times in µs (`created_us` None where nobody told), and the load that wrote it."""

    event_us: int
    created_us: int | None
    load: int
    fingerprint: bytes


@dataclass(frozen=True)
class Schema:
    """The features of a view, in the order of its records: names and Feast's names of their types."""

    names: tuple[str, ...]
    types: tuple[str, ...]

    def __reduce__(self) -> tuple[type[Schema], tuple[tuple[str, ...], tuple[str, ...]]]:
        return Schema, (self.names, self.types)  # what is compiled from them stays where it was compiled

    @classmethod
    def of(cls, features: Iterable[tuple[str, str]]) -> Schema:
        """The schema of (name, type) pairs."""
        pairs = tuple(features)
        return cls(tuple(name for name, _ in pairs), tuple(kind for _, kind in pairs))

    @classmethod
    def read(cls, text: str) -> Schema:
        """The schema that `text` describes.

        Raises:
            RecordError: its records are laid out in a way that this version does not read.
        """
        title, *lines = text.splitlines()
        if title != TITLE:
            raise RecordError(f"its layout is {title!r} and this version reads {TITLE!r}: run `pedigree rebuild`")
        return cls.of(tuple(line.rsplit(" ", 1)) for line in lines)  # type: ignore[misc]

    @classmethod
    def kept(cls, text: bytes, fingerprint: bytes) -> Schema:
        """The schema that the store keeps under a fingerprint.

        Raises:
            DamagedError: it keeps something else there.
            NewerFormatError: its records are laid out as a newer release does it.
            RecordError: they are laid out as an older one did.
        """
        title = re.match(rb"pedigree record (\d{1,9})\n", text)
        if title and int(title[1]) > LAYOUT:
            raise NewerFormatError("rows of the online store", found=int(title[1]), known=LAYOUT)
        try:
            if not title:
                raise ValueError
            found = cls.read(text.decode())
            if found.fingerprint == fingerprint:
                return found
            reason = "it is that of other records"
        except ValueError:
            reason = "it is none"
        raise DamagedError(f"the layout {fingerprint.hex()} of records", reason, mends="pedigree rebuild")

    @cached_property
    def text(self) -> str:
        """The schema as the store keeps it."""
        return "\n".join([TITLE, *(f"{name} {kind}" for name, kind in zip(self.names, self.types, strict=True))])

    @cached_property
    def fingerprint(self) -> bytes:
        """Four bytes that name the schema and the layout."""
        return blake2b(self.text.encode(), digest_size=FINGERPRINT).digest()

    @cached_property
    def fixed(self) -> tuple[int, ...]:
        """The places of features of one width."""
        return tuple(place for place, kind in enumerate(self.types) if kind in FIXED)

    @cached_property
    def whole(self) -> tuple[int, ...]:
        """The places of whole numbers."""
        return tuple(place for place, kind in enumerate(self.types) if kind in WHOLE)

    @cached_property
    def varying(self) -> tuple[int, ...]:
        """The places of all others."""
        return tuple(place for place, kind in enumerate(self.types) if kind not in FIXED and kind not in WHOLE)

    @cached_property
    def is_even(self) -> bool:
        """Whether all records are of one width."""
        return len(self.fixed) == len(self.types)

    @cached_property
    def null_bytes(self) -> int:
        """How many bytes say which values are null."""
        return (len(self.types) + 7) // 8

    @cached_property
    def head(self) -> Struct:
        """Nulls and fixed values, behind the head."""
        widths = "".join(f"{FIXED[self.types[place]][1]}s" for place in self.fixed)
        return Struct(f">{HEAD.size}x{self.null_bytes}s{widths}")

    def pack(self, head: Head, values: Sequence[bytes | None]) -> bytes:
        """A record.

        Args:
            values: the serialized `Value` of each feature; None is null.
        """
        created = NO_CREATED if head.created_us is None else head.created_us
        nulls = sum(1 << place for place, value in enumerate(values) if not value)
        fixed = (
            values[place][1:] if values[place] else bytes(FIXED[self.types[place]][1])  # type: ignore[index]
            for place in self.fixed
        )
        varying = [values[place] or b"" for place in self.varying]
        whole = [(values[place] or bytes(2))[1:] for place in self.whole]
        return b"".join(
            (
                HEAD.pack(head.event_us, created, head.load, self.fingerprint),
                nulls.to_bytes(self.null_bytes, "little"),
                *fixed,
                bytes(min(len(value), LONG_MARK) for value in varying),
                *(value if len(value) < LONG_MARK else LONG.pack(len(value)) + value for value in varying),
                *whole,
            )
        )

    def unpack(self, record: bytes) -> list[bytes | None]:
        """The serialized `Value` of each feature; None is null.

        Raises:
            RecordError: the bytes are no record of this schema.
        """
        try:
            nulls, *fixed = self.head.unpack_from(record)
        except StructError as error:
            raise RecordError("it is too short") from error
        values: list[bytes | None] = [None] * len(self.types)
        for place, value in zip(self.fixed, fixed, strict=True):
            values[place] = FIXED[self.types[place]][0] + value
        varying, whole = self.uneven(record)
        for place, value in zip(self.varying, varying, strict=True):
            values[place] = value
        for place, number in zip(self.whole, whole, strict=True):
            values[place] = WHOLE[self.types[place]] + number
        missing = int.from_bytes(nulls, "little")
        return [None if missing >> place & 1 else value for place, value in enumerate(values)]

    def uneven(self, record: bytes) -> tuple[list[bytes], list[bytes]]:
        """What has no width of its own: the varying values, empty where null, and the whole numbers, 0 where null.

        Raises:
            RecordError: the bytes are no record of this schema.
        """
        start = self.head.size
        at = start + len(self.varying)
        varying = []
        for length in record[start:at]:
            if length == LONG_MARK:
                length = int.from_bytes(record[at : at + LONG.size], "big")
                at += LONG.size
            varying.append(record[at : at + length])
            at += length
        whole = VARINT.findall(record, at)
        told = at + sum(map(len, whole))
        if len(whole) != len(self.whole) or told != len(record):
            raise RecordError(f"it has {len(record)} bytes and {told} are told")
        return varying, whole


def micros(at: datetime) -> int:
    """Microseconds of UTC; a time that names no zone is UTC, as Feast has it."""
    aware = at.replace(tzinfo=UTC) if at.tzinfo is None else at
    return (aware - EPOCH) // MICROSECOND


def event_us_of(record: bytes) -> int:
    """The event time of a record.

    Raises:
        RecordError: the bytes are no record.
    """
    if len(record) < HEAD.size:
        raise RecordError("it is too short")
    return int.from_bytes(record[:8], "big", signed=True)


def fingerprint_of(record: bytes) -> bytes:
    """The layout of a record."""
    return record[HEAD.size - FINGERPRINT : HEAD.size]


def head_of(record: bytes) -> Head:
    """What a record says of itself.

    Raises:
        RecordError: the bytes are no record.
    """
    try:
        event_us, created, load, fingerprint = HEAD.unpack_from(record)
    except StructError as error:
        raise RecordError("it is too short") from error
    return Head(event_us, None if created == NO_CREATED else created, load, fingerprint)
