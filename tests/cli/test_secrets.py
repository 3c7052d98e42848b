"""A password that is planted wherever one can stand, and looked for in everything that is printed, logged, kept or sent."""

from __future__ import annotations

import json
import logging
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from itertools import product
from pathlib import Path
from typing import Any

import httpx
import pytest
from pydantic import SecretStr

from pedigree.jobs.settings import JobSettings
from pedigree.lineage.client.client import LineageClient
from pedigree.lineage.dataset import Dataset
from pedigree.lineage.delivery.http_sender import HttpSender
from pedigree.lineage.errors import LineageError
from pedigree.lineage.naming import at_path, redis_view
from pedigree.lineage.recorder import Recorder
from pedigree.lineage.redaction import RedactingFormatter, redacted
from pedigree.lineage.settings import LineageSettings
from pedigree.lineage.settings import read_settings as read_lineage
from pedigree.online.errors import AddressError
from pedigree.online.feast_plugin import PedigreeOnlineStoreConfig, address_of
from pedigree.online.store.address import parse
from pedigree.online.store.redis_store import RedisStore
from pedigree.serving.auth.jwks import JwkSet
from pedigree.serving.client import Options
from pedigree.serving.errors import ServingSettingsError
from pedigree.serving.feature_store_yaml import read_repo
from pedigree.serving.settings import read_settings as read_serving
from pedigree.serving.telemetry.logs import JsonLines

from ..distributions import ROOT
from ..redis_server import RedisServer

PEDIGREE = Path(sys.executable).parent / "pedigree"
MARKER = "Xq7Zw9Kd3v"
PASSWORDS = (MARKER, f"a{MARKER}", f"{MARKER}%40{MARKER}", f"{MARKER}!$*")
"""Passwords as a URL may hold them."""
ODD = (
    f"{MARKER},{MARKER}",
    f"x,{MARKER}=1",
    f"{MARKER}://x",
    f"x/{MARKER}",
    f"12/{MARKER}",
    f"x@{MARKER}",
    f"x#{MARKER}",
    f"x:{MARKER}",
    f"\uff0f{MARKER}",
)
"""Passwords that somebody forgot to escape."""
REDIS = (
    "127.0.0.1:1,password={}",
    "127.0.0.1:1,ssl=true,username=u,password={}",
    "127.0.0.1:1,sentinel_password={},sentinel_username=s",
    "redis://:{}@127.0.0.1:1/0",
    "redis://u:{}@127.0.0.1:1/0",
    "redis://{}@127.0.0.1:1",
    "rediss://u:{}@[::1]:1",
    "redis+cluster://u:{}@127.0.0.1:1,127.0.0.1:2",
    "redis+sentinel://u:{}@127.0.0.1:1,127.0.0.1:2/main/0?sentinel_password={}",
    "127.0.0.1:1,pasword={}",
    "redis:/u:{}@127.0.0.1:1",
    "redos://u:{}@127.0.0.1:1",
    "redis://u:{}@127.0.0.1:port",
)
LINEAGE = (
    "http://u:{}@127.0.0.1:9",
    "http://{}@127.0.0.1:9",
    "http:/u:{}@127.0.0.1:9",
    "ftp://u:{}@host",
    "http://u:{}@h:x",
    "http://h?key={}",
)
JWKS = (
    "http://u:{}@keys.example/jwks",
    "ftp://u:{}@keys.example",
    "u:{}@keys.example",
    "http://keys.example/?token={}",
)
DATABASES = (
    "postgresql+psycopg://u:{}@127.0.0.1:1/lineage",
    "postgresql+psycopg://127.0.0.1:1/x?user=u&password={}",
    "oracel://u:{}@h/x",
    "postgresql://u:{}@h:port/x",
)


def forms(*templates: str) -> Iterator[str]:
    """Each form with each password."""
    for template, password in product(templates, (*PASSWORDS, *ODD)):
        yield template.replace("{}", password)


def outcome(work: Callable[[], Any]) -> str:
    """What there is to print of a result, or of the error in its place, with all that led to it."""
    try:
        found = work()
        return f"{found} {found!r}"
    except Exception as error:
        line = logging.makeLogRecord(
            {"msg": "failed: %s", "args": (error,), "exc_info": (type(error), error, error.__traceback__)}
        )
        return f"{error} {error!r} {JsonLines().format(line)} {RedactingFormatter('%(message)s').format(line)}"


def test_no_text_of_an_address_of_redis_has_a_password() -> None:
    """Feast's form and URLs, right and wrong, single, cluster and sentinels: value, error, client, store, and lineage's name."""
    for text in forms(*REDIS):
        works: tuple[Callable[[], Any], ...] = (
            lambda text=text: parse(text),  # type: ignore[misc]
            lambda text=text: redis_view(text, project="p", view="v"),  # type: ignore[misc]
            lambda text=text: redis_view(str(parse(text)), project="p", view="v"),  # type: ignore[misc]
            lambda text=text: PedigreeOnlineStoreConfig(connection_string=text),  # type: ignore[misc]
            lambda text=text: address_of(PedigreeOnlineStoreConfig(connection_string=text)),  # type: ignore[misc]
        )
        for work in works:
            assert MARKER not in outcome(work), text


def test_no_text_of_a_store_or_of_its_refusals_has_a_password(tmp_path: Path) -> None:
    """A store that takes no password, or is away: neither the error, the client nor the store has it in its text."""
    server = RedisServer(tmp_path)
    server.start()
    try:
        for port in (server.port, 1):
            address = parse(f"redis://u:{MARKER}@127.0.0.1:{port}")
            bank = RedisStore.open("p", address)
            assert MARKER not in f"{bank!r} {bank.address} {bank.redis!r} {outcome(bank.views)}"
    finally:
        server.kill()


def test_no_text_of_settings_has_a_password(tmp_path: Path) -> None:
    """Settings of lineage and serving, read or refused, show no user, password, key or token of any address."""
    yaml = {"PEDIGREE_FEATURE_STORE_YAML": str(ROOT / "feature_repo" / "feature_store.yaml")}
    issuer = {"PEDIGREE_SERVING_AUTH_ISSUER": "i", "PEDIGREE_SERVING_AUTH_AUDIENCE": "a"}
    for text in forms(*LINEAGE):
        assert MARKER not in outcome(lambda text=text: read_lineage({"PEDIGREE_LINEAGE_URL": text}))  # type: ignore[misc]
    for text in forms(*DATABASES):
        assert MARKER not in outcome(lambda text=text: read_lineage({"PEDIGREE_LINEAGE_DATABASE": text}))  # type: ignore[misc]
    for text in (MARKER, f"{MARKER}\n", f"{MARKER} x", f"{MARKER}é"):
        assert MARKER not in outcome(lambda text=text: read_lineage({"PEDIGREE_LINEAGE_API_KEY": text}))  # type: ignore[misc]
    for text in forms(*JWKS, "https://u:{}@keys.example/jwks", "https://keys.example/jwks?key={}"):
        named = {**yaml, **issuer, "PEDIGREE_SERVING_AUTH_JWKS": text}
        assert MARKER not in outcome(lambda named=named: read_serving(named)), text  # type: ignore[misc]
    assert MARKER not in repr(JobSettings(tmp_path, (("spark.hadoop.fs.s3a.secret.key", MARKER),)))
    assert MARKER not in repr(Options(token=MARKER))
    assert MARKER not in repr(JwkSet(SecretStr(f"https://u:{MARKER}@keys.example")))


@pytest.mark.parametrize(
    "text",
    [
        'project: p\nonline_store: {type: pedigree.online.feast_plugin.PedigreeOnlineStore, connection_string: "redis://:{}@h\n',
        "project: p\nonline_store: {{type: x}: redis://:{}@h",
        "- {}",
        "project: p\nonline_store: redis://:{}@h",
        "project: p\nonline_store: {type: pedigree.online.feast_plugin.PedigreeOnlineStore, connection_string: 'redos://:{}@h'}",
        "\x00{}",
    ],
)
def test_a_broken_configuration_is_not_repeated(tmp_path: Path, text: str) -> None:
    """A feature_store.yaml that cannot be used is told by file and line, without what stands there."""
    path = tmp_path / "feature_store.yaml"
    path.write_text(text.replace("{}", MARKER))
    with pytest.raises(ServingSettingsError, match=r"feature_store.yaml|connection_string") as caught:
        read_repo(path)
    assert MARKER not in str(caught.value)


def settings_of(tmp_path: Path, url: str = "http://u:{}@127.0.0.1:9", **more: str) -> LineageSettings:
    """Settings of lineage with a planted password, for a backend that is away."""
    return read_lineage(
        {"PEDIGREE_LINEAGE_URL": url.replace("{}", MARKER), "PEDIGREE_LINEAGE_OUTBOX": str(tmp_path / "outbox"), **more}
    )


@pytest.mark.parametrize("more", [{}, {"PEDIGREE_LINEAGE_API_KEY": f"{MARKER}\n"}])
def test_a_backend_that_is_away_is_told_without_its_password(tmp_path: Path, more: dict[str, str]) -> None:
    """The client's error, why events wait, and the log of a recorder name the backend's place, and nothing of who calls."""
    settings = settings_of(tmp_path, "http://127.0.0.1:9" if more else "http://u:{}@127.0.0.1:9", **more)
    said = outcome(lambda: LineageClient(settings).job("build.x"))
    with HttpSender(settings) as sender:
        said += sender.post(b"{}", seconds=1).reason
    assert "http://127.0.0.1:9" in said and MARKER not in said
    assert MARKER not in repr(settings)


def test_the_password_of_a_url_is_sent(tmp_path: Path) -> None:
    """It is taken out of the URL, and not lost: a call carries it."""
    settings = settings_of(tmp_path, "http://u%40x:{}%2F@127.0.0.1:9/base/")
    assert settings.url == "http://127.0.0.1:9/base"
    expected = httpx.BasicAuth("u@x", f"{MARKER}/")._auth_header
    with LineageClient(settings) as lineage:
        assert lineage._http.headers["Authorization"] == expected


def test_no_event_of_lineage_has_a_password(tmp_path: Path) -> None:
    """Names of datasets, and a failure whose text and trace are full of addresses: what is kept to be sent has none of it."""
    settings = settings_of(tmp_path)
    text = " | ".join(
        [
            f"redis://u:{MARKER}@h:1",
            f"h:1,password={MARKER}",
            f"{{'password': '{MARKER}'}}",
            f"Authorization: Bearer {MARKER}",
        ]
    )
    places = [
        at_path(f"s3a://AKIA:{MARKER}@bucket/key"),
        redis_view(f"redis://u:1,{MARKER}@h:2", project="p", view="v"),
    ]

    def fail() -> None:
        with Recorder.open(settings) as recorder, recorder.run("build", "x") as run:
            for place in places:
                run.writes(Dataset(name=place, fields=()))
            raise ValueError(text)

    with pytest.raises(ValueError, match="redis"):
        fail()
    events = [path.read_text() for path in (tmp_path / "outbox").glob("*.json")]
    assert [place.namespace for place in places] == ["s3://bucket", "redis://h:2"]
    assert len(events) == 2 and {json.loads(event)["eventType"] for event in events} == {"START", "FAIL"}
    assert not [event for event in events if MARKER in event]
    assert MARKER not in outcome(lambda: at_path(f"ftp://u:{MARKER}@h/x"))


def test_what_is_no_secret_stays() -> None:
    """Names of datasets, of settings, containers of Azure and places of passwords are not mistaken for passwords."""
    for text in (
        "feast://flights:dataset/late_arrival@1234",
        "abfss://container@account.dfs.core.windows.net/x",
        "set PEDIGREE_LINEAGE_API_KEY, or look at redis://host:6379/0",
        "rediss://user:${REDIS_PASSWORD}@host:6379/0; keep it in the environment: ${REDIS_PASSWORD}",
        "There is no bearer token",
    ):
        assert redacted(text) == text


COMMANDS: dict[str, tuple[tuple[str, ...], dict[str, str]]] = {
    "flush": ((str(PEDIGREE), "lineage", "flush"), {"PEDIGREE_LINEAGE_URL": f"http://u:{MARKER}@127.0.0.1:9"}),
    "lineage": ((str(PEDIGREE), "lineage"), {"PEDIGREE_LINEAGE_URL": f"http://u:{MARKER}@127.0.0.1:9"}),
    "wrong lineage": ((str(PEDIGREE), "lineage", "flush"), {"PEDIGREE_LINEAGE_URL": f"htp://u:{MARKER}@127.0.0.1:9"}),
    "wrong key": ((str(PEDIGREE), "lineage", "flush"), {"PEDIGREE_LINEAGE_API_KEY": f"{MARKER} x"}),
    "serve": ((str(PEDIGREE), "serve"), {"REDIS": f"redis://u:{MARKER}@127.0.0.1:1"}),
    "up": ((str(PEDIGREE), "up"), {"REDIS": f"redis:/u:{MARKER}@127.0.0.1:1"}),
    "server": ((sys.executable, "-m", "pedigree.serving.server"), {"REDIS": f"127.0.0.1:1,password={MARKER}"}),
    "wrong server": ((sys.executable, "-m", "pedigree.serving.server"), {"REDIS": f"127.0.0.1:1,password=x,{MARKER}"}),
    "database": (
        (sys.executable, "-m", "pedigree.lineage.server"),
        {"PEDIGREE_LINEAGE_DATABASE": f"postgresql+psycopg://u:{MARKER}@127.0.0.1:1/x"},
    ),
    "no database": (
        (sys.executable, "-m", "pedigree.lineage.server"),
        {"PEDIGREE_LINEAGE_DATABASE": f"oracel://u:{MARKER}@127.0.0.1:1/x"},
    ),
}


@pytest.mark.parametrize("name", COMMANDS)
def test_no_command_tells_a_password(tmp_path: Path, name: str) -> None:
    """Each command, as a process, fails: nothing of its output, its logs or its outbox has the password,
    and what ends it is a sentence and no traceback.
    """
    command, named = COMMANDS[name]
    repository = tmp_path / "feature_repo"
    repository.mkdir()
    (repository / "feature_store.yaml").write_text(
        "project: p\nonline_store:\n  type: pedigree.online.feast_plugin.PedigreeOnlineStore\n  connection_string: ${REDIS}\n"
    )
    environment = {"REDIS": "127.0.0.1:1", "PEDIGREE_LINEAGE_OUTBOX": str(tmp_path / "outbox"), **named}
    if name == "flush":
        (tmp_path / "outbox").mkdir()
        (tmp_path / "outbox" / "00000000000000000001-00000001-00000000.json").write_text("{}")
    done = subprocess.run(
        command,
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT), "PEDIGREE_SERVING_ADDRESS": "127.0.0.1:0", **environment},
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    written = [path.read_text(errors="replace") for path in tmp_path.rglob("*") if path.is_file()]
    assert done.returncode in (1, os.EX_TEMPFAIL), done.stdout + done.stderr
    assert "Traceback" not in done.stderr
    assert not [text for text in (done.stdout, done.stderr, *written) if MARKER in text]


def test_an_error_that_nobody_foresaw_is_printed_without_passwords() -> None:
    """A traceback of a command, in the main thread or another, has the error and not the password in it."""
    script = (
        "import threading; from pedigree.lineage.redaction import redact_tracebacks; redact_tracebacks()\n"
        f"def fail(): raise RuntimeError('cannot reach redis://u:' + '{MARKER[:5]}' + '{MARKER[5:]}' + '@h:1')\n"
        "thread = threading.Thread(target=fail); thread.start(); thread.join(); fail()"
    )
    done = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert done.stderr.count("RuntimeError: cannot reach redis://***@h:1") == 2
    assert MARKER not in done.stderr


def test_errors_of_addresses_and_of_lineage_say_what_is_wrong() -> None:
    """What is hidden is the password alone: each refusal still says what is wrong, and how it is written."""
    with pytest.raises(AddressError, match="with %2C for it"):
        parse(f"h:1,password=a,{MARKER}")
    with pytest.raises(AddressError, match=r"its scheme is none of redis, rediss"):
        parse(f"redos://u:{MARKER}@h")
    with pytest.raises(
        LineageError, match=r"'ftp://host' is not the address of a lineage backend, such as http://127.0.0.1:15000"
    ):
        read_lineage({"PEDIGREE_LINEAGE_URL": f"ftp://u:{MARKER}@host"})
