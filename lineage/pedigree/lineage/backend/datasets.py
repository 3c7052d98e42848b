"""Datasets and their versions, in Marquez's shape."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import sqlalchemy as sa

from pedigree.lineage.backend.columns import origins_of
from pedigree.lineage.backend.dataset_rows import find_dataset
from pedigree.lineage.backend.errors import NotFoundError
from pedigree.lineage.backend.event_facets import facet, objects
from pedigree.lineage.backend.runs import Json, load_runs
from pedigree.lineage.backend.tables import among, dataset_versions, datasets, namespaces
from pedigree.lineage.backend.tagging import Tagged, load_tags


def require_namespace(connection: sa.Connection, namespace: str) -> None:
    """Raises NotFoundError if nothing was ever recorded in a namespace."""
    if connection.scalar(sa.select(namespaces.c.name).where(namespaces.c.name == namespace)) is None:
        raise NotFoundError("Namespace", namespace)


def require_dataset(connection: sa.Connection, namespace: str, name: str) -> str:
    """The id of a dataset that was not deleted."""
    require_namespace(connection, namespace)
    found = find_dataset(connection, namespace, name)
    alive = sa.select(datasets.c.id).where(datasets.c.id == found, datasets.c.deleted.is_(False))
    if found is None or connection.scalar(alive) is None:
        raise NotFoundError("Dataset", name)
    return found


def load_datasets(connection: sa.Connection, ids: Iterable[str], *, brief: bool = False) -> dict[str, Json]:
    """The datasets of these ids, by id; `brief` leaves out facets and column lineage, as graphs do."""
    wanted = list(ids)
    query = (
        sa.select(datasets, dataset_versions.c.facets)
        .outerjoin(dataset_versions, dataset_versions.c.id == datasets.c.current_version)
        .where(among(connection, datasets.c.id, wanted))
    )
    tagged = load_tags(connection, wanted)
    found = {row.id: dataset_shape(row, tagged) for row in connection.execute(query)}
    if not brief:
        columns = origins_of(connection, wanted)
        for id_, shape in found.items():
            shape["columnLineage"] = columns.get(id_)
        return found
    left_out = {"facets", "currentVersion", "deleted"}
    return {id_: {key: shape[key] for key in shape.keys() - left_out} for id_, shape in found.items()}


def dataset_shape(row: Any, tagged: Tagged) -> Json:
    """One dataset, as it is now."""
    facets = row.facets or {}
    return {
        "id": {"namespace": row.namespace, "name": row.name},
        "type": dataset_type(facets),
        "name": row.name,
        "physicalName": row.name,
        "createdAt": row.created_at,
        "updatedAt": row.updated_at,
        "namespace": row.namespace,
        "sourceName": row.source,
        "fields": field_shapes(facets, row.id, tagged),
        "tags": tagged.get((row.id, ""), []),
        "lastModifiedAt": row.modified_at,
        "lastLifecycleState": lifecycle(facets),
        "description": row.description,
        "currentVersion": row.current_version,
        "facets": facets,
        "deleted": row.deleted,
    }


def dataset_type(facets: Mapping[str, Any]) -> str:
    """Marquez knows tables and streams."""
    return (
        "STREAM" if str(facet(facets, "datasetType").get("datasetType")).upper() in {"STREAM", "TOPIC"} else "DB_TABLE"
    )


def lifecycle(facets: Mapping[str, Any]) -> str | None:
    """What last happened to a dataset as a whole: CREATE, OVERWRITE, TRUNCATE and so on."""
    state = facet(facets, "lifecycleStateChange").get("lifecycleStateChange")
    return None if state is None else str(state)


def field_shapes(facets: Mapping[str, Any], dataset_id: str, tagged: Tagged) -> list[Json]:
    """The columns that the schema facet names."""
    return [
        {
            "name": each["name"],
            "type": each.get("type"),
            "tags": tagged.get((dataset_id, each["name"]), []),
            "description": each.get("description"),
        }
        for each in objects(facet(facets, "schema").get("fields"))
        if isinstance(each.get("name"), str)
    ]


def list_datasets(connection: sa.Connection, namespace: str, *, limit: int, offset: int) -> Json:
    """A page of a namespace's datasets, by name."""
    require_namespace(connection, namespace)
    here = (datasets.c.namespace == namespace, datasets.c.deleted.is_(False))
    query = sa.select(datasets.c.id).where(*here).order_by(datasets.c.name).limit(limit).offset(offset)
    ids = list(connection.scalars(query))
    found = load_datasets(connection, ids)
    total = connection.scalar(sa.select(sa.func.count()).select_from(datasets).where(*here))
    return {"datasets": [found[id_] for id_ in ids], "totalCount": total}


def list_versions(connection: sa.Connection, dataset_id: str, *, limit: int, offset: int) -> Json:
    """A page of a dataset's versions, the newest first."""
    v = dataset_versions.c
    page = sa.select(v.id).where(v.dataset_id == dataset_id).order_by(v.created_at.desc(), v.rank.desc(), v.id)
    ids = list(connection.scalars(page.limit(limit).offset(offset)))
    found = load_versions(connection, ids)
    total = connection.scalar(sa.select(sa.func.count()).where(v.dataset_id == dataset_id))
    return {"versions": [found[id_] for id_ in ids], "totalCount": total}


def version(connection: sa.Connection, dataset_id: str, id_: str) -> Json:
    """One version of a dataset."""
    v = dataset_versions.c
    if connection.scalar(sa.select(v.id).where(v.id == id_, v.dataset_id == dataset_id)) is None:
        raise NotFoundError("Dataset version", id_)
    return load_versions(connection, [id_])[id_]


def load_versions(connection: sa.Connection, ids: Iterable[str]) -> dict[str, Json]:
    """The dataset versions of these ids, by id, each with the run that wrote it."""
    wanted = list(ids)
    v = dataset_versions.c
    query = (
        sa.select(datasets, v.id.label("version"), v.run_id, v.facets, v.created_at.label("version_at"))
        .join(dataset_versions, v.dataset_id == datasets.c.id)
        .where(among(connection, v.id, wanted))
    )
    rows = connection.execute(query).all()
    tagged = load_tags(connection, {row.id for row in rows})
    writers = load_runs(connection, {row.run_id for row in rows if row.run_id})
    return {row.version: version_shape(row, tagged, writers.get(row.run_id)) for row in rows}


def version_shape(row: Any, tagged: Tagged, writer: Json | None) -> Json:
    """One version of a dataset."""
    return {
        "id": {"namespace": row.namespace, "name": row.name, "version": row.version},
        "type": dataset_type(row.facets),
        "name": row.name,
        "physicalName": row.name,
        "createdAt": row.version_at,
        "version": row.version,
        "namespace": row.namespace,
        "sourceName": row.source,
        "fields": field_shapes(row.facets, row.id, tagged),
        "tags": tagged.get((row.id, ""), []),
        "lifecycleState": lifecycle(row.facets),
        "description": row.description,
        "currentSchemaVersion": None,
        "createdByRun": writer,
        "facets": row.facets,
    }


def delete_dataset(connection: sa.Connection, dataset_id: str) -> Json:
    """Hide a dataset until the next event speaks of it."""
    connection.execute(sa.update(datasets).where(datasets.c.id == dataset_id).values(deleted=True))
    return load_datasets(connection, [dataset_id])[dataset_id]
