"""The names of datasets and jobs. A dataset's name is its physical place, so that other agents' events join ours."""

from __future__ import annotations

import posixpath
import re
from dataclasses import dataclass
from typing import Literal
from urllib.parse import urlsplit

from pedigree.lineage.errors import UnnameablePlaceError

NodeKind = Literal["dataset", "datasetField", "job"]
PORTS = {"postgres": 5432, "mysql": 3306}
"""Where databases listen if nobody says otherwise."""

SCHEME = re.compile(r"^(?P<scheme>[A-Za-z][A-Za-z0-9+.-]*):(?P<rest>.*)$", re.DOTALL)


@dataclass(frozen=True, slots=True, order=True)
class DatasetName:
    """OpenLineage's pair: `namespace` is the system, `name` the place within it."""

    namespace: str
    name: str

    def __str__(self) -> str:
        return f"{self.namespace}:{self.name}"


def at_path(uri: str) -> DatasetName:
    """The name of a file, folder or path table.

    Percent signs are taken literally, as Hadoop and Spark do: `file:///a%20b` is the folder `/a%20b`.

    Raises:
        UnnameablePlaceError: not an absolute local path, or a URI of a file system that OpenLineage names.
    """
    match = SCHEME.match(uri)
    if match is None:
        return local_path(uri, path=uri)
    scheme, rest = match["scheme"].lower(), match["rest"]
    if scheme == "file":
        return local_path(uri, path=rest.removeprefix("//"))
    holder, _, path = rest.removeprefix("//").partition("/")
    if scheme in {"s3", "s3a", "gs"} and rest.startswith("//"):
        bucket = holder.rpartition("@")[2]  # keys of access, as old URIs have them
        if bucket:
            return DatasetName(f"{scheme.rstrip('a')}://{bucket}", path.rstrip("/") or "/")
    if scheme in {"hdfs", "abfs", "abfss", "wasb", "wasbs"} and holder:
        return DatasetName(
            f"{scheme}://{holder}", "/" + path.rstrip("/") if scheme == "hdfs" else path.rstrip("/") or "/"
        )
    raise UnnameablePlaceError(uri, "it is neither local nor on S3, Google or Azure storage or HDFS")


def local_path(uri: str, *, path: str) -> DatasetName:
    """The name of an absolute path on this machine; `uri` is what the caller wrote."""
    if not path.startswith("/"):
        raise UnnameablePlaceError(uri, "the path is not absolute")
    return DatasetName("file", posixpath.normpath("/" + path.lstrip("/")))


def jdbc_table(url: str, table: str) -> DatasetName:
    """The name of a table of a database, by its JDBC URL. What the URL says of users and passwords never reaches the name.

    Raises:
        UnnameablePlaceError: the URL has no host and database.
    """
    system, _, place = url.removeprefix("jdbc:").partition("://")
    parts = urlsplit(f"//{place.rpartition('@')[2]}")
    database = parts.path.strip("/").partition(";")[0]
    if not system or not parts.hostname or not database:
        raise UnnameablePlaceError("a JDBC URL", "it is not jdbc:<system>://<host>:<port>/<database>")
    system = {"postgresql": "postgres"}.get(system, system)
    port = parts.port or PORTS.get(system)
    schema = "public." if system == "postgres" and "." not in table else ""
    return DatasetName(f"{system}://{parts.hostname}{f':{port}' if port else ''}", f"{database}.{schema}{table}")


def redis_view(connection: str, *, project: str, view: str) -> DatasetName:
    """The name of a feature view's rows in Redis; `connection` is Feast's (`host:port[,…]`) or a `redis://` URL.

    A password in `connection` never reaches the name.

    Raises:
        UnnameablePlaceError: `connection` holds no host and port.
    """
    url = SCHEME.match(connection.strip())
    is_url = url is not None and url["rest"].startswith("//")
    place = url["rest"][2:].partition("/")[0].rpartition("@")[2] if url and is_url else connection
    try:
        parts = urlsplit(f"redis://{place.split(',')[0].strip()}")
        host, port = parts.hostname, parts.port or 6379
    except ValueError:
        host, port = None, 0
    if not host:
        raise UnnameablePlaceError("a Redis connection", "it holds no host:port")
    return DatasetName(f"redis://{f'[{host}]' if ':' in host else host}:{port}", f"{project}.{view}")


def feature_service(project: str, service: str) -> DatasetName:
    """The name of the vectors that a feature service serves."""
    return DatasetName(f"feast://{project}", f"service/{service}")


def training_set(project: str, name: str) -> DatasetName:
    """The name of a saved training set."""
    return DatasetName(f"feast://{project}", f"dataset/{name}")


def job_name(verb: str, subject: str) -> str:
    """The name of a job: what it does to which table, `build.orders`."""
    return f"{verb}.{subject}"


def node_id(kind: NodeKind, *parts: str) -> str:
    """The id of a node in a lineage graph, from namespace, name and, for a `datasetField`, the field."""
    return ":".join((kind, *parts))


def dataset_node(name: DatasetName) -> str:
    """The node of a dataset."""
    return node_id("dataset", name.namespace, name.name)


def field_node(name: DatasetName, field: str) -> str:
    """The node of one column of a dataset."""
    return node_id("datasetField", name.namespace, name.name, field)
