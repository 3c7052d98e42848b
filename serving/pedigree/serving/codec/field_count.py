"""How many fields a serialized request has, counted on its bytes, so that too large a one is never turned into objects. Pure.

Protobuf makes an object of each message within a message, so 4 MB of empty values are two million objects and a tenth of a second
in which nobody else is answered. Counting stops as soon as there are too many.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

SMALL = 1 << 15
"""Bytes of a request that is not worth counting: it is turned into objects in a few milliseconds, whatever it holds."""
SHORT = 16
"""Bytes of a message that is not looked into: it counts as one."""
LENGTH_DELIMITED = 2
SKIPPED = {1: 8, 5: 4}
"""The bytes of wire types of one width."""


@dataclass(frozen=True, slots=True)
class Shape:
    """What a message holds that has to be counted.

    Attributes:
        within: fields that are messages, by number.
        plain: fields with a length that hold no message; None: all that are not within.
    """

    within: Mapping[int, Shape] = field(default_factory=dict)
    plain: frozenset[int] | None = None


VALUE = Shape(plain=frozenset({1, 2}))
"""A `Value`: bytes and texts are plain; lists and maps, which no request needs, count by their bytes."""
VALUES = Shape({1: VALUE})
NAMED_VALUES = Shape({2: VALUES})
NAMES = Shape()
GET_ONLINE_FEATURES = Shape({2: NAMES, 3: NAMED_VALUES, 5: NAMED_VALUES})
GET_VECTORS = Shape({2: NAMES, 3: Shape({4: VALUE})})
EXPLAIN = Shape({3: Shape({2: VALUE})})


def has_more_fields(data: bytes, shape: Shape, limit: int) -> bool:
    """Whether a message has more than `limit` fields. Bytes that are no message have none: whoever reads them says so."""
    return len(data) > SMALL and counted(data, 0, len(data), shape, limit) > limit


def counted(data: bytes, at: int, end: int, shape: Shape, limit: int) -> int:
    """The fields of the message between two places, and of those within it; any number above `limit` where there are more."""
    count = 0
    try:
        while at < end and count <= limit:
            key, at = varint_at(data, at)
            count += 1
            wire_type = key & 7
            if wire_type == 0:
                _, at = varint_at(data, at)
            elif wire_type == LENGTH_DELIMITED:
                length, at = varint_at(data, at)
                if length > SHORT:
                    stop = min(at + length, end)
                    count += counted_within(data, at, stop, shape, key >> 3, limit - count)
                at += length
            else:
                at += SKIPPED.get(wire_type, 0)
    except IndexError:
        return count
    return count


def counted_within(data: bytes, at: int, end: int, shape: Shape, number: int, limit: int) -> int:
    """The fields within a field of a message."""
    inner = shape.within.get(number)
    if inner is not None:
        return counted(data, at, end, inner, limit)
    return 0 if shape.plain is None or number in shape.plain else end - at


def varint_at(data: bytes, at: int) -> tuple[int, int]:
    """The varint at a place, and where it ends.

    Raises:
        IndexError: there is none.
    """
    byte = data[at]
    at += 1
    if byte < 128:
        return byte, at
    found, shift = byte & 127, 7
    while True:
        byte = data[at]
        at += 1
        found |= (byte & 127) << shift
        if byte < 128:
            return found, at
        shift += 7
        if shift > 63:
            raise IndexError
