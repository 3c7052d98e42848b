"""Counts present, null, missing and outdated values in a sample of replies, after they were sent."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from time import monotonic

from pedigree.serving.data_plane.selection import Selection
from pedigree.serving.v1.pedigree_pb2 import GetVectorsResponse
from pedigree.serving.v1.serving_pb2 import FieldStatus, GetOnlineFeaturesResponse

EVERY = 0.2
"""Seconds between two replies that are looked at: their cost stays below a thousandth of a core, however much is asked."""
LARGEST = 1 << 16
"""Bytes of the largest reply that is looked at; a larger one would keep others waiting."""

Counts = Mapping[tuple[str, str], int]
Count = Callable[[bytes, Selection], Counts]


@dataclass(slots=True)
class Sampler:
    """Looks at a reply now and then, once it has gone out."""

    count_values: Callable[[Counts], None]
    next_at: float = 0.0

    def see(self, count: Count, reply: bytes, selection: Selection) -> None:
        """A reply is ready."""
        now = monotonic()
        if now >= self.next_at and len(reply) <= LARGEST:
            self.next_at = now + EVERY
            asyncio.get_running_loop().call_soon(lambda: self.count_values(count(reply, selection)))


def statuses_of_features(reply: bytes, selection: Selection) -> Counts:
    """By view and status, how many values a `GetOnlineFeaturesResponse` has; join keys are none."""
    columns = GetOnlineFeaturesResponse.FromString(reply).results[len(selection.keys) :]
    views = (view.stored_as for view in selection.asked for _ in view.features)
    return counted((view, column.statuses) for view, column in zip(views, columns, strict=True))


def statuses_of_vectors(reply: bytes, selection: Selection) -> Counts:
    """The same of a `GetVectorsResponse`."""
    response = GetVectorsResponse.FromString(reply)
    views = {f"{view.name}__{feature.name}": view.stored_as for view in selection.asked for feature in view.features}
    width = len(response.names)
    statuses = response.statuses or b"\x01" * (width * response.rows)
    matrix = ((views[name], statuses[place::width]) for place, name in enumerate(response.names))
    others = ((views[column.name], column.statuses) for column in response.others)
    return counted(pair for pairs in (matrix, others) for pair in pairs)


def counted(columns: Iterable[tuple[str, Iterable[int]]]) -> Counts:
    """Statuses by view and name."""
    return Counter(named(columns))


def named(columns: Iterable[tuple[str, Iterable[int]]]) -> Iterator[tuple[str, str]]:
    """The view and the name of each status."""
    for view, statuses in columns:
        for status in statuses:
            yield view, FieldStatus.Name(status)
