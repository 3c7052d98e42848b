"""The few bytes of protobuf that replies are spliced with: tags, lengths and times. Pure."""

from __future__ import annotations

from functools import cache, lru_cache

from pedigree.serving.v1.value_pb2 import Value

LENGTH_DELIMITED = 2
UNSIGNED = (1 << 64) - 1
"""What makes a whole number below zero the one that its varint tells."""
WIRE_TYPES = {1: 1, 2: 5, 3: 0, 4: 0, 5: 0, 8: 0, 13: 0, 14: 0}
"""By protobuf's number of a field's type; all others are told with their length."""


def written(number: int) -> bytes:
    """A whole number, not below zero, in base 128."""
    parts = bytearray()
    while number > 127:
        parts.append(number & 127 | 128)
        number >>= 7
    parts.append(number)
    return bytes(parts)


WRITTEN = [written(number) for number in range(1 << 14)]


def varint(number: int) -> bytes:
    """A whole number, not below zero, in base 128."""
    return WRITTEN[number] if number < len(WRITTEN) else written(number)


@cache
def tag(field: int, wire_type: int = LENGTH_DELIMITED) -> bytes:
    """What a field starts with."""
    return varint(field << 3 | wire_type)


@lru_cache(maxsize=4096)
def delimited_head(field: int, length: int) -> bytes:
    """What goes before the content of a field of some length."""
    return tag(field) + varint(length)


def delimited(field: int, content: bytes) -> bytes:
    """A field with its length."""
    return b"%b%b%b" % (tag(field), varint(len(content)), content)


def value_tags() -> dict[str, bytes]:
    """What a serialized `Value` starts with, by Feast's name of its type."""
    fields = Value.DESCRIPTOR.oneofs_by_name["val"].fields
    return {
        field.name.removesuffix("_val").upper(): tag(
            field.number, LENGTH_DELIMITED if field.is_repeated else WIRE_TYPES.get(field.type, LENGTH_DELIMITED)
        )
        for field in fields
    }


VALUE_TAGS = value_tags()
IN_VALUES = [b"\n" + varint(length) for length in range(256)]
"""What a value of each length starts with in `FeatureVector.values`."""


def in_values(value: bytes) -> bytes:
    """A serialized `Value` as one of `FeatureVector.values`; an empty one is a null."""
    return (IN_VALUES[len(value)] if len(value) < 256 else b"\n" + varint(len(value))) + value


def timestamp(event_us: int) -> bytes:
    """A `google.protobuf.Timestamp` as one of `FeatureVector.event_timestamps`."""
    seconds, micros = divmod(event_us, 1_000_000)
    content = b""
    if seconds:
        content += b"\x08" + varint(seconds & UNSIGNED)
    if micros:
        content += b"\x10" + varint(micros * 1000)
    return b"\x1a" + varint(len(content)) + content
