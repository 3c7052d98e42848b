"""What the server knows how to answer, without any transport."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import TypeVar

from online.errors import SchemaMissingError
from serving.dense import Dense, Told
from serving.errors import DeadlinePassedError, InvalidRequestError
from serving.matrix import columns_of_keys, reply_of
from serving.plans import Current, Plans
from serving.question import Columns, Selection, columns_of, keys_of, refuse_context
from serving.reader import Reader, Record, Wanted
from serving.settings import ServingSettings
from serving.splice import Splicer, echo, fingerprints
from serving.v1 import pedigree_pb2
from serving.v1.serving_pb2 import GetFeastServingInfoResponse, GetOnlineFeaturesRequest

FEAST_VERSION = "0.67.0"
"""The version of Feast whose protocol is spoken."""

EPOCH = datetime.fromtimestamp(0, UTC)
MICROSECOND = timedelta(microseconds=1)

T = TypeVar("T")


@dataclass(slots=True)
class Plane:
    """Answers requests by the current plan, from one reader."""

    plans: Plans
    reader: Reader
    settings: ServingSettings
    denses: dict[int, tuple[Selection, tuple[Dense, ...]]] = field(default_factory=dict)

    def selection(self, current: Current, request: GetOnlineFeaturesRequest) -> Selection:
        """What Feast's own message asks for."""
        refuse_context(request.request_context)
        service = request.feature_service if request.WhichOneof("kind") == "feature_service" else None
        return current.selection(service, request.features.val, full_names=request.full_feature_names)

    async def online_features(
        self, request: GetOnlineFeaturesRequest, selection: Selection, current: Current, *, remaining: float | None
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
        entities = {name: column.val for name, column in request.entities.items()}
        columns, rows = columns_of(entities, selection, current.plan)
        self.refuse_too_much(selection, rows)
        found = await self.records(selection, columns, rows, remaining=remaining)
        now_us = self.now_us()
        versions = request.include_feature_view_version_metadata
        parts = [selection.metadata_with_versions if versions else selection.metadata]
        parts.extend(echo(column) for column in columns.values())
        for splicer, records, places in found:
            parts.extend(splicer.columns(records, places=places, now_us=now_us, schemas=self.reader.schemas))
        return b"".join(parts)

    async def vectors(
        self,
        request: pedigree_pb2.GetVectorsRequest,
        selection: Selection,
        current: Current,
        *,
        remaining: float | None,
    ) -> bytes:
        """The matrix that `request` asks for: a serialized `GetVectorsResponse`."""
        columns, rows = columns_of_keys(request.keys, selection, current.plan)
        self.refuse_too_much(selection, rows)
        found = await self.records(selection, columns, rows, remaining=remaining)
        now_us = self.now_us()
        denses = self.denses_of(selection)
        told = [
            dense.told(spread(records, places), now_us=now_us, schemas=self.reader.schemas)
            for dense, (_, records, places) in zip(denses, found, strict=True)
        ]
        loads = None
        if request.include_provenance:
            loads = await self.reader.learn_loads(loads_of(told))
        return reply_of(
            selection,
            denses,
            told,
            rows=rows,
            single=request.precision == pedigree_pb2.PRECISION_FLOAT,
            loads=loads,
            plan_version=current.version,
        )

    def denses_of(self, selection: Selection) -> tuple[Dense, ...]:
        """How the records of what is asked for become numbers, compiled once."""
        kept = self.denses.get(id(selection))
        if kept is None or kept[0] is not selection:
            if len(self.denses) > 1024:
                self.denses.clear()
            kept = self.denses[id(selection)] = (selection, tuple(Dense(part[0]) for part in selection.parts))
        return kept[1]

    async def records(
        self, selection: Selection, columns: Columns, rows: int, *, remaining: float | None
    ) -> list[tuple[Splicer, list[Record], list[int] | None]]:
        """For each view: its splicer, the record of each key, and for each row the place of its key."""
        keyed = [keys_of(group, columns, rows) for group in selection.groups]
        wanted = [Wanted(group.stored, keys) for group, (keys, _) in zip(selection.groups, keyed, strict=True)]
        answers = await self.in_time(self.reader.read(wanted), remaining)
        found = []
        for splicer, group, place in selection.parts:
            records = [record[place] for record in answers[group]]
            found.append((splicer, records, keyed[group][1]))
        await self.know_layouts(found, remaining)
        return found

    async def know_layouts(
        self, found: Sequence[tuple[Splicer, list[Record], object]], remaining: float | None
    ) -> None:
        """Learn the layout of every record that has another than its view has now."""
        strange: set[bytes] = set()
        for splicer, records, _ in found:
            strange |= fingerprints(records) - {splicer.schema.fingerprint} - self.reader.schemas.keys()
        if strange:
            await self.in_time(self.reader.learn_schemas(strange), remaining)
            for splicer, records, _ in found:
                if fingerprints(records) - {splicer.schema.fingerprint} - self.reader.schemas.keys():
                    raise SchemaMissingError(splicer.view.stored_as)

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
        if rows > self.settings.max_entities:
            raise InvalidRequestError(
                f"{rows} entity rows were sent and {self.settings.max_entities} are the limit. Send them in several requests."
            )
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


def spread(records: list[Record], places: list[int] | None) -> list[Record]:
    """The record of each row."""
    return records if places is None else [records[place] for place in places]


def loads_of(told: Sequence[Told]) -> set[int]:
    """The numbers of all loads that wrote something of it."""
    return {int(number) for one in told for number in set(one.loads.tolist())}
