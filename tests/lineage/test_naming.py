"""The names of datasets and jobs."""

from __future__ import annotations

from pathlib import Path
from urllib.parse import quote, unquote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pedigree.lineage.errors import UnnameablePlaceError
from pedigree.lineage.naming import (
    DatasetName,
    at_path,
    dataset_node,
    feature_service,
    field_node,
    jdbc_table,
    job_name,
    redis_view,
    training_set,
)


@pytest.mark.parametrize(
    ("place", "namespace", "name"),
    [
        ("file:///lake/trips", "file", "/lake/trips"),
        ("file:/lake/trips/", "file", "/lake/trips"),
        ("/lake//trips", "file", "/lake/trips"),
        ("file:///a%20b", "file", "/a%20b"),
        ("s3a://bucket/lake/trips/", "s3://bucket", "lake/trips"),
        ("s3://bucket/lake:2026/#1", "s3://bucket", "lake:2026/#1"),
        ("s3a://bucket", "s3://bucket", "/"),
        ("gs://bucket/lake/trips", "gs://bucket", "lake/trips"),
        ("hdfs://namenode:8020/lake/trips", "hdfs://namenode:8020", "/lake/trips"),
        ("abfss://box@account.dfs.core.windows.net/lake/", "abfss://box@account.dfs.core.windows.net", "lake"),
    ],
)
def test_a_path_is_named_by_its_place(place: str, namespace: str, name: str) -> None:
    """One place has one name, however its path is written."""
    assert at_path(place) == DatasetName(namespace, name)


@pytest.mark.parametrize(
    "place", ["", "lake/trips", "file:lake", "file://host/lake", "ftp://n/lake", "s3a:///key", "hdfs:///lake"]
)
def test_a_place_without_a_name_is_refused(place: str) -> None:
    """What is neither an absolute path nor in a store that OpenLineage names is refused with an example of what is."""
    with pytest.raises(UnnameablePlaceError, match="s3a://bucket/key"):
        at_path(place)


@pytest.mark.parametrize(
    ("connection", "namespace"),
    [
        ("127.0.0.1:16379", "redis://127.0.0.1:16379"),
        ("cache:6379,ssl=true,password=secret", "redis://cache:6379"),
        ("rediss://user:secret@cache:6380/0", "redis://cache:6380"),
        ("redis://[::1]:6379", "redis://[::1]:6379"),
        ("cache", "redis://cache:6379"),
    ],
)
def test_a_redis_view_is_named_by_server_without_secrets(connection: str, namespace: str) -> None:
    """The name of a view in Redis holds host and port, and never a password."""
    assert redis_view(connection, project="flights", view="delays") == DatasetName(namespace, "flights.delays")


def test_a_redis_connection_without_a_host_is_refused() -> None:
    """A connection that names no server has no name, and the refusal does not repeat it: it may hold a password."""
    with pytest.raises(UnnameablePlaceError) as refused:
        redis_view(":secret@:port", project="flights", view="delays")
    assert "secret" not in str(refused.value)


def test_names_of_what_feast_holds() -> None:
    """Services and training sets live in their Feast project; jobs are a verb and a subject."""
    assert feature_service("flights", "delays") == DatasetName("feast://flights", "service/delays")
    assert training_set("flights", "june") == DatasetName("feast://flights", "dataset/june")
    assert job_name("build", "carrier_delays") == "build.carrier_delays"
    assert dataset_node(at_path("/a")) == "dataset:file:/a"
    assert field_node(at_path("/a"), "x") == "datasetField:file:/a:x"


segments = st.text(st.characters(exclude_characters="/\0", exclude_categories=["Cs"]), min_size=1, max_size=12).filter(
    lambda segment: segment not in {".", ".."}
)


@given(st.lists(segments, min_size=1, max_size=4))
def test_a_named_path_survives_a_url(parts: list[str]) -> None:
    """Whatever characters a path holds, its name is the path, and comes back from a URL as it went in."""
    path = "/" + "/".join(parts)
    name = at_path(f"file://{path}")
    assert (name.namespace, name.name) == ("file", path) == ("file", str(Path(path)))
    assert unquote(quote(name.name, safe="")) == name.name


@pytest.mark.parametrize(
    ("url", "table", "name"),
    [
        ("jdbc:postgresql://host/shop", "orders", ("postgres://host:5432", "shop.public.orders")),
        (
            "jdbc:postgresql://u:p@host:6543/shop?user=u&password=p",
            "sales.orders",
            ("postgres://host:6543", "shop.sales.orders"),
        ),
        ("jdbc:mysql://host/shop", "orders", ("mysql://host:3306", "shop.orders")),
    ],
)
def test_a_table_of_a_database_is_named_by_its_place_and_by_no_user(
    url: str, table: str, name: tuple[str, str]
) -> None:
    """Host, port, database, schema and table, as other agents name it; user and password stay out."""
    assert jdbc_table(url, table) == DatasetName(*name)


def test_a_database_without_a_name_is_refused_without_its_url() -> None:
    """What has no host and database has no name; the message does not repeat what may hold a password."""
    with pytest.raises(UnnameablePlaceError) as refused:
        jdbc_table("jdbc:oracle:thin:u/s3cret@host:1521:shop", "orders")
    assert "s3cret" not in str(refused.value)
