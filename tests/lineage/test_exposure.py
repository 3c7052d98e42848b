"""Where the lineage backend may be reached from other machines: as a process, over real sockets."""

from __future__ import annotations

import socket
import ssl
import subprocess
from collections.abc import Callable
from pathlib import Path

import httpx
import pytest

from pedigree.lineage.settings import LineageSettings

from ..redis_server import wait_for
from ..serving.token_issuer import Authority

Python = Callable[..., subprocess.Popen[str]]
KEY = "Yk3Wq8Zr5Tn1"


def listens(host: str, port: int) -> bool:
    """Whether something listens there."""
    try:
        with socket.create_connection((host, port), timeout=5):
            return True
    except OSError:
        return False


def refusal(process: subprocess.Popen[str]) -> str:
    """What a backend that does not start says."""
    out, err = process.communicate(timeout=60)
    assert (process.returncode, out) == (1, "")
    return err


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "0", "192.0.2.77"])
def test_a_backend_that_others_reach_needs_tls_and_a_key(python: Python, host: str) -> None:
    """Without them it does not start; one line names both, and the setting that would allow it."""
    err = refusal(python("-m", "pedigree.lineage.server", "--host", host))
    assert "without TLS" in err and "without a key (PEDIGREE_LINEAGE_API_KEY), so that anybody may delete" in err
    assert "PEDIGREE_LINEAGE_INSECURE=no-tls,no-key" in err and err.count("\n") == 1


def test_half_of_it_is_not_enough(python: Python, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A key without TLS, half of TLS, and a key of blanks are refused by what is missing."""
    monkeypatch.setenv("PEDIGREE_LINEAGE_API_KEY", KEY)
    everywhere = ("-m", "pedigree.lineage.server", "--host", "0.0.0.0")
    without_tls = refusal(python(*everywhere))
    assert "without TLS" in without_tls and "without a key" not in without_tls and KEY not in without_tls
    monkeypatch.setenv("PEDIGREE_LINEAGE_TLS_CERT", str(Authority(tmp_path).server_files().cert))
    assert "PEDIGREE_LINEAGE_TLS_CERT without PEDIGREE_LINEAGE_TLS_KEY: set all" in refusal(python(*everywhere))
    monkeypatch.setenv("PEDIGREE_LINEAGE_TLS_KEY", str(tmp_path / "key.pem"))
    monkeypatch.setenv("PEDIGREE_LINEAGE_API_KEY", " \n")
    assert "without a key" in refusal(python(*everywhere))


def test_with_tls_and_a_key_only_who_has_the_key_is_answered(
    python: Python, settings: LineageSettings, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Over TLS on every address of IPv4, and none of IPv6: deleting without the key, or with another, is 401."""
    authority = Authority(tmp_path)
    tls = authority.server_files(mutual=True)
    for name, value in {"TLS_CERT": tls.cert, "TLS_KEY": tls.key, "API_KEY": f"{KEY}\n"}.items():
        monkeypatch.setenv(f"PEDIGREE_LINEAGE_{name}", str(value))
    python("-m", "pedigree.lineage.server", "--host", "0.0.0.0")
    wait_for(lambda: listens("127.0.0.1", settings.port))
    url = f"https://127.0.0.1:{settings.port}"
    trust = ssl.create_default_context(cafile=str(tls.client_ca))
    with httpx.Client(base_url=url, verify=trust, trust_env=False) as http:
        path = "/api/v1/namespaces/pedigree"
        wrong = {"Authorization": f"Bearer {KEY}x"}
        assert [http.delete(path).status_code, http.delete(path, headers=wrong).status_code] == [401, 401]
        assert http.get("/api/v1/jobs", headers={"Authorization": f"Bearer {KEY}"}).json()["totalCount"] == 0
    assert not listens("::1", settings.port)


def test_a_setting_that_says_so_opens_it(
    python: Python, settings: LineageSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With both words it starts on all addresses of IPv4; with a word that there is not it does not."""
    monkeypatch.setenv("PEDIGREE_LINEAGE_INSECURE", "no-tls,no-keys")
    assert "PEDIGREE_LINEAGE_INSECURE='no-tls,no-keys' names something that is none of no-tls, no-key" in refusal(
        python("-m", "pedigree.lineage.server", "--host", "0.0.0.0")
    )
    monkeypatch.setenv("PEDIGREE_LINEAGE_INSECURE", "no-tls, no-key")
    python("-m", "pedigree.lineage.server", "--host", "0.0.0.0")
    wait_for(lambda: listens("127.0.0.1", settings.port))
    assert not listens("::1", settings.port)
    assert httpx.get(f"{settings.url}/api/v1/jobs", trust_env=False).json()["totalCount"] == 0
