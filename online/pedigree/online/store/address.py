"""Where the online store is: Feast's connection strings (`host:port,ssl=true`) and URLs, and clients for both."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal
from urllib.parse import SplitResult, parse_qsl, unquote, urlsplit

from pydantic import SecretStr

from pedigree.online.errors import AddressError

Kind = Literal["redis", "redis_cluster", "redis_sentinel"]
SCHEMES: dict[str, tuple[Kind, bool]] = {
    "redis": ("redis", False),
    "rediss": ("redis", True),
    "redis+cluster": ("redis_cluster", False),
    "rediss+cluster": ("redis_cluster", True),
    "redis+sentinel": ("redis_sentinel", False),
    "rediss+sentinel": ("redis_sentinel", True),
}
DEFAULT_PORT = 6379
TLS_OPTIONS = ("ssl_ca_certs", "ssl_certfile", "ssl_keyfile", "ssl_cert_reqs")
NUMBERS = ("socket_timeout", "socket_connect_timeout")
SENTINEL_OPTIONS = ("sentinel_username", "sentinel_password", "sentinel_ssl")
"""Of the sentinels themselves; they have users and TLS of their own."""
OPTIONS = frozenset({"db", "username", "password", "ssl", *TLS_OPTIONS, *SENTINEL_OPTIONS, *NUMBERS})
SECRETS = frozenset({"password", "sentinel_password"})


@dataclass(frozen=True, slots=True)
class Address:
    """A Redis, a Redis Cluster or the sentinels of one. Its text is hosts and ports alone: the form in which it is printed."""

    kind: Kind
    hosts: tuple[tuple[str, int], ...]
    db: int = 0
    username: str | None = field(default=None, repr=False)
    password: SecretStr | None = None
    tls: bool = False
    tls_options: Mapping[str, str] = field(default_factory=dict)
    master: str = "mymaster"
    sentinel_username: str | None = field(default=None, repr=False)
    sentinel_password: SecretStr | None = None
    sentinel_tls: bool = False
    socket_timeout: float = 5.0
    socket_connect_timeout: float = 5.0

    def __str__(self) -> str:
        return ",".join(f"[{host}]:{port}" if ":" in host else f"{host}:{port}" for host, port in self.hosts)

    @property
    def options(self) -> dict[str, Any]:
        """What redis-py is told of it."""
        return self.told(self.username, self.password, tls=self.tls)

    @property
    def sentinel_options(self) -> dict[str, Any]:
        """What redis-py is told of its sentinels."""
        return self.told(self.sentinel_username, self.sentinel_password, tls=self.sentinel_tls)

    def told(self, username: str | None, password: SecretStr | None, *, tls: bool) -> dict[str, Any]:
        """What redis-py is told of somebody who is spoken to."""
        return {
            "username": username,
            "password": password.get_secret_value() if password else None,
            "socket_timeout": self.socket_timeout,
            "socket_connect_timeout": self.socket_connect_timeout,
            **({"ssl": True, **self.tls_options} if tls else {}),
        }


def parse(text: str, *, kind: Kind = "redis", master: str = "mymaster") -> Address:
    """The address that a connection string or a URL names; `${NAME}` stands for the environment's.

    Raises:
        AddressError: it cannot be used. Nothing of the text is repeated: a password that was not escaped may be anywhere in it.
    """
    expanded = os.path.expandvars(text).strip()
    try:
        found = from_url(expanded, master) if "://" in expanded else from_parts(expanded, kind, master)
        if not found.hosts:
            raise ValueError("it names no host")
    except ValueError as error:
        raise AddressError(str(error)) from None
    return found


def from_url(text: str, master: str) -> Address:
    """`rediss://user:password@host:port/db?ssl_ca_certs=…`, `+cluster` or `+sentinel` behind the scheme; hosts by commas."""
    scheme = text.partition("://")[0]
    if scheme not in SCHEMES:
        raise ValueError(f"its scheme is none of {', '.join(SCHEMES)}")
    kind, tls = SCHEMES[scheme]
    split = split_url(text)
    credentials, _, hosts = split.netloc.rpartition("@")
    user, _, password = credentials.partition(":")
    path = [part for part in split.path.split("/") if part]
    if kind == "redis_sentinel" and path and not path[0].isdecimal():
        master = path.pop(0)
    options = dict(parse_qsl(split.query))
    return Address(
        kind=kind,
        hosts=tuple(host_of(host) for host in hosts.split(",") if host),
        db=number("db", path[0] if path else options.get("db", "0")),
        username=unquote(user) or None,
        password=secret(unquote(password)),
        tls=tls,
        tls_options={name: options[name] for name in TLS_OPTIONS if name in options},
        master=master,
        **of_sentinels(options),
        **seconds(options),
    )


def from_parts(text: str, kind: Kind, master: str) -> Address:
    """Feast's own form: hosts and options, by commas."""
    parts = [part.strip() for part in text.split(",") if part.strip()]
    options = dict(part.split("=", 1) for part in parts if "=" in part)
    refuse_unknown(parts)
    return Address(
        kind=kind,
        hosts=tuple(host_of(part) for part in parts if "=" not in part),
        db=number("db", options.get("db", "0")),
        username=options.get("username"),
        password=secret(options.get("password")),
        tls=is_true(options.get("ssl")),
        tls_options={name: options[name] for name in TLS_OPTIONS if name in options},
        master=master,
        **of_sentinels(options),
        **seconds(options),
    )


def refuse_unknown(parts: Sequence[str]) -> None:
    """Raise where a part is no option that there is. What stands behind a password may belong to it, and is not repeated."""
    is_behind = False
    for place, part in enumerate(parts, 1):
        name, is_option, _ = part.partition("=")
        if is_behind and (not is_option or name not in OPTIONS):
            raise ValueError(f"part {place} is no option; where a comma is in a password, write a URL, with %2C for it")
        if is_option and name not in OPTIONS:
            raise ValueError(f"part {place} is no option; there are {', '.join(sorted(OPTIONS))}")
        is_behind = is_behind or name in SECRETS


def split_url(text: str) -> SplitResult:
    """The parts of a URL; the standard library's own error repeats what is wrong with it."""
    try:
        return urlsplit(text)
    except ValueError:
        raise ValueError("it is no URL that can be read") from None


def secret(text: str | None) -> SecretStr | None:
    """A password, where there is one."""
    return SecretStr(text) if text else None


def host_of(text: str) -> tuple[str, int]:
    """`host:port`, `host`, or `[v6]:port`."""
    host, colon, port = text.rpartition(":") if not text.endswith("]") else (text, "", "")
    name = (host if colon else text).strip("[]")
    if not name or "/" in name:
        raise ValueError("a part of it is no host and port")
    return name, number("port", port) if colon else DEFAULT_PORT


def number(name: str, text: str) -> int:
    """A whole number, not below zero."""
    if not text.isdecimal() or (name == "port" and int(text) > 65535):
        raise ValueError(f"{name} is no number that can be used")
    return int(text)


def is_true(text: str | None) -> bool:
    """Whether an option says so."""
    return (text or "").lower() == "true"


def of_sentinels(options: Mapping[str, str]) -> dict[str, Any]:
    """What the options tell of the sentinels."""
    return {
        "sentinel_username": options.get("sentinel_username"),
        "sentinel_password": secret(options.get("sentinel_password")),
        "sentinel_tls": is_true(options.get("sentinel_ssl")),
    }


def seconds(options: Mapping[str, str]) -> dict[str, Any]:
    """The time limits among the options."""
    try:
        return {name: float(options[name]) for name in NUMBERS if name in options}
    except ValueError:
        raise ValueError(f"one of {', '.join(NUMBERS)} is no number of seconds") from None


def reason_of(error: Exception) -> str:
    """What a client says has gone wrong, without its description of itself."""
    return str(error).rpartition("> - ")[2] or "no answer in time"


def client(address: Address) -> Any:
    """A redis-py client, for writing and for everything that is not on the way of a request."""
    import redis

    library: Any = redis

    if address.kind == "redis_cluster":
        nodes = [library.cluster.ClusterNode(host, port) for host, port in address.hosts]
        return library.cluster.RedisCluster(startup_nodes=nodes, **address.options)
    if address.kind == "redis_sentinel":
        sentinel = library.Sentinel(list(address.hosts), sentinel_kwargs=address.sentinel_options)
        return sentinel.master_for(address.master, db=address.db, **address.options)
    (host, port), *_ = address.hosts
    return library.Redis(host=host, port=port, db=address.db, **address.options)
