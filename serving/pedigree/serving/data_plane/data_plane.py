"""What the server knows how to answer, without any transport."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import TypeVar

import numpy as np

from pedigree.online.errors import SchemaMissingError
from pedigree.serving.bounds import check_rows
from pedigree.serving.bulkhead import Bulkhead
from pedigree.serving.codec.response_encoder import echo
from pedigree.serving.codec.vector_decoder import DecodedVectors
from pedigree.serving.data_plane.plan_cache import COLUMNS_KEPT, CurrentPlan, PlanCache
from pedigree.serving.data_plane.selection import Columns, Selection, columns_of, keys_of, refuse_context
from pedigree.serving.data_plane.vectors import VectorShape, columns_of_keys, reply_of
from pedigree.serving.errors import DeadlinePassedError, InvalidRequestError
from pedigree.serving.lru import Lru
from pedigree.serving.settings import ServingSettings
from pedigree.serving.store.reader import Reader, Row, Wanted
from pedigree.serving.v1 import pedigree_pb2
from pedigree.serving.v1.serving_pb2 import GetFeastServingInfoResponse, GetOnlineFeaturesRequest

FEAST_VERSION = "0.67.0"
"""The version of Feast whose protocol is spoken."""

EPOCH = datetime.fromtimestamp(0, UTC)
MICROSECOND = timedelta(microseconds=1)
LAYOUT_LOOKS = 3
"""How often a request asks for layouts; those that the store did not tell may be forgotten between two looks."""
LINEAGE_THREADS = 8
"""Requests of a process that may wait for the lineage backend at once; one more is told that it does not answer."""

T = TypeVar("T")

Read = Sequence[Sequence[Row]]
"""What was read: for each group of views, for each row of the request, a record of each view."""


@dataclass(slots=True)
class DataPlane:
    """Answers requests by the current plan, from one reader.

    Attributes:
        lineage: the threads that wait for the lineage backend; nothing else waits with them.
    """

    plans: PlanCache
    reader: Reader
    settings: ServingSettings
    shapes: Lru[int, VectorShape] = field(default_factory=lambda: Lru(COLUMNS_KEPT))
    lineage: Bulkhead = field(default_factory=lambda: Bulkhead("lineage", LINEAGE_THREADS))

    def selection(self, current: CurrentPlan, request: GetOnlineFeaturesRequest) -> Selection:
        """What Feast's own message asks for."""
        service = request.feature_service if request.WhichOneof("kind") == "feature_service" else None
        selection = current.selection(service, request.features.val, full_names=request.full_feature_names)
        if not selection.on_demand:
            refuse_context(request.request_context)
        return selection

    async def online_features(
        self, request: GetOnlineFeaturesRequest, selection: Selection, current: CurrentPlan, *, remaining: float | None
    ) -> bytes:
        """The feature vectors that `request` asks for: a serialized `GetOnlineFeaturesResponse`.

        Args:
            request: Feast's own message.
            selection: what it asks for.
            remaining: the seconds until the caller stops waiting; None: the caller named no deadline.
        Raises:
            ServingError: the request cannot be answered; see `columns_of` and `Reader.read`.
            DeadlinePassedError: time ran out first.
        """
        columns, rows = columns_of(request.entities, selection, current.plan)
        self.refuse_too_much(selection, rows)
        read = await self.read(selection, columns, rows, remaining=remaining)
        now_us = self.now_us()
        versions = request.include_feature_view_version_metadata
        parts = [selection.metadata_with_versions if versions else selection.metadata]
        parts.extend(echo(column) for column in columns.values())
        schemas = self.reader.schemas
        spliced = await self.with_layouts(
            lambda: in_order(
                (members, abreast.columns(rows, now_us=now_us, schemas=schemas))
                for (abreast, members), rows in zip(selection.abreast, read, strict=True)
            ),
            selection,
            read,
            remaining,
        )
        parts.extend(spliced)
        return b"".join(parts)

    async def vectors(
        self,
        request: pedigree_pb2.GetVectorsRequest,
        selection: Selection,
        current: CurrentPlan,
        *,
        remaining: float | None,
    ) -> bytes:
        """The matrix that `request` asks for: a serialized `GetVectorsResponse`."""
        columns, rows = columns_of_keys(request.keys, selection, current.plan)
        self.refuse_too_much(selection, rows)
        read = await self.read(selection, columns, rows, remaining=remaining)
        now_us, schemas = self.now_us(), self.reader.schemas
        shape = self.shape_of(selection)
        single = request.precision == pedigree_pb2.PRECISION_FLOAT
        matrix = np.empty((rows, shape.width), np.float32 if single else np.float64)
        into = [matrix[:, columns] for columns in shape.columns]
        told = await self.with_layouts(
            lambda: in_order(
                (members, abreast.told(denses, rows, [into[one] for one in members], now_us=now_us, schemas=schemas))
                for (abreast, members), denses, rows in zip(selection.abreast, shape.grouped, read, strict=True)
            ),
            selection,
            read,
            remaining,
        )
        loads = await self.reader.learn_loads(loads_of(told)) if request.include_provenance else None
        return reply_of(shape, matrix, told, loads=loads, plan_version=current.version)

    def shape_of(self, selection: Selection) -> VectorShape:
        """What is the same in every reply to one way of asking, compiled once."""
        kept = self.shapes.get(id(selection))
        if kept is None or kept.selection is not selection:
            kept = VectorShape(selection)
            self.shapes.keep(id(selection), kept, weight=1 + len(selection.columns))
        return kept

    async def read(self, selection: Selection, columns: Columns, rows: int, *, remaining: float | None) -> Read:
        """What each row has of each group's views."""
        keyed = [keys_of(group, columns, rows) for group in selection.groups]
        wanted = [Wanted(group.stored, keys) for group, (keys, _) in zip(selection.groups, keyed, strict=True)]
        answers = await self.in_time(self.reader.read(wanted), remaining)
        return [spread(answer, places) for answer, (_, places) in zip(answers, keyed, strict=True)]

    async def with_layouts(self, make: Callable[[], T], selection: Selection, read: Read, remaining: float | None) -> T:
        """What `make` gives; where the store was not asked yet for a layout that a record may have, it is, and `make` called
        again.
        """
        for _ in range(LAYOUT_LOOKS):
            try:
                return make()
            except SchemaMissingError:
                groups = zip(selection.abreast, read, strict=True)
                seen = set().union(*(abreast.unknown(rows) for (abreast, _), rows in groups))
                await self.in_time(self.reader.learn_schemas(seen), remaining)
        return make()

    async def in_time(self, work: Awaitable[T], remaining: float | None) -> T:
        """The result of reading, before the caller stops waiting."""
        if remaining is None:
            remaining = self.settings.deadline.total_seconds()
        if remaining > self.settings.store_timeout.total_seconds():
            return await work  # the reader's own limit comes first
        try:
            async with asyncio.timeout(remaining):
                return await work
        except TimeoutError as error:
            raise DeadlinePassedError from error

    def refuse_too_much(self, selection: Selection, rows: int) -> None:
        """Raise where one request asks for more than one may."""
        check_rows([[rows]], self.settings.max_entities)
        values = rows * (len(selection.columns) - len(selection.keys))
        if values > self.settings.max_values:
            raise InvalidRequestError(
                f"{values} values were asked for ({rows} rows) and {self.settings.max_values} are the limit. "
                "Ask for fewer rows or features at once."
            )

    def now_us(self) -> int:
        """The instant against which ages are judged, in µs of UTC."""
        return (self.settings.now() - EPOCH) // MICROSECOND

    def info(self) -> bytes:
        """The version of Feast whose protocol is spoken."""
        return bytes(GetFeastServingInfoResponse(version=FEAST_VERSION).SerializeToString())


def spread(rows: Sequence[Row], places: list[int] | None) -> Sequence[Row]:
    """What each row of a request has, by the place of its key; None: every key has one row, in order."""
    return rows if places is None else [rows[place] for place in places]


def in_order(groups: Iterable[tuple[Sequence[int], Sequence[T]]]) -> list[T]:
    """What groups tell of their members, by the members' numbers."""
    found = {number: one for numbers, ones in groups for number, one in zip(numbers, ones, strict=True)}
    return [found[number] for number in range(len(found))]


def loads_of(told: Sequence[DecodedVectors]) -> set[int]:
    """The numbers of all loads that wrote something of it."""
    return {int(number) for one in told for number in set(one.loads.tolist())}
