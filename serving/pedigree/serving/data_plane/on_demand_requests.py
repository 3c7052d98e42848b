"""Requests for on-demand features: what they are computed from is read like any view, and what is computed comes last."""

from __future__ import annotations

import numpy as np

from pedigree.serving.codec.response_encoder import echo
from pedigree.serving.codec.vector_decoder import DecodedVectors
from pedigree.serving.data_plane.data_plane import DataPlane, Read, in_order, loads_of
from pedigree.serving.data_plane.on_demand import (
    Records,
    computed,
    divided,
    divided_keys,
    provenance_of,
    rows_of,
    spliced,
    told_of,
)
from pedigree.serving.data_plane.plan_cache import CurrentPlan
from pedigree.serving.data_plane.selection import Columns, Selection, columns_of
from pedigree.serving.data_plane.vectors import columns_of_keys, reply_of
from pedigree.serving.v1 import pedigree_pb2 as messages
from pedigree.serving.v1.serving_pb2 import GetOnlineFeaturesRequest


async def read(plane: DataPlane, selection: Selection, columns: Columns, rows: int, remaining: float | None) -> Read:
    """What each row has of each group of views, those that are computed from, too."""
    return await plane.read(selection.reading, columns, rows, remaining=remaining) if selection.read else []


def by_view(selection: Selection, read: Read) -> Records:
    """How the records of each view are read, and the record of each row: of views of the answer first, then of the others."""
    found = []
    for (abreast, members), rows in zip(selection.reading.abreast, read, strict=True):
        records = list(zip(*rows, strict=True))
        found.append((members, [(splicer, records[place]) for splicer, place in abreast.splicers]))
    return in_order(found)


async def online_features(
    plane: DataPlane,
    request: GetOnlineFeaturesRequest,
    selection: Selection,
    current: CurrentPlan,
    *,
    remaining: float | None,
) -> bytes:
    """The feature vectors that `request` asks for; see `Plane.online_features`.

    Raises:
        NotComputedError: a function is not defined for a row.
    """
    entities, data = divided(request.entities, request.request_context, selection)
    columns, rows = columns_of(entities, selection, current.plan)
    rows = rows_of(data, selection, rows)
    plane.refuse_too_much(selection, rows)
    groups = await read(plane, selection, columns, rows, remaining)
    found = by_view(selection, groups)
    now_us, schemas, shown = plane.now_us(), plane.reader.schemas, len(selection.views)

    def make() -> list[bytes]:
        stored = [splicer.columns(records, now_us=now_us, schemas=schemas) for splicer, records in found[:shown]]
        answers = computed(selection, columns, data, found[shown:], rows=rows, now_us=now_us, schemas=schemas)
        return [*stored, *spliced(selection, answers)]

    results = await plane.with_layouts(make, selection.reading, groups, remaining)
    versions = request.include_feature_view_version_metadata
    metadata = selection.metadata_with_versions if versions else selection.metadata
    return b"".join([metadata, *map(echo, columns.values()), *results])


async def vectors(
    plane: DataPlane,
    request: messages.GetVectorsRequest,
    selection: Selection,
    current: CurrentPlan,
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
    groups = await read(plane, selection, columns, rows, remaining)
    found = by_view(selection, groups)
    now_us, schemas, shown = plane.now_us(), plane.reader.schemas, len(selection.views)
    shape = plane.shape_of(selection)
    single = request.precision == messages.PRECISION_FLOAT
    matrix = np.empty((rows, shape.width), np.float32 if single else np.float64)
    behind = matrix[:, sum(len(dense.numbers) for dense in shape.denses) :]

    def make() -> list[DecodedVectors]:
        stored = [
            dense.told(records, matrix[:, place], now_us=now_us, schemas=schemas)
            for dense, place, (_, records) in zip(shape.denses, shape.columns, found[:shown], strict=True)
        ]
        answers = computed(selection, columns, data, found[shown:], rows=rows, now_us=now_us, schemas=schemas)
        return [*stored, *told_of(selection, answers, behind, rows)]

    told = await plane.with_layouts(make, selection.reading, groups, remaining)
    if not request.include_provenance:
        return reply_of(shape, matrix, told, loads=None, plan_version=current.version)
    sources = [provenance_of(splicer, records, schemas) for splicer, records in found[shown:]]
    loads = await plane.reader.learn_loads(loads_of([*told, *sources]))
    return reply_of(shape, matrix, told, loads=loads, plan_version=current.version, sources=sources)
