"""The packed record of one view for one entity key. Pure: bytes in, bytes out, and no message is ever parsed.

    event time i64 · created time i64 · load u32 · nulls ⌈n/8⌉ B · fixed · lengths · values · whole · seal u32

Times are microseconds of UTC, big-endian, so that a Redis script can compare them. `load` is the number of the run that wrote
it. *Fixed* holds what always has one width (double, float, bool) and *whole* the whole numbers, varints that say themselves
where they end; both without the constant tag of their `Value`. Every other value is a serialized `feast.types.Value` with its
length in one byte (255: four bytes more say it). A reply is spliced from these bytes: nothing is decoded in between.

The *seal* is the CRC-32 of all before it, xor the fingerprint of the schema, little-endian. So all intact records of a schema
have one and the same CRC-32: one comparison tells the schema, and that no bit has changed. Records of layout 2 have their
fingerprint behind `load` and no seal. They are still read; what is written has layout 3.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cached_property
from hashlib import blake2b
from struct import Struct
from struct import error as StructError
from zlib import crc32

from pedigree.online.errors import DamagedError, NewerFormatError, RecordError

HEAD = Struct(">qqI")
FINGERPRINT = SEAL = 4
"""The bytes of what names a schema; those at the end of a record that say it is intact."""
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

UNSEALED, LAYOUT = 2, 3
"""The layout of the release before, and that of today."""
TITLES = {f"pedigree record {layout}": layout for layout in (UNSEALED, LAYOUT)}
TITLE_OF = {layout: title for title, layout in TITLES.items()}

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
    """The features of a view, in the order of its records: names and Feast's names of types; and how records are laid out."""

    names: tuple[str, ...]
    types: tuple[str, ...]
    layout: int = LAYOUT

    def __reduce__(self) -> tuple[type[Schema], tuple[tuple[str, ...], tuple[str, ...], int]]:
        return Schema, (self.names, self.types, self.layout)  # what is compiled from them stays where it was compiled

    @classmethod
    def of(cls, features: Iterable[tuple[str, str]], *, layout: int = LAYOUT) -> Schema:
        """The schema of (name, type) pairs."""
        pairs = tuple(features)
        return cls(tuple(name for name, _ in pairs), tuple(kind for _, kind in pairs), layout)

    @classmethod
    def read(cls, text: str) -> Schema:
        """The schema that `text` describes.

        Raises:
            RecordError: its records are laid out in a way that this version does not read.
        """
        title, *lines = text.splitlines()
        if title not in TITLES:
            raise RecordError(
                f"its layout is {title!r} and this version reads {TITLE_OF[LAYOUT]!r}: run `pedigree rebuild`"
            )
        return cls.of((tuple(line.rsplit(" ", 1)) for line in lines), layout=TITLES[title])  # type: ignore[misc]

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
        pairs = zip(self.names, self.types, strict=True)
        return "\n".join([TITLE_OF[self.layout], *(f"{name} {kind}" for name, kind in pairs)])

    @cached_property
    def fingerprint(self) -> bytes:
        """Four bytes that name the schema and the layout."""
        return blake2b(self.text.encode(), digest_size=FINGERPRINT).digest()

    @cached_property
    def is_sealed(self) -> bool:
        """Whether records say at their end that they are intact."""
        return self.layout != UNSEALED

    @cached_property
    def checksum(self) -> int:
        """The CRC-32 of every intact record: sealed with a seal of nothing."""
        return crc32(self.fingerprint)

    @cached_property
    def seal(self) -> int:
        """What the CRC-32 of a record without its seal is combined with."""
        return int.from_bytes(self.fingerprint, "little")

    @cached_property
    def tail(self) -> int:
        """The bytes behind all values."""
        return SEAL if self.is_sealed else 0

    @cached_property
    def even_size(self) -> int:
        """The bytes of a record in which everything has one width."""
        return self.head.size + self.tail

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
        named = 0 if self.is_sealed else FINGERPRINT
        return Struct(f">{HEAD.size + named}x{self.null_bytes}s{widths}")

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
        record = b"".join(
            (
                HEAD.pack(head.event_us, created, head.load),
                b"" if self.is_sealed else self.fingerprint,
                nulls.to_bytes(self.null_bytes, "little"),
                *fixed,
                bytes(min(len(value), LONG_MARK) for value in varying),
                *(value if len(value) < LONG_MARK else LONG.pack(len(value)) + value for value in varying),
                *whole,
            )
        )
        return record + (crc32(record) ^ self.seal).to_bytes(SEAL, "little") if self.is_sealed else record

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
        whole = VARINT.findall(record, at, len(record) - self.tail)
        told = at + sum(map(len, whole)) + self.tail
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
    """What names the schema of a sealed record, where it is intact; else any four bytes."""
    body, seal = record[:-SEAL], record[-SEAL:]
    return (crc32(body) ^ int.from_bytes(seal, "little")).to_bytes(FINGERPRINT, "little")


def fingerprints_of(record: bytes) -> tuple[bytes, bytes]:
    """What may name the schema of a record: of a sealed one, and of one of the layout before."""
    return fingerprint_of(record), record[HEAD.size : HEAD.size + FINGERPRINT]


def schema_of(record: bytes, schemas: Mapping[bytes, Schema | None]) -> Schema | None:
    """The schema by which a record is intact; None where it is none of those that are known, by fingerprint."""
    for fingerprint, is_sealed in zip(fingerprints_of(record), (True, False), strict=True):
        found = schemas.get(fingerprint)
        if found is not None and found.is_sealed is is_sealed:
            return found
    return None


def head_of(record: bytes) -> Head:
    """What a record says of itself; see `schema_of` for whether it is intact.

    Raises:
        RecordError: the bytes are no record.
    """
    try:
        event_us, created, load = HEAD.unpack_from(record)
    except StructError as error:
        raise RecordError("it is too short") from error
    return Head(event_us, None if created == NO_CREATED else created, load, fingerprint_of(record))
