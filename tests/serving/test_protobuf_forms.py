"""Requests as protobuf allows them to be written: whatever the form, what they say is one and the same."""

from __future__ import annotations

from collections.abc import Mapping

import grpc
import pytest

from pedigree.serving.codec.protowire import delimited as field

from .conftest import Client

FEATURES = "/feast.serving.ServingService/GetOnlineFeatures"
VECTORS = "/pedigree.serving.v1.FeatureService/GetVectors"
EXPLAIN = "/pedigree.serving.v1.FeatureService/Explain"

KIWI = b"\x20\x01"
"""A `Value` of the whole number 1, as it is usually written."""
NI = field(2, b"NI")
"""A `Value` of the text NI."""
UNKNOWN = {
    "a number": b"\xf8\x3f\x05",
    "a text": field(999, b"from a later release"),
    "eight bytes": b"\xf9\x3f" + bytes(8),
    "four bytes": b"\xfd\x3f" + bytes(4),
    "a group": b"\xfb\x3f\x08\x01\xfc\x3f",
}
"""Fields with the number 999 (1023 without a length), which no message here has."""

WHOLE: Mapping[str, bytes] = {
    **{f"{name} behind it": KIWI + unknown for name, unknown in UNKNOWN.items()},
    **{f"{name} before it": unknown + KIWI for name, unknown in UNKNOWN.items()},
    "said twice": b"\x20\x63" + KIWI,
    "another type before it": field(2, b"moa") + KIWI,
    "a longer varint": b"\x20\x81\x80\x80\x00",
    "a longer tag": b"\xa0\x00\x01",
}
TEXT: Mapping[str, bytes] = {
    **{f"{name} behind it": NI + unknown for name, unknown in UNKNOWN.items()},
    **{f"{name} before it": unknown + NI for name, unknown in UNKNOWN.items()},
    "said twice": field(2, b"SI") + NI,
    "another type before it": KIWI + NI,
    "a longer length": b"\x12\x82\x80\x00NI",
}


def ask(client: Client, method: str, *parts: bytes) -> bytes:
    """The reply to a request that is written by hand."""
    reply: bytes = client.channel.unary_unary(method)(b"".join(parts), timeout=20)
    return reply


def entities(name: bytes, *values: bytes) -> bytes:
    """The values of one join key in Feast's protocol."""
    return field(3, field(1, name) + field(2, b"".join(field(1, value) for value in values)))


def keys(name: bytes, *values: bytes) -> bytes:
    """The same for `GetVectors`."""
    return field(3, field(1, name) + b"".join(field(4, value) for value in values))


@pytest.mark.parametrize("form", WHOLE)
def test_a_whole_number_is_one_key_however_it_is_written(client: Client, form: str) -> None:
    """A key with unknown fields, said twice, or in more bytes than it needs is that key, by every RPC; the last word counts."""
    diet, value = field(1, b"diet"), WHOLE[form]
    expected = ask(client, FEATURES, diet, entities(b"bird_id", KIWI, b"\x20\x02"))
    assert b"kiwi" in expected
    assert ask(client, FEATURES, diet, entities(b"bird_id", value, b"\x20\x02")) == expected
    assert ask(client, VECTORS, diet, keys(b"bird_id", value)) == ask(client, VECTORS, diet, keys(b"bird_id", KIWI))
    asked = diet + field(2, b"bird_weight:nickname")
    told = ask(client, EXPLAIN, asked, field(3, field(1, b"bird_id") + field(2, value)))
    assert told == ask(client, EXPLAIN, asked, field(3, field(1, b"bird_id") + field(2, KIWI)))
    assert b"kiwi" in told


@pytest.mark.parametrize("form", TEXT)
def test_a_text_is_one_key_however_it_is_written(client: Client, form: str) -> None:
    """The same of a key that is a text, alone and as a part of a key of two."""
    rain, value = field(2, field(1, b"island_climate:rain_sum_7d")), TEXT[form]
    expected = ask(client, FEATURES, rain, entities(b"island_code", NI))
    assert b"\x35\x00\x00\xc0\x3f" in expected, "1.5"
    assert ask(client, FEATURES, rain, entities(b"island_code", value)) == expected
    travel = field(1, b"travel")
    both = [entities(b"bird_id", KIWI), entities(b"island_code", NI)]
    assert ask(client, FEATURES, travel, entities(b"island_code", value), both[0]) == ask(
        client, FEATURES, travel, *both
    )


@pytest.mark.parametrize("form", UNKNOWN)
def test_unknown_fields_anywhere_else_say_nothing(client: Client, form: str) -> None:
    """A field that is not known here changes no answer, wherever in a request it is."""
    unknown, diet, name = UNKNOWN[form], field(1, b"diet"), field(1, b"bird_id")
    expected = ask(client, FEATURES, diet, entities(b"bird_id", KIWI))
    values = field(1, KIWI)
    for request in (
        unknown + diet + entities(b"bird_id", KIWI),
        diet + entities(b"bird_id", KIWI) + unknown,
        diet + field(3, name + field(2, values + unknown)),
        diet + field(3, name + field(2, unknown + values)),
    ):
        assert ask(client, FEATURES, request) == expected
    named = field(1, b"bird_weight:nickname")
    assert ask(client, FEATURES, field(2, named + unknown), entities(b"bird_id", KIWI)) == ask(
        client, FEATURES, field(2, named), entities(b"bird_id", KIWI)
    )
    vectors = ask(client, VECTORS, diet, keys(b"bird_id", KIWI))
    assert ask(client, VECTORS, diet, field(3, name + field(4, KIWI) + unknown), unknown) == vectors


@pytest.mark.parametrize("form", UNKNOWN)
def test_a_map_s_entry_with_unknown_fields_is_no_entry(client: Client, form: str) -> None:
    """Beside a join key's name and values nothing can be sent: protobuf's Python drops such an entry, and its key is missing."""
    entry = field(1, b"bird_id") + UNKNOWN[form] + field(2, field(1, KIWI))
    with pytest.raises(grpc.RpcError) as caught:
        ask(client, FEATURES, field(1, b"diet"), field(3, entry))
    assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert "'bird_id' (INT64) is missing" in str(caught.value.details())


def test_the_order_of_fields_says_nothing_and_the_last_word_counts(client: Client) -> None:
    """Fields in any order, a service or a key said twice, and numbers packed or not are one request."""
    diet, name, values = field(1, b"diet"), field(1, b"bird_id"), field(2, field(1, KIWI))
    expected = ask(client, FEATURES, diet, field(3, name + values))
    for request in (
        field(3, values + name) + diet,
        field(1, b"no such service") + diet + field(3, name + values),
        field(2, field(1, b"season:month_name")) + diet + field(3, name + values),
        diet + field(3, name + field(2, field(1, b"\x20\x63"))) + field(3, name + values),
        diet + field(3, field(1, b"moa_id") + name + values),
    ):
        assert ask(client, FEATURES, request) == expected
    packed = ask(client, VECTORS, diet, field(3, name + field(2, b"\x01\x02")))
    assert ask(client, VECTORS, diet, field(3, b"\x10\x01" + name + b"\x10\x02")) == packed
    assert ask(client, VECTORS, diet, field(3, name + field(2, b"\x81\x00\x02"))) == packed


def test_what_is_sent_for_on_demand_features_may_have_unknown_fields(client: Client) -> None:
    """Request data with a field that is not known here is that data."""
    scaled, two = field(1, b"scaled"), b"\x29" + b"\x00" * 7 + b"\x40"
    expected = ask(client, FEATURES, scaled, entities(b"bird_id", KIWI), entities(b"factor", two))
    for unknown in UNKNOWN.values():
        sent = entities(b"factor", two + unknown)
        assert ask(client, FEATURES, scaled, entities(b"bird_id", KIWI + unknown), sent) == expected


def test_a_value_of_unknown_fields_alone_is_a_null(client: Client) -> None:
    """A key with nothing that is known here is refused as a null, and not looked up."""
    with pytest.raises(grpc.RpcError) as caught:
        ask(client, FEATURES, field(1, b"diet"), entities(b"bird_id", UNKNOWN["a number"]))
    assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert "is null in row 0" in str(caught.value.details())
