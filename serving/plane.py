"""What the server knows how to answer, without any transport."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from importlib.metadata import version

from serving.converters import reading_of, response_of
from serving.errors import DeadlinePassedError
from serving.plan import Plan
from serving.question import question_of
from serving.reader import Reader
from serving.settings import ServingSettings
from serving.v1.serving_pb2 import GetFeastServingInfoResponse, GetOnlineFeaturesRequest, GetOnlineFeaturesResponse

FEAST_VERSION = version("feast")


@dataclass(frozen=True, slots=True)
class Plane:
    """Answers requests from one plan and one reader."""

    plan: Plan
    reader: Reader
    settings: ServingSettings

    async def online_features(
        self, request: GetOnlineFeaturesRequest, *, remaining: float | None
    ) -> GetOnlineFeaturesResponse:
        """The feature vectors that `request` asks for.

        Args:
            request: Feast's own message.
            remaining: the seconds until the caller stops waiting; None: the caller named no deadline.
        Raises:
            ServingError: the request cannot be answered; see `question_of` and `Reader.read`.
            DeadlinePassedError: time ran out first.
        """
        question = question_of(request, self.plan, max_entities=self.settings.max_entities)
        readings = [reading_of(view, question.keys(view)) for view in question.views]
        try:
            async with asyncio.timeout(self.settings.deadline.total_seconds() if remaining is None else remaining):
                rows = await self.reader.read([(reading.view, reading.keys) for reading in readings])
        except TimeoutError as error:
            raise DeadlinePassedError from error
        return response_of(question, readings, rows=rows, now=self.settings.now())

    def info(self) -> GetFeastServingInfoResponse:
        """The version of Feast whose protocol is spoken and whose registry and store are read."""
        return GetFeastServingInfoResponse(version=FEAST_VERSION)
