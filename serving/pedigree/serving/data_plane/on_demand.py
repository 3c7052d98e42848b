"""The on-demand features of an answer: computed from the records of their sources, join keys and request data. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from typing import Any, NamedTuple

import numpy as np

from pedigree.online.plans.plan import Input
from pedigree.online.records.record import HEAD
from pedigree.serving.codec.protowire import delimited, in_values
from pedigree.serving.codec.response_encoder import NO_TIME, ResponseEncoder, Schemas, status_of
from pedigree.serving.codec.vector_decoder import NUMBERS, DecodedVectors
from pedigree.serving.data_plane.computation import OnDemandColumn, plain, serialized
from pedigree.serving.data_plane.request_data import RequestData
from pedigree.serving.data_plane.selection import KeyColumns, Selection
from pedigree.serving.store.reader import Row
from pedigree.serving.v1.serving_pb2 import PRESENT

Read = Sequence[Sequence[Row]]
"""What was read: for each group of views, for each row of the request, a record of each view."""


class FetchedRows(NamedTuple):
    """The rows of one request, with everything that its answer is made of.

    Attributes:
        rows: how many there are.
        keys: their join keys.
        request_data: what was sent for on-demand views.
        groups: the records that were read for them.
    """

    selection: Selection
    rows: int
    keys: KeyColumns
    request_data: RequestData
    groups: Read

    def source_records(self) -> Iterator[tuple[ResponseEncoder, list[bytes | None]]]:
        """For each source of on-demand views its encoder, and the record of each row."""
        for encoder, group, place in self.selection.source_encoders:
            yield encoder, [row[place] for row in self.groups[group]]


def computed(fetched: FetchedRows, *, now_us: int, schemas: Schemas) -> list[list[OnDemandColumn]]:
    """The selected features of each on-demand view.

    Raises:
        SchemaMissingError: a record has a layout that the store was not asked for yet.
        NotComputedError: a function is not defined for a row.
    """
    selection = fetched.selection
    sources = [
        source_columns(encoder, records, now_us=now_us, schemas=schemas)
        for encoder, records in fetched.source_records()
    ]
    answers = []
    for computation, places in zip(selection.computations, selection.sources_of, strict=True):
        own = [sources[place] for place in places]
        inputs = [
            input_column(part, own, fetched) if place in computation.used else unread(fetched.rows)
            for place, part in enumerate(computation.view.inputs)
        ]
        answers.append(computation.compute(inputs, fetched.rows))
    return answers


def unread(rows: int) -> OnDemandColumn:
    """A placeholder for an input on which no selected feature depends."""
    return OnDemandColumn([None] * rows, ())


def input_column(part: Input, sources: Sequence[Mapping[str, OnDemandColumn]], fetched: FetchedRows) -> OnDemandColumn:
    """One column that an on-demand function reads.

    Args:
        sources: the columns of each of its views.
    """
    if part.kind == "request":
        return fetched.request_data[part.name]
    if part.kind == "key":
        return OnDemandColumn.present([plain(value, part.value_type) for value in fetched.keys[part.name]])
    return sources[part.source][part.name]


def source_columns(
    encoder: ResponseEncoder,
    records: Sequence[bytes | None],
    *,
    now_us: int,
    schemas: Schemas,
) -> dict[str, OnDemandColumn]:
    """The features of a source that on-demand functions read, by name."""
    features = encoder.view.features
    oldest_us = encoder.oldest_us(now_us)
    one_by_one = partial(encoder.found, oldest_us=oldest_us, schemas=schemas, alone=len(records) == 1)
    rows = [values_or_status(one_by_one(record), len(features)) for record in records]
    columns = {}
    for at, feature in enumerate(features):
        values = [
            None if row[at] is None or isinstance(row[at], int) else plain(row[at], feature.value_type) for row in rows
        ]
        statuses = [row[at] if isinstance(row[at], int) else PRESENT for row in rows]
        columns[feature.name] = OnDemandColumn(values, statuses)
    return columns


def values_or_status(found: Sequence[bytes | None] | int, count: int) -> Sequence[Any]:
    """For each of `count` features its serialized value, or the status that says why it has none."""
    if isinstance(found, int):
        return [found] * count
    return [value or status_of(value) for value in found]


def encoded(selection: Selection, answers: Sequence[Sequence[OnDemandColumn]]) -> list[bytes]:
    """The serialized `results` entries of a `GetOnlineFeaturesResponse`; as with Feast, a computed value has no time."""
    results = []
    for view, answer in zip(selection.on_demand, answers, strict=True):
        for feature, cells in zip(view.features, answer, strict=True):
            body = b"".join(in_values(serialized(value, feature.value_type)) for value in cells.values)
            results.append(delimited(2, body + delimited(2, bytes(cells.statuses)) + NO_TIME * len(cells.values)))
    return results


def as_vectors(selection: Selection, answers: Sequence[Sequence[OnDemandColumn]], numbers: Any) -> list[DecodedVectors]:
    """The same for `GetVectors`: numbers are written to the matrix, and everything else is returned.

    Args:
        numbers: the columns of the matrix that on-demand features fill.
    """
    rows, column, vectors = len(numbers), 0, []
    for view, answer in zip(selection.on_demand, answers, strict=True):
        pairs = list(zip(view.features, answer, strict=True))
        mine = [cells for feature, cells in pairs if feature.value_type in NUMBERS]
        others = [(feature, cells) for feature, cells in pairs if feature.value_type not in NUMBERS]
        statuses = np.empty((rows, len(mine)), np.uint8)
        for place, cells in enumerate(mine):
            numbers[:, column + place] = [np.nan if value is None else value for value in cells.values]
            statuses[:, place] = cells.statuses
        column += len(mine)
        vectors.append(
            DecodedVectors(
                None if np.all(statuses == PRESENT) else statuses,
                np.zeros((rows, HEAD.size), np.uint8),
                [
                    [serialized(value, feature.value_type) or None for value in cells.values]
                    for feature, cells in others
                ],
                [bytes(cells.statuses) for _, cells in others],
            )
        )
    return vectors


def provenance_of(encoder: ResponseEncoder, records: Sequence[bytes | None], schemas: Schemas) -> DecodedVectors:
    """Event times and loads of the rows of a source; zeros for damaged rows."""
    heads = np.zeros((len(records), HEAD.size), np.uint8)
    for row, record in enumerate(records):
        if record is not None and encoder.schema_of(record, schemas) is not None:
            heads[row] = np.frombuffer(record[: HEAD.size], np.uint8)
    return DecodedVectors(None, heads, [], [])
