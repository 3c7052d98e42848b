"""Answers requests from the online store, whatever the transport: fetch records, decode them, compute on demand, encode."""

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
from pedigree.serving.codec.response_encoder import Schemas, echo
from pedigree.serving.codec.vector_decoder import DecodedVectors, Matrix
from pedigree.serving.data_plane.on_demand import FetchedRows, Read, as_vectors, computed, encoded, provenance_of
from pedigree.serving.data_plane.plan_cache import COLUMNS_KEPT, CurrentPlan, PlanCache
from pedigree.serving.data_plane.request_data import (
    RequestData,
    row_count,
    split_features_request,
    split_vectors_request,
)
from pedigree.serving.data_plane.selection import KeyColumns, Selection, columns_of, keys_of
from pedigree.serving.data_plane.vectors import VectorShape, columns_of_keys, reply_of
from pedigree.serving.errors import DeadlinePassedError, InvalidRequestError
from pedigree.serving.lru import Lru
from pedigree.serving.settings import ServingSettings
from pedigree.serving.store.reader import Lookup, Reader, Row
from pedigree.serving.v1 import pedigree_pb2
from pedigree.serving.v1.serving_pb2 import GetFeastServingInfoResponse, GetOnlineFeaturesRequest

FEAST_VERSION = "0.67.0"
"""The version of Feast whose protocol is spoken."""

EPOCH = datetime.fromtimestamp(0, UTC)
MICROSECOND = timedelta(microseconds=1)
LAYOUT_LOOKS = 3
"""How often a request asks the store for layouts. Another request may forget missing ones meanwhile."""
LINEAGE_THREADS = 8
"""Requests of a process that may wait for the lineage backend at once; one more is told that it does not answer."""

T = TypeVar("T")


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

    async def online_features(
        self, request: GetOnlineFeaturesRequest, selection: Selection, current: CurrentPlan, *, remaining: float | None
    ) -> bytes:
        """The feature vectors that `request` asks for: a serialized `GetOnlineFeaturesResponse`.

        Args:
            request: Feast's own message.
            selection: what it selects.
            remaining: the seconds until the caller stops waiting; None: the caller named no deadline.
        Raises:
            ServingError: the request cannot be answered; see `columns_of` and `Reader.read`.
            NotComputedError: an on-demand function is not defined for a row.
            DeadlinePassedError: time ran out first.
        """
        entities, data = split_features_request(request.entities, request.request_context, selection)
        keys, count = columns_of(entities, selection, current.plan)
        fetched = await self.fetch(selection, keys, data, count, remaining=remaining)
        now_us, schemas = self.now_us(), self.reader.schemas

        def encode() -> list[bytes]:
            stored = in_order(
                (members, decoder.columns(group, now_us=now_us, schemas=schemas))
                for decoder, members, group in zip(selection.decoders, selection.members, fetched.groups, strict=True)
            )
            if not selection.on_demand:
                return stored
            return [*stored, *encoded(selection, computed(fetched, now_us=now_us, schemas=schemas))]

        results = await self.with_layouts(encode, selection, fetched.groups, remaining)
        versions = request.include_feature_view_version_metadata
        parts = [selection.metadata_with_versions if versions else selection.metadata]
        parts.extend(echo(column) for column in keys.values())
        parts.extend(results)
        return b"".join(parts)

    async def vectors(
        self,
        request: pedigree_pb2.GetVectorsRequest,
        selection: Selection,
        current: CurrentPlan,
        *,
        remaining: float | None,
    ) -> bytes:
        """The matrix that `request` asks for: a serialized `GetVectorsResponse`.

        Raises:
            ServingError, NotComputedError, DeadlinePassedError: as for `online_features`.
        """
        columns, data = split_vectors_request(request.keys, selection)
        keys, count = columns_of_keys(columns, selection, current.plan)
        fetched = await self.fetch(selection, keys, data, count, remaining=remaining)
        now_us, schemas = self.now_us(), self.reader.schemas
        shape = self.shape_of(selection)
        single = request.precision == pedigree_pb2.PRECISION_FLOAT
        matrix = np.empty((fetched.rows, shape.width), np.float32 if single else np.float64)

        def decode() -> list[DecodedVectors]:
            stored = decoded(shape, fetched, matrix, now_us=now_us, schemas=schemas)
            if not selection.on_demand:
                return stored
            answers = computed(fetched, now_us=now_us, schemas=schemas)
            return [*stored, *as_vectors(selection, answers, matrix[:, shape.stored_width :])]

        vectors = await self.with_layouts(decode, selection, fetched.groups, remaining)
        if not request.include_provenance:
            return reply_of(shape, matrix, vectors, loads=None, plan_version=current.version)
        sources = [provenance_of(encoder, records, schemas) for encoder, records in fetched.source_records()]
        loads = await self.reader.learn_loads(loads_of([*vectors, *sources]))
        return reply_of(shape, matrix, vectors, loads=loads, plan_version=current.version, sources=sources)

    def shape_of(self, selection: Selection) -> VectorShape:
        """The parts of a reply that are the same for all requests of one selection, compiled once."""
        kept = self.shapes.get(id(selection))
        if kept is None or kept.selection is not selection:
            kept = VectorShape(selection)
            self.shapes.keep(id(selection), kept, weight=1 + len(selection.columns))
        return kept

    async def fetch(
        self, selection: Selection, keys: KeyColumns, data: RequestData, count: int, *, remaining: float | None
    ) -> FetchedRows:
        """The rows of a request with the records that were read for them.

        Args:
            count: the number of values of each join key.
        Raises:
            InvalidRequestError: the request asks for too much, or its columns differ in length.
            ServingError: the store cannot be read; see `Reader.read`.
        """
        count = row_count(data, selection, count)
        self.refuse_too_much(selection, count)
        groups = await self.read(selection, keys, count, remaining=remaining)
        return FetchedRows(selection, count, keys, data, groups)

    async def read(self, selection: Selection, keys: KeyColumns, count: int, *, remaining: float | None) -> Read:
        """For each group of views, for each of `count` rows, a record of each view."""
        if not selection.groups:
            return []
        keyed = [keys_of(group, keys, count) for group in selection.groups]
        lookups = [
            Lookup(group.stored, redis_keys) for group, (redis_keys, _) in zip(selection.groups, keyed, strict=True)
        ]
        answers = await self.in_time(self.reader.read(lookups), remaining)
        return [spread(answer, places) for answer, (_, places) in zip(answers, keyed, strict=True)]

    async def with_layouts(
        self, decode: Callable[[], T], selection: Selection, groups: Read, remaining: float | None
    ) -> T:
        """The result of `decode`. If a record has an unknown layout, the store is asked for it and `decode` is called again."""
        for _ in range(LAYOUT_LOOKS):
            try:
                return decode()
            except SchemaMissingError:
                pairs = zip(selection.decoders, groups, strict=True)
                unknown = set().union(*(decoder.unknown(rows) for decoder, rows in pairs))
                await self.in_time(self.reader.learn_schemas(unknown), remaining)
        return decode()

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
        """Raise if a request asks for more rows or values than one request may.

        Raises:
            InvalidRequestError: it does.
        """
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
    """The records of each row of a request, by the place of its key; None: each row has its own key, in order."""
    return rows if places is None else [rows[place] for place in places]


def in_order(groups: Iterable[tuple[Sequence[int], Sequence[T]]]) -> list[T]:
    """The results of all groups, in the order of the answer: each group brings the positions of its results."""
    placed = {
        position: result for positions, results in groups for position, result in zip(positions, results, strict=True)
    }
    return [placed[position] for position in range(len(placed))]


def decoded(
    shape: VectorShape, fetched: FetchedRows, matrix: Matrix, *, now_us: int, schemas: Schemas
) -> list[DecodedVectors]:
    """The vectors of the stored views. Numbers are written to `matrix`, and everything else is returned."""
    selection = shape.selection
    targets = [matrix[:, columns] for columns in shape.columns]
    return in_order(
        (
            members,
            decoder.decode(group_decoders, group, [targets[one] for one in members], now_us=now_us, schemas=schemas),
        )
        for decoder, members, group_decoders, group in zip(
            selection.decoders, selection.members, shape.grouped, fetched.groups, strict=True
        )
    )


def loads_of(vectors: Sequence[DecodedVectors]) -> set[int]:
    """The numbers of all loads that wrote any of the rows."""
    return {int(number) for view in vectors for number in set(view.loads.tolist())}
