"""The checks of `pedigree doctor`. Each yields what it found; none changes anything, and none waits longer than a few seconds."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from importlib.metadata import PackageNotFoundError, distributions, version
from pathlib import Path
from urllib.parse import unquote, urlparse

from packaging.requirements import Requirement

from pedigree.cli.doctor.doctor import Finding

PATIENCE = 2.0
"""Seconds that a server has for its answer."""
DRIFT = 1.0
"""Seconds by which two clocks may differ before times are judged wrongly."""
OURS = "pedigree-"


def versions() -> Iterator[Finding]:
    """Whether every package that is installed is one of those that we are tested with."""
    python = ".".join(map(str, sys.version_info[:3]))
    wanted = [
        (str(one.metadata["Name"]), Requirement(need))
        for one in distributions()
        if str(one.metadata["Name"]).startswith(OURS)
        for need in one.requires or ()
    ]
    bad = sorted({problem for name, need in wanted if (problem := version_problem(name, need)) is not None})
    problem = f"{'; '.join(bad)}. Install versions that fit: pip install --upgrade 'pedigree-feature-store[…]'"
    yield Finding("versions", f"Python {python}, and packages that fit", problem if bad else "")


def version_problem(name: str, need: Requirement) -> str | None:
    """How what is installed differs from what `name` needs; None where it does not, or where it is not installed at all."""
    try:
        found = version(need.name)
    except PackageNotFoundError:
        return None
    if need.specifier.contains(found, prereleases=True):
        return None
    return f"{need.name} is {found}, and {name} needs {need.specifier}"


def java() -> Iterator[Finding]:
    """Whether there is a Java that Spark starts on."""
    from pedigree.jobs.spark.java import require_java

    yield Finding("Java", f"version {require_java()}")


def jars() -> Iterator[Finding]:
    """Whether the jars are there that a local session takes."""
    from pedigree.jobs.settings import job_settings
    from pedigree.jobs.spark.jars import lacking

    folder = job_settings().jars
    if folder is None:
        yield Finding("jars", "the settings name others")
        return
    missing = ", ".join(lacking(folder))
    fetch = f"python -m pedigree.jobs.spark.jars {folder}"
    todo = f"{missing} not in {folder}. They are fetched at the next start of Spark, or now: {fetch}"
    yield Finding("jars", f"all in {folder}", todo if missing else "")


def spark_session() -> Iterator[Finding]:
    """Whether a session starts and computes."""
    from pedigree.jobs.settings import job_settings
    from pedigree.jobs.spark.session import open_session

    session = open_session(job_settings())
    rows = session.range(10).count()
    yield Finding("Spark", f"{session.version} at {session.sparkContext.master} counts to {rows}")
    session.stop()


def places() -> Iterator[Finding]:
    """Whether the folders can be written that are written to, where they are on this machine."""
    from pedigree.features.settings import repository_settings

    settings = repository_settings()
    yield place("lake", settings.lake, os.R_OK | os.W_OK)
    yield place("landing", settings.landing, os.R_OK)


def place(about: str, uri: str, rights: int) -> Finding:
    """Whether a folder, or the one that it will be made in, may be used."""
    parsed = urlparse(uri)
    if parsed.scheme != "file":
        return Finding(about, f"{uri} is not on this machine; not looked at")
    folder = Path(unquote(parsed.path))
    there = next(path for path in (folder, *folder.parents) if path.exists())
    if not there.is_dir():
        return Finding(about, "", f"{there} is no folder. Move it away, or name another place in feature_store.yaml")
    if not os.access(there, rights | os.X_OK):
        return Finding(about, "", f"{there} may not be used by this user. Change its rights, or name another place")
    return Finding(about, str(folder) if folder.exists() else f"{folder} will be made")


def registry() -> Iterator[Finding]:
    """Whether Feast's registry opens, and knows the project."""
    from feast import FeatureStore

    from pedigree.features.settings import repository_settings

    settings = repository_settings()
    try:
        store = FeatureStore(fs_yaml_file=settings.feature_store_yaml)
        known = len(store.list_all_feature_views())
    except Exception as error:  # whatever the registry's own library raises
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        yield Finding(
            "registry", "", f"it cannot be read ({reason}). Look at `registry` in {settings.feature_store_yaml}"
        )
        return
    todo = f"it knows no feature view of {settings.project}. Run `feast apply`"
    yield Finding("registry", f"{known} feature views of {settings.project}", "" if known else todo)


def online_store() -> Iterator[Finding]:
    """Whether Redis answers, keeps what it is given, and has our time."""
    import redis.exceptions

    from pedigree.online.store.address import reason_of
    from pedigree.online.store.eviction import policy_problem
    from pedigree.online.store.redis_store import RedisStore
    from pedigree.online.store.strays import find_strays
    from pedigree.serving.feature_store_yaml import read_repo
    from pedigree.serving.settings import serving_settings

    repo = read_repo(serving_settings().feature_store_yaml)
    about = f"online store {repo.address}"
    redis_store = RedisStore.open(repo.project, repo.address)
    try:
        memories = redis_store.memories()
        seconds, micros = redis_store.redis.time()
        strays = find_strays(redis_store, seconds=PATIENCE)
    except redis.exceptions.RedisError as error:
        yield Finding(about, "", f"it does not answer ({reason_of(error)}). Start it (on a laptop: pedigree up)")
        return
    finally:
        redis_store.close()
    yield Finding(about, "it answers")
    policies = ", ".join(sorted({one.policy for one in memories or ()}))
    yield Finding(f"eviction of {about}", f"it evicts no rows ({policies})", policy_problem(memories) or "")
    yield clock(about, seconds + micros / 1e6)
    seen = f"of {'' if strays.is_whole else 'the first '}{strays.entities:,} entities"
    todo = f"{strays.records:,} records {seen} are read by nothing. Delete them: pedigree tidy"
    yield Finding(f"rows of {about}", f"no record {seen} is a stray", todo if strays.records else "")


def clock(about: str, theirs: float) -> Finding:
    """Whether another machine's clock, in seconds since the epoch, is ours."""
    apart = theirs - time.time()
    ahead = f"it is {abs(apart):.1f} s {'ahead of' if apart > 0 else 'behind'} this machine. Set both clocks by NTP: "
    todo = ahead + "rows of the future are left out, and a row's age is judged by the clock"
    return Finding(f"clock of {about}", "as ours, to a second", todo if abs(apart) > DRIFT else "")


def server() -> Iterator[Finding]:
    """Whether what listens at the server's address, if anything does, is a server that is ready."""
    import socket

    from pedigree.serving.settings import serving_settings

    address = serving_settings().address
    host, _, port = address.rpartition(":")
    try:
        socket.create_connection((host.strip("[]"), int(port)), timeout=PATIENCE).close()
    except OSError:
        yield Finding(f"server {address}", "not running (pedigree serve)")
        return
    yield health(address)


def health(address: str) -> Finding:
    """What the standard health service of a server says."""
    import grpc
    from grpc_health.v1.health_pb2 import HealthCheckRequest, HealthCheckResponse
    from grpc_health.v1.health_pb2_grpc import HealthStub

    about = f"server {address}"
    try:
        with grpc.insecure_channel(address) as channel:
            reply = HealthStub(channel).Check(HealthCheckRequest(), timeout=PATIENCE)
    except grpc.RpcError as error:
        said = f"{error.code().name}: {error.details()}"
        return Finding(
            about,
            "",
            f"what listens there is no gRPC server without TLS ({said}). If it is not yours, set PEDIGREE_SERVING_ADDRESS",
        )
    state = HealthCheckResponse.ServingStatus.Name(reply.status)
    todo = f"it is {state}: its log says what it waits for (an online store, a plan of `feast apply`)"
    return Finding(about, "ready", "" if state == "SERVING" else todo)


def lineage_backend() -> Iterator[Finding]:
    """Whether the lineage backend answers."""
    from pedigree.lineage.client.client import LineageClient
    from pedigree.lineage.errors import LineageUnknownError
    from pedigree.lineage.settings import lineage_settings

    settings = lineage_settings()
    about = f"lineage backend {settings.url}"
    with LineageClient(settings, seconds=PATIENCE) as client, suppress(LineageUnknownError):
        client.job("pedigree.doctor")
    yield Finding(about, "it answers")


def outbox() -> Iterator[Finding]:
    """Whether lineage waits on disk, or was set aside."""
    from pedigree.lineage.delivery.outbox import Outbox
    from pedigree.lineage.settings import lineage_settings

    settings = lineage_settings()
    kept = Outbox(settings)
    waiting, aside = kept.waiting(), len(kept.aside())
    todo = (
        f"{waiting} events wait and {aside} were set aside in {settings.outbox}. "
        "Look with `pedigree lineage outbox`; deliver with `pedigree lineage flush`"
    )
    yield Finding("outbox", "nothing waits", todo if waiting or aside else "")
