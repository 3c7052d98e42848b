"""The names of datasets and jobs. A dataset's name is its physical place, so that other agents' events join ours."""

from __future__ import annotations

import posixpath
import re
from dataclasses import dataclass
from typing import Literal
from urllib.parse import urlsplit

from pedigree.lineage.errors import UnnameablePlaceError

NodeKind = Literal["dataset", "datasetField", "job"]
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
        UnnameablePlaceError: not an absolute local path, `file:` or `s3:`/`s3a:` URI.
    """
    match = SCHEME.match(uri)
    if match is None:
        return local_path(uri, path=uri)
    scheme, rest = match["scheme"].lower(), match["rest"]
    if scheme == "file":
        return local_path(uri, path=rest.removeprefix("//"))
    if scheme in {"s3", "s3a"} and rest.startswith("//"):
        bucket, _, key = rest[2:].partition("/")
        bucket = bucket.rpartition("@")[2]  # keys of access, as old URIs have them
        if bucket:
            return DatasetName(f"s3://{bucket}", key.rstrip("/") or "/")
    raise UnnameablePlaceError(uri, "only local paths and S3 objects have names by path")


def local_path(uri: str, *, path: str) -> DatasetName:
    """The name of an absolute path on this machine; `uri` is what the caller wrote."""
    if not path.startswith("/"):
        raise UnnameablePlaceError(uri, "the path is not absolute")
    return DatasetName("file", posixpath.normpath("/" + path.lstrip("/")))


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
