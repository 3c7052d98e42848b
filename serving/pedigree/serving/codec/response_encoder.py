"""Records turned into Feast's reply: bytes put behind bytes. What Redis holds of a value is what the reply has of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from struct import Struct
from struct import error as StructError
from typing import Any
from zlib import crc32

import numpy as np
from google.protobuf.message import DecodeError

from pedigree.online.errors import DamagedRecordError, RecordError, SchemaMissingError
from pedigree.online.plans.plan import View
from pedigree.online.records.record import FIXED, HEAD, WHOLE, Schema, fingerprints_of, head_of, schema_of
from pedigree.serving.codec.damage import note_damage
from pedigree.serving.codec.fixed_width import Bytes, FixedWidthDecoder, events_of
from pedigree.serving.codec.protowire import IN_VALUES, VALUE_TAGS, delimited, delimited_head, in_values, timestamp
from pedigree.serving.v1.serving_pb2 import INVALID, NOT_FOUND, NULL_VALUE, OUTSIDE_MAX_AGE, PRESENT
from pedigree.serving.v1.value_pb2 import RepeatedValue, Value

YEAR_1_US, YEAR_10000_US = -62_135_596_800_000_000, 253_402_300_800_000_000
EARLIEST = -(1 << 63)
"""No event time is before this, in µs of UTC."""
NO_TIME = b"\x1a\x00"
FIRST_FIELD, SHORT = 0x0A, 127
"""The tag of a `RepeatedValue`'s values, and the longest length that one byte tells."""
NULL = in_values(b"")
ONE_PRESENT = delimited(2, bytes([PRESENT]))
Schemas = Mapping[bytes, Schema | None]
"""The layouts that the store was asked for, by fingerprint; None: it does not tell one."""

ABSENT = b""
"""What stands for a value that the row does not have, as it was written by another definition of the view. A null is None."""


@dataclass(frozen=True)
class ResponseEncoder:
    """How the records of one view become columns of a reply."""

    view: View

    @cached_property
    def schema(self) -> Schema:
        """The layout that the view's records have."""
        return self.view.schema

    @cached_property
    def ttl_us(self) -> int:
        """The age from which a value no longer counts; 0 or less is no limit."""
        return round(self.view.ttl.total_seconds() * 1e6)

    def oldest_us(self, now_us: int) -> int:
        """The oldest event time that still counts at an instant."""
        return max(now_us - self.ttl_us, EARLIEST) if self.ttl_us > 0 else EARLIEST

    @cached_property
    def wanted(self) -> tuple[int, ...]:
        """The place of each feature that is asked for, among those of a record."""
        places = {name: place for place, name in enumerate(self.schema.names)}
        return tuple(places[feature.name] for feature in self.view.features)

    @cached_property
    def struct(self) -> Struct:
        """Event time, nulls, and the fixed values that are asked for."""
        asked = set(self.wanted)
        widths = ((FIXED[self.schema.types[place]][1], place in asked) for place in self.schema.fixed)
        parts = "".join(f"{width}{'s' if is_asked else 'x'}" for width, is_asked in widths)
        return Struct(f">q{HEAD.size - 8}x{self.schema.null_bytes}s{parts}")

    @cached_property
    def sources(self) -> dict[int, tuple[int, bytes]]:
        """For each feature of one width that is asked for: its place among what `struct` reads, and what goes before each
        value.
        """
        asked = set(self.wanted)
        fixed = [place for place in self.schema.fixed if place in asked]
        tags = {place: FIXED[self.schema.types[place]] for place in fixed}
        return {place: (2 + fixed.index(place), IN_VALUES[width + 1] + tag) for place, (tag, width) in tags.items()}

    def columns(self, records: Sequence[bytes | None], *, now_us: int, schemas: Schemas) -> bytes:
        """The serialized `results` entries of the reply, one per feature.

        Args:
            records: the record of each row, None where there is none.
            now_us: the instant against which ages are judged.
            schemas: the layouts of records that were written under an older one.
        Raises:
            SchemaMissingError: a record has a layout that the store was not asked for yet.
        """
        oldest_us = self.oldest_us(now_us)
        block = self.block_decoder.block(records, oldest_us=oldest_us)
        if block is not None:
            return self.from_block(block)
        if None not in records:
            found = self.unpacked(records)  # type: ignore[arg-type]  # none is None here
            if found and self.are_plain(found, oldest_us) and set(map(crc32, records)) == {self.schema.checksum}:  # type: ignore[arg-type]
                return self.plain(found, records)  # type: ignore[arg-type]
        return self.careful(records, now_us=now_us, schemas=schemas)

    @cached_property
    def block_decoder(self) -> FixedWidthDecoder:
        """How many records at once are read."""
        return FixedWidthDecoder(self.schema, self.wanted)

    def from_block(self, block: Bytes) -> bytes:
        """Columns of a block of records, in which every value is PRESENT."""
        rows = len(block)
        events = events_of(block).tolist()
        tail = np.frombuffer(all_present(rows) + times(events), np.uint8)
        found = []
        for run in self.block_decoder.runs:
            tag, width = FIXED[run.kind]
            prefix = np.frombuffer(IN_VALUES[width + 1] + tag, np.uint8)
            cell = len(prefix) + width
            head = np.frombuffer(delimited_head(2, rows * cell + len(tail)), np.uint8)
            columns = np.empty((run.count, len(head) + rows * cell + len(tail)), np.uint8)
            columns[:, : len(head)] = head
            columns[:, columns.shape[1] - len(tail) :] = tail
            cells = columns[:, len(head) : len(head) + rows * cell].reshape(run.count, rows, cell)
            cells[:, :, : len(prefix)] = prefix
            cells[:, :, len(prefix) :] = block[:, run.start : run.stop].reshape(rows, run.count, width).swapaxes(0, 1)
            found.append(columns.tobytes())
        return b"".join(found)

    def unpacked(self, records: Sequence[bytes]) -> list[tuple[Any, ...]]:
        """What `struct` reads of the records, by column; nothing where one is too short: of another layout or none."""
        try:
            return list(zip(*map(self.struct.unpack_from, records), strict=True))
        except StructError:
            return []

    def are_plain(self, columns: Sequence[tuple[Any, ...]], oldest_us: int) -> bool:
        """True where every row has no null, and is young enough."""
        events, nulls, *_ = columns
        return min(events) >= oldest_us and set(nulls) == {self.no_nulls}

    @cached_property
    def no_nulls(self) -> bytes:
        """What a record says of nulls that has none."""
        return bytes(self.schema.null_bytes)

    def plain(self, fixed: Sequence[tuple[Any, ...]], records: Sequence[bytes]) -> bytes:
        """Columns in which every value is PRESENT."""
        bodies = self.uneven(records)
        tail = all_present(len(records)) + times(fixed[0])
        found: list[bytes] = []
        for place in self.wanted:
            if place in self.sources:
                column, prefix = self.sources[place]
                body = prefix + prefix.join(fixed[column])
            else:
                body = bodies[place]
            found += (delimited_head(2, len(body) + len(tail)), body, tail)
        return b"".join(found)

    def uneven(self, records: Sequence[bytes]) -> dict[int, bytes]:
        """The values of each feature that is asked for and has no width of its own, by its place."""
        schema = self.schema
        if schema.is_even:
            if set(map(len, records)) != {schema.even_size}:
                raise RecordError("its length is not that of its layout")
            return {}
        varying, whole = zip(*map(schema.uneven, records), strict=True)
        found = {place: tagged(tag, [numbers[at] for numbers in whole]) for place, at, tag in self.whole}
        for place, at in self.varying:
            found[place] = b"".join([in_values(values[at]) for values in varying])
        return found

    @cached_property
    def whole(self) -> list[tuple[int, int, bytes]]:
        """For each whole number that is asked for: its place, the one among a record's whole numbers, and its tag."""
        schema = self.schema
        return [(one, at, WHOLE[schema.types[one]]) for at, one in enumerate(schema.whole) if one in self.wanted]

    @cached_property
    def varying(self) -> list[tuple[int, int]]:
        """For each varying value that is asked for: its place, and the one among a record's varying values."""
        return [(one, at) for at, one in enumerate(self.schema.varying) if one in self.wanted]

    def careful(self, records: Sequence[bytes | None], *, now_us: int, schemas: Schemas) -> bytes:
        """Columns whose rows differ in what is to be said of them."""
        count, oldest_us = len(self.wanted), self.oldest_us(now_us)
        values: list[list[bytes]] = []
        statuses: list[bytes] = []
        stamps: list[bytes] = []
        for record in records:
            found = self.found(record, oldest_us=oldest_us, schemas=schemas, alone=len(records) == 1)
            stamps.append(NO_TIME if record is None or found == INVALID else stamp(head_of(record).event_us))
            if isinstance(found, int):
                values.append([NULL] * count)
                statuses.append(bytes([found]) * count)
            else:
                values.append([in_values(value or b"") for value in found])
                statuses.append(bytes(map(status_of, found)))
        tail = b"".join(stamps)
        status_columns = [bytes(column) for column in zip(*statuses, strict=True)]
        bodies = [b"".join(column) for column in zip(*values, strict=True)]
        pairs = zip(bodies, status_columns, strict=True)
        return b"".join(delimited(2, body + delimited(2, status) + tail) for body, status in pairs)

    def found(self, record: bytes | None, *, oldest_us: int, schemas: Schemas, alone: bool) -> list[bytes | None] | int:
        """The values that are asked for out of one record; or, where it has none to give, the status of all of them.

        Args:
            alone: whether no other row is asked for, so that nobody is denied anything by an error.
        Raises:
            SchemaMissingError: it has a layout that the store was not asked for yet.
            DamagedRecordError: it is damaged, and is asked for alone.
        """
        if record is None:
            return NOT_FOUND
        try:
            schema = self.schema_of(record, schemas)
            if schema is not None:
                event_us = head_of(record).event_us
                refuse_no_time(event_us)
                return self.values(record, schema) if event_us >= oldest_us else OUTSIDE_MAX_AGE
            reason = "its bytes are not those that were written, or nobody tells their layout"
        except RecordError as error:
            reason = str(error)
        note_damage(self.view.stored_as, reason)
        if alone:
            raise DamagedRecordError(self.view.stored_as)
        return INVALID

    def schema_of(self, record: bytes, schemas: Schemas) -> Schema | None:
        """The layout of a record; None where it is damaged.

        Raises:
            SchemaMissingError: the store was not asked yet for the layout that it may have.
        """
        if crc32(record) == self.schema.checksum:
            return self.schema
        found = schema_of(record, schemas)
        if found is None and not all(one in schemas for one in fingerprints_of(record)):
            raise SchemaMissingError(self.view.stored_as)
        return found

    def values(self, record: bytes, schema: Schema) -> list[bytes | None]:
        """The values that are asked for out of one record; ABSENT for a feature that its layout does not have.

        Such a record was written before the feature, or its type, came into the view.

        Raises:
            RecordError: its bytes are not what the layout tells.
        """
        every = schema.unpack(record)
        if schema is self.schema:
            return [every[place] for place in self.wanted]
        by_name = dict(zip(zip(schema.names, schema.types, strict=True), every, strict=True))
        found = [by_name.get((feature.name, feature.value_type), ABSENT) for feature in self.view.features]
        if not schema.is_sealed:
            for value, feature in zip(found, self.view.features, strict=True):
                refuse_unreadable(value, feature.value_type)
        return found


def status_of(value: bytes | None) -> int:
    """The status of one value of a row that is there."""
    if value:
        return PRESENT
    return NULL_VALUE if value is None else NOT_FOUND


def refuse_no_time(event_us: int) -> None:
    """Raise where an event time is none that a protobuf `Timestamp` may tell.

    Raises:
        RecordError: it is not.
    """
    if not YEAR_1_US <= event_us < YEAR_10000_US:
        raise RecordError("its event time is none")


def refuse_unreadable(value: bytes | None, kind: str) -> None:
    """Raise where a value out of a record without a seal is no `Value` of its type.

    Raises:
        RecordError: it is not.
    """
    if not value:
        return
    try:
        message = Value.FromString(value)
    except DecodeError as error:
        raise RecordError("a value of it cannot be read") from error
    if not value.startswith(VALUE_TAGS[kind]) or len(message.ListFields()) != 1:
        raise RecordError("a value of it is of another type")


def tagged(tag: bytes, numbers: Sequence[bytes]) -> bytes:
    """Whole numbers as `FeatureVector.values`."""
    lengths = set(map(len, numbers))
    if len(lengths) == 1:
        prefix = IN_VALUES[lengths.pop() + 1] + tag
        return prefix + prefix.join(numbers)
    return b"".join([IN_VALUES[len(number) + 1] + tag + number for number in numbers])


def times(events_us: Sequence[int]) -> bytes:
    """The event times of a column."""
    if len(set(events_us)) == 1:
        return stamp(events_us[0]) * len(events_us)
    return b"".join(map(stamp, events_us))


stamp = lru_cache(maxsize=65_536)(timestamp)


@lru_cache(maxsize=1024)
def all_present(count: int) -> bytes:
    """The statuses of a column in which every value is PRESENT."""
    return delimited(2, bytes([PRESENT]) * count)


def echo(values: Sequence[bytes]) -> bytes:
    """The `results` entry of a join key: the values as they were sent."""
    return delimited(2, b"".join(map(in_values, values)) + all_present(len(values)) + NO_TIME * len(values))


def parted(values: RepeatedValue) -> list[bytes]:
    """Each of a message's values, serialized: the message is written once and cut where one value ends. Fields that are not known
    here, as a client of a later release may send them, are left out first: they are no part of a key.
    """
    values.DiscardUnknownFields()
    written = values.SerializeToString()
    found, at, end = [], 0, len(written)
    while at < end:
        length = written[at + 1]
        if written[at] != FIRST_FIELD or length > SHORT:
            return [value.SerializeToString() for value in values.val]
        at += 2 + length
        found.append(written[at - length : at])
    return found
