"""Requests for on-demand features: what they are computed from is read like any view, and what is computed comes last."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from serving.dense import Told
from serving.matrix import columns_of_keys, reply_of
from serving.ondemand import computed, divided, divided_keys, provenance_of, rows_of, spliced, told_of
from serving.plane import Plane, loads_of, spread
from serving.plans import Current
from serving.question import Columns, Selection, columns_of
from serving.splice import Splicer, echo
from serving.v1 import pedigree_pb2 as messages
from serving.v1.serving_pb2 import GetOnlineFeaturesRequest


async def read(
    plane: Plane, selection: Selection, columns: Columns, rows: int, remaining: float | None
) -> list[tuple[Splicer, Sequence[bytes | None]]]:
    """The records of each view that is read, row by row: of those of the answer first, then of the others."""
    if not selection.read:
        return []
    found = await plane.records(selection.reading, columns, rows, remaining=remaining)
    return [(splicer, spread(records, places)) for splicer, records, places in found]


async def online_features(
    plane: Plane, request: GetOnlineFeaturesRequest, selection: Selection, current: Current, *, remaining: float | None
) -> bytes:
    """The feature vectors that `request` asks for; see `Plane.online_features`.

    Raises:
        NotComputedError: a function is not defined for a row.
    """
    entities, data = divided(request.entities, request.request_context, selection)
    columns, rows = columns_of(entities, selection, current.plan)
    rows = rows_of(data, selection, rows)
    plane.refuse_too_much(selection, rows)
    found = await read(plane, selection, columns, rows, remaining)
    now_us, schemas, shown = plane.now_us(), plane.reader.schemas, len(selection.views)

    def make() -> list[bytes]:
        stored = [
            splicer.columns(records, places=None, now_us=now_us, schemas=schemas) for splicer, records in found[:shown]
        ]
        answers = computed(selection, columns, data, found[shown:], rows=rows, now_us=now_us, schemas=schemas)
        return [*stored, *spliced(selection, answers)]

    results = await plane.with_layouts(make, [(*one, None) for one in found], remaining)
    versions = request.include_feature_view_version_metadata
    metadata = selection.metadata_with_versions if versions else selection.metadata
    return b"".join([metadata, *map(echo, columns.values()), *results])


async def vectors(
    plane: Plane,
    request: messages.GetVectorsRequest,
    selection: Selection,
    current: Current,
    *,
    remaining: float | None,
) -> bytes:
    """The matrix that `request` asks for; see `Plane.vectors`.

    Raises:
        NotComputedError: a function is not defined for a row.
    """
    keys, data = divided_keys(request.keys, selection)
    columns, rows = columns_of_keys(keys, selection, current.plan)
    rows = rows_of(data, selection, rows)
    plane.refuse_too_much(selection, rows)
    found = await read(plane, selection, columns, rows, remaining)
    now_us, schemas, shown = plane.now_us(), plane.reader.schemas, len(selection.views)
    shape = plane.shape_of(selection)
    single = request.precision == messages.PRECISION_FLOAT
    matrix = np.empty((rows, shape.width), np.float32 if single else np.float64)
    behind = matrix[:, sum(len(dense.numbers) for dense in shape.denses) :]

    def make() -> list[Told]:
        stored = [
            dense.told(records, matrix[:, place], now_us=now_us, schemas=schemas)
            for dense, place, (_, records) in zip(shape.denses, shape.columns, found[:shown], strict=True)
        ]
        answers = computed(selection, columns, data, found[shown:], rows=rows, now_us=now_us, schemas=schemas)
        return [*stored, *told_of(selection, answers, behind, rows)]

    told = await plane.with_layouts(make, [(*one, None) for one in found], remaining)
    sources = [provenance_of(records) for _, records in found[shown:]]
    wanted = loads_of([*told, *sources])
    loads = await plane.reader.learn_loads(wanted) if request.include_provenance else None
    return reply_of(shape, matrix, told, loads=loads, plan_version=current.version, sources=sources)
