"""Which rows and columns came out otherwise when a training set was computed again."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from pedigree.jobs.training_sets.fingerprint import Content, canonical
from pedigree.jobs.training_sets.manifest import Manifest
from pedigree.jobs.training_sets.store import BATCH, TrainingSetStore


@dataclass(frozen=True, slots=True)
class Mismatch:
    """One column: how many rows differ, and the first that does, by its position, with both values.

    `what` says so where the column as a whole is not the same: missing, new, or of another type.
    """

    column: str
    rows: int = 0
    position: int | None = None
    was: object = None
    now: object = None
    what: str = ""


def mismatches(manifest: Manifest, set_store: TrainingSetStore, again: Path, content: Content) -> tuple[Mismatch, ...]:
    """The columns whose values are not the stored ones, row by row in the entities' order."""
    stored = set_store.schema(manifest.id, "rows")
    found = []
    with pq.ParquetFile(again) as rebuilt:
        for column in manifest.content.differing(content):
            what = unlike(column, stored, rebuilt.schema_arrow)
            pairs = (
                ()
                if what
                else zip(
                    values(set_store.batches(manifest.id, "rows", columns=[column])),
                    values(rebuilt.iter_batches(BATCH, columns=[column])),
                    strict=False,
                )
            )
            found.append(Mismatch(column, what=what) if what else compared(column, iter(pairs)))
    return tuple(found)


def unlike(column: str, stored: pa.Schema, rebuilt: pa.Schema) -> str:
    """How a column as a whole is not the same; empty where only its values may differ."""
    if column not in stored.names:
        return "was not there"
    if column not in rebuilt.names:
        return "is missing"
    was, now = (canonical(schema.field(column).type) for schema in (stored, rebuilt))
    return "" if was == now else f"was {was}, is {now}"


def values(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.Array]:
    """The only column of each batch, in its canonical type."""
    for batch in batches:
        yield batch.column(0).cast(canonical(batch.column(0).type))


def compared(column: str, pairs: Iterator[tuple[pa.Array, pa.Array]]) -> Mismatch:
    """How two columns differ; both come in batches of the same rows."""
    rows, position, first = 0, 0, Mismatch(column)
    for was, now in pairs:
        same = pc.if_else(
            pc.and_(was.is_valid(), now.is_valid()), pc.equal(was, now), pc.equal(was.is_valid(), now.is_valid())
        )
        other = [
            row for row, is_same in enumerate(same.to_pylist()) if not is_same and repr(was[row]) != repr(now[row])
        ]
        if other and not rows:
            row = other[0]
            first = Mismatch(column, 0, position + row, was[row].as_py(), now[row].as_py())
        rows += len(other)
        position += len(was)
    return Mismatch(column, rows, first.position, first.was, first.now)
