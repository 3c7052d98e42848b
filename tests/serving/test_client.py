"""The Python client, against a real server."""

from __future__ import annotations

import asyncio
import math
from datetime import timedelta

import grpc
import pytest

from pedigree.serving.client import AsyncClient, Client, Status, Vectors

from .birds import FRESH
from .conftest import Client as Server
from .conftest import Repo, running


def check(vectors: Vectors) -> None:
    """What must be answered for birds 1, 404 and 2."""
    assert vectors.names == ("bird_weight__weight_avg_1d", "bird_weight__meal_count_1d")
    assert vectors.numbers.shape == (3, 2)
    assert vectors.numbers[[0, 2]].tolist() == [[2.5, 3], [40, 9]]
    assert all(map(math.isnan, vectors.numbers[1]))
    assert vectors.statuses[:, 0].tolist() == [Status.PRESENT, Status.NOT_FOUND, Status.PRESENT]
    assert vectors.others == {"bird_weight__nickname": ("kiwi", None, None)}
    assert [origin.event_at for origin in vectors.origins["bird_weight"]] == [FRESH, None, FRESH]


def test_vectors_come_as_arrays(client: Server) -> None:
    """A matrix with statuses, other features, origins and the plan's version, from one call."""
    with Client(client.address, timeout=timedelta(seconds=20)) as ours:
        check(ours.vectors("diet", {"bird_id": [1, 404, 2]}, provenance=True))
        single = ours.vectors(["bird_weight:weight_avg_1d"], {"bird_id": [1]}, single=True)
        assert (str(single.numbers.dtype), single.numbers.tolist()) == ("float32", [[2.5]])


def test_the_asynchronous_client_answers_the_same(client: Server) -> None:
    """Many calls at once, each with its own answer."""

    async def ask() -> None:
        async with AsyncClient(client.address, timeout=timedelta(seconds=20)) as ours:
            calls = (ours.vectors("diet", {"bird_id": [1, 404, 2]}, provenance=True) for _ in range(20))
            for vectors in await asyncio.gather(*calls):
                check(vectors)

    asyncio.run(ask())


def test_refusals_keep_their_words(client: Server) -> None:
    """What the server says of a wrong request is the caller's to read."""
    with Client(client.address) as ours, pytest.raises(grpc.RpcError) as caught:
        ours.vectors("dite", {"bird_id": [1]})
    assert caught.value.code() is grpc.StatusCode.NOT_FOUND


def test_what_may_help_is_tried_again_within_the_deadline(own_repo: Repo) -> None:
    """While Redis stands still calls end UNAVAILABLE; one that is under way when it goes on is answered."""
    settings = own_repo.settings(store_timeout=timedelta(seconds=0.2))
    with running(settings) as server, Client(server.address, timeout=timedelta(seconds=10), attempts=5) as ours:
        assert ours.vectors("diet", {"bird_id": [1]}).numbers.tolist() == [[2.5, 3]]
        with own_repo.redis.paused(), pytest.raises(grpc.RpcError) as caught:
            ours.vectors("diet", {"bird_id": [1]})
        assert caught.value.code() is grpc.StatusCode.UNAVAILABLE


def test_a_row_that_was_pushed_is_explained_as_far_as_it_goes(client: Server) -> None:
    """Explain tells value, status and times of what is served; a pushed row has no load, and a missing one nothing."""
    with Client(client.address, timeout=timedelta(seconds=20)) as ours:
        found = ours.explain("diet", "bird_weight:nickname", {"bird_id": 1})
        assert (found.feature, found.value.string_val, found.status) == (
            "bird_weight__nickname",
            "kiwi",
            Status.PRESENT,
        )
        assert found.event_time.ToDatetime(FRESH.tzinfo) == FRESH
        assert not found.HasField("load")
        missing = ours.explain("diet", "bird_weight__nickname", {"bird_id": 404})
        assert (missing.status, missing.HasField("event_time")) == (Status.NOT_FOUND, False)
        stale = ours.explain("diet", "bird_weight:nickname", {"bird_id": 4})
        assert (stale.status, stale.HasField("value")) == (Status.OUTSIDE_MAX_AGE, False)
        with pytest.raises(grpc.RpcError) as caught:
            ours.explain("diet", "bird_wait:nickname", {"bird_id": 1})
    assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT
