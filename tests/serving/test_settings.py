"""What the server can be told, and what it says of settings that it cannot use."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from pedigree.serving.errors import ServingSettingsError
from pedigree.serving.settings import RequestLimits, ServingSettings, Tls, read_settings


@pytest.fixture
def yaml(tmp_path: Path) -> str:
    """The path of a file that exists."""
    path = tmp_path / "feature_store.yaml"
    path.touch()
    return str(path)


def test_what_is_not_set_has_its_default(yaml: str) -> None:
    """An environment that names only the repository yields the documented defaults, and the real clock."""
    settings = read_settings({"PEDIGREE_FEATURE_STORE_YAML": yaml})
    assert settings == ServingSettings(feature_store_yaml=Path(yaml))
    assert settings.address == "127.0.0.1:15051"
    assert settings.now().tzinfo is UTC


def test_everything_can_be_set(yaml: str) -> None:
    """Each name of the environment sets its setting; a clock with an offset is kept in UTC."""
    settings = read_settings(
        {
            "PEDIGREE_FEATURE_STORE_YAML": yaml,
            "PEDIGREE_SERVING_ADDRESS": "[::1]:50051",
            "PEDIGREE_SERVING_STORE_TIMEOUT": "0.05",
            "PEDIGREE_SERVING_DEADLINE": "2",
            "PEDIGREE_SERVING_DRAIN": "30",
            "PEDIGREE_SERVING_MAX_ENTITIES": "7",
            "PEDIGREE_CLOCK": "2013-07-01T08:00:00-04:00",
        }
    )
    assert settings == ServingSettings(
        address="[::1]:50051",
        feature_store_yaml=Path(yaml),
        store_timeout=timedelta(milliseconds=50),
        deadline=timedelta(seconds=2),
        drain=timedelta(seconds=30),
        max_entities=7,
        clock_at=datetime(2013, 7, 1, 12, tzinfo=UTC),
    )
    assert settings.now() == datetime(2013, 7, 1, 12, tzinfo=UTC)


def test_all_wrong_settings_are_reported_together(tmp_path: Path) -> None:
    """One error names every setting that cannot be used."""
    wrong = {
        "PEDIGREE_FEATURE_STORE_YAML": str(tmp_path / "missing.yaml"),
        "PEDIGREE_SERVING_ADDRESS": "localhost",
        "PEDIGREE_SERVING_STORE_TIMEOUT": "-1",
        "PEDIGREE_SERVING_DEADLINE": "soon",
        "PEDIGREE_SERVING_DRAIN": "nan",
        "PEDIGREE_SERVING_MAX_ENTITIES": "0",
        "PEDIGREE_CLOCK": "yesterday",
    }
    with pytest.raises(ServingSettingsError) as caught:
        read_settings(wrong)
    assert len(caught.value.problems) == len(wrong)
    for value in wrong.values():
        assert value in str(caught.value)


def test_a_clock_without_an_offset_is_refused(yaml: str) -> None:
    """A naive clock is an error that says how to write UTC."""
    with pytest.raises(ServingSettingsError, match=r"names no offset from UTC: write 2013-07-01T12:00:00\+00:00"):
        read_settings({"PEDIGREE_FEATURE_STORE_YAML": yaml, "PEDIGREE_CLOCK": "2013-07-01T12:00:00"})


def refused_with(yaml: str, **environ: str) -> str:
    """What is said of settings that cannot be used."""
    with pytest.raises(ServingSettingsError) as caught:
        read_settings({"PEDIGREE_FEATURE_STORE_YAML": yaml, **environ})
    return str(caught.value)


AUTH = {
    "PEDIGREE_SERVING_AUTH_JWKS": "https://issuer.example/certs",
    "PEDIGREE_SERVING_AUTH_ISSUER": "https://issuer.example",
    "PEDIGREE_SERVING_AUTH_AUDIENCE": "feature-server",
}


def test_who_is_answered_and_how_much_can_be_set(yaml: str) -> None:
    """Certificates, tokens, limits, metrics, logs and traces are settings of their own."""
    settings = read_settings(
        {
            "PEDIGREE_FEATURE_STORE_YAML": yaml,
            **AUTH,
            "PEDIGREE_SERVING_TLS_CERT": yaml,
            "PEDIGREE_SERVING_TLS_KEY": yaml,
            "PEDIGREE_SERVING_TLS_CLIENT_CA": yaml,
            "PEDIGREE_SERVING_AUTH_ALGORITHMS": "ES256, EdDSA",
            "PEDIGREE_SERVING_AUTH_LEEWAY": "0",
            "PEDIGREE_SERVING_MAX_MESSAGE_BYTES": "1000",
            "PEDIGREE_SERVING_MAX_CONCURRENT": "10",
            "PEDIGREE_SERVING_RATE": "50.4",
            "PEDIGREE_SERVING_METRICS_ADDRESS": "127.0.0.1:0",
            "PEDIGREE_SERVING_LOG": "text",
            "PEDIGREE_SERVING_TRACES": "off",
        }
    )
    assert settings.tls == Tls(Path(yaml), Path(yaml), Path(yaml))
    assert settings.auth is not None
    assert (settings.auth.algorithms, settings.auth.leeway) == (("ES256", "EdDSA"), timedelta(0))
    assert settings.limits == RequestLimits(message_bytes=1000, concurrent=10, rate=50.4, burst=50)
    assert (settings.metrics_address, settings.log_format, settings.traces) == ("127.0.0.1:0", "text", "off")


@pytest.mark.parametrize("algorithms", ["none", "HS256", "RS256,HS512", "RS257", "", "NONE"])
def test_tokens_that_anybody_could_make_are_refused_at_start(yaml: str, algorithms: str) -> None:
    """Unsigned tokens and shared secrets are refused before anything starts, among good algorithms too."""
    text = refused_with(yaml, **AUTH, PEDIGREE_SERVING_AUTH_ALGORITHMS=algorithms)
    assert "unsigned tokens and shared secrets are never taken" in text


@pytest.mark.parametrize("left_out", sorted(AUTH))
def test_a_token_s_issuer_audience_and_keys_go_together(yaml: str, left_out: str) -> None:
    """Auth by halves is an error that names what is missing: without an audience another server's tokens would be taken."""
    text = refused_with(yaml, **{name: value for name, value in AUTH.items() if name != left_out})
    assert f"without {left_out}" in text


@pytest.mark.parametrize("source", ["http://issuer.example/certs", "ftp://issuer.example", "https://", "/no/such/file"])
def test_keys_come_from_where_nobody_can_exchange_them(yaml: str, source: str) -> None:
    """A key set comes by https, from this machine, or from a file that is there."""
    assert "PEDIGREE_SERVING_AUTH_JWKS" in refused_with(yaml, **{**AUTH, "PEDIGREE_SERVING_AUTH_JWKS": source})


def test_certificates_go_together(yaml: str) -> None:
    """A certificate without its key, a client authority without a certificate, and a file that is not there are errors."""
    assert "without PEDIGREE_SERVING_TLS_KEY" in refused_with(yaml, PEDIGREE_SERVING_TLS_CERT=yaml)
    assert "nobody could be asked" in refused_with(yaml, PEDIGREE_SERVING_TLS_CLIENT_CA=yaml)
    both = {"PEDIGREE_SERVING_TLS_CERT": "/no/such", "PEDIGREE_SERVING_TLS_KEY": "/no/such"}
    assert refused_with(yaml, **both).count("is not a file that is there") == 2


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("PEDIGREE_SERVING_RATE", "inf"),
        ("PEDIGREE_SERVING_RATE", "0"),
        ("PEDIGREE_SERVING_BURST", "0"),
        ("PEDIGREE_SERVING_MAX_CONCURRENT", "-1"),
        ("PEDIGREE_SERVING_AUTH_LEEWAY", "301"),
        ("PEDIGREE_SERVING_LOG", "xml"),
        ("PEDIGREE_SERVING_TRACES", "yes"),
        ("PEDIGREE_SERVING_METRICS_ADDRESS", "9090"),
    ],
)
def test_a_limit_that_is_none_is_refused(yaml: str, name: str, value: str) -> None:
    """A wrong number or word is named with the setting."""
    assert f"{name}={value!r}" in refused_with(yaml, **{name: value})
