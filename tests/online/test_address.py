"""Connection strings and URLs."""

from __future__ import annotations

import pytest
from pydantic import SecretStr

from pedigree.online.errors import AddressError
from pedigree.online.store.address import Address, parse


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("redis.example.com:6380", Address("redis", (("redis.example.com", 6380),))),
        ("redis.example.com", Address("redis", (("redis.example.com", 6379),))),
        ("[::1]:6380,db=2", Address("redis", (("::1", 6380),), db=2)),
        (
            "a:1,b:2,ssl=true,username=u,password=p=w,ssl_ca_certs=/ca.pem",
            Address(
                "redis",
                (("a", 1), ("b", 2)),
                username="u",
                password=SecretStr("p=w"),
                tls=True,
                tls_options={"ssl_ca_certs": "/ca.pem"},
            ),
        ),
        ("rediss://u:p%40w@host:6380/3", Address("redis", (("host", 6380),), 3, "u", SecretStr("p@w"), tls=True)),
        ("redis://:secret@host", Address("redis", (("host", 6379),), password=SecretStr("secret"))),
        ("redis+cluster://a:1,b:2", Address("redis_cluster", (("a", 1), ("b", 2)))),
        ("redis+sentinel://a:1,b:2/main/4", Address("redis_sentinel", (("a", 1), ("b", 2)), db=4, master="main")),
        (
            "redis+sentinel://:p@a:1/main?sentinel_username=s&sentinel_password=w%2C&sentinel_ssl=true",
            Address(
                "redis_sentinel",
                (("a", 1),),
                password=SecretStr("p"),
                master="main",
                sentinel_username="s",
                sentinel_password=SecretStr("w,"),
                sentinel_tls=True,
            ),
        ),
        ("a:1,sentinel_password=w", Address("redis", (("a", 1),), sentinel_password=SecretStr("w"))),
    ],
)
def test_feast_s_form_and_urls_are_understood(text: str, expected: Address) -> None:
    """Hosts, database, user, password, TLS, cluster and sentinels, in Feast's own form and as URLs."""
    assert parse(text) == expected


def test_a_password_is_in_no_text_of_an_address(monkeypatch: pytest.MonkeyPatch) -> None:
    """Passwords come from the environment where they are written ${NAME}, and neither str nor repr shows them."""
    monkeypatch.setenv("REDIS_PASSWORD", "hunter2")
    address = parse("redis+sentinel://:${REDIS_PASSWORD}@host?sentinel_password=${REDIS_PASSWORD}")
    assert address.password == address.sentinel_password == SecretStr("hunter2")
    assert "hunter2" not in f"{address} {address!r}"


@pytest.mark.parametrize(
    "text", ["", "http://host", "host:many", "host:99999", "host,shiny=true", "host,db=-1", "a/b:1"]
)
def test_what_cannot_be_used_is_an_error_that_says_how_to_write_it(text: str) -> None:
    """Each is refused with what is wrong with it, and no password."""
    with pytest.raises(AddressError, match="Write host:port"):
        parse(text)
