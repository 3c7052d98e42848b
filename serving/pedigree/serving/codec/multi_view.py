"""Views about the same entities, read abreast: what a key has of all of them is one row of bytes, taken apart at once.

Only where every record is there, intact and of the present layout, without nulls, young enough, and of one width: which is nearly
always, or never. What is different is looked at record by record.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import chain
from struct import Struct
from zlib import crc32

from pedigree.online.record import FIXED, HEAD, SEAL, fingerprints_of
from pedigree.serving.codec.fixed_width import WORTH_IT, Blocks, Bytes
from pedigree.serving.codec.protowire import told_head
from pedigree.serving.codec.response_encoder import ONE_PRESENT, ResponseEncoder, Schemas, stamp
from pedigree.serving.codec.vector_decoder import DecodedVectors, Matrix, VectorDecoder
from pedigree.serving.store.reader import Row


@dataclass(frozen=True)
class MultiViewDecoder:
    """How some views of one group are read.

    Attributes:
        splicers: the views in the order of the answer, each with the place of its record in a row.
        width: how many records a row has.
    """

    splicers: tuple[tuple[ResponseEncoder, int], ...]
    width: int

    @cached_property
    def by_place(self) -> list[ResponseEncoder]:
        """One of the splicers for each record of a row."""
        found = {place: splicer for splicer, place in self.splicers}
        return [found[place] for place in range(self.width)]

    @cached_property
    def blocks(self) -> Blocks:
        """How many rows are read."""
        return Blocks(tuple(splicer.schema for splicer in self.by_place))

    @cached_property
    def is_possible(self) -> bool:
        """Whether rows can be read so at all."""
        return self.blocks.are_even and all(splicer.even.runs for splicer, _ in self.splicers)

    def read(self, rows: Sequence[Row], now_us: int) -> list[Bytes] | None:
        """A block of each record of a row; None where each view has to be looked at by itself, as the only one always has."""
        if not self.is_possible or self.width == 1:
            return None
        oldest_us = [splicer.oldest_us(now_us) for splicer in self.by_place]
        return self.blocks.read(list(chain.from_iterable(rows)), oldest_us=oldest_us)

    def unknown(self, rows: Sequence[Row]) -> set[bytes]:
        """What may name the layouts of records that are not, or not intactly, of the present one."""
        checksums = self.blocks.checksums
        return {
            fingerprint
            for row in rows
            for record, checksum in zip(row, checksums, strict=True)
            if record is not None and crc32(record) != checksum
            for fingerprint in fingerprints_of(record)
        }

    def columns(self, rows: Sequence[Row], *, now_us: int, schemas: Schemas) -> list[bytes]:
        """For each view its serialized `results` entries, one per feature; see `Splicer.columns`.

        Args:
            rows: what each row of the request has of the group's views.
        """
        if len(rows) == 1:
            found = self.one_row(rows[0], now_us) if self.is_possible else None
            if found is not None:
                return found
        blocks = self.read(rows, now_us) if len(rows) >= WORTH_IT else None
        if blocks is not None:
            return [splicer.from_block(blocks[place]) for splicer, place in self.splicers]
        records = list(zip(*rows, strict=True))
        return [splicer.columns(records[place], now_us=now_us, schemas=schemas) for splicer, place in self.splicers]

    def told(
        self,
        denses: Sequence[VectorDecoder],
        rows: Sequence[Row],
        into: Sequence[Matrix],
        *,
        now_us: int,
        schemas: Schemas,
    ) -> list[DecodedVectors]:
        """What there is of each view; see `Dense.told`.

        Args:
            denses: how the records of each view become numbers.
            rows: what each row of the request has of the group's views.
            into: where the numbers of each go.
        """
        blocks = None if any(dense.others for dense in denses) else self.read(rows, now_us)
        parts = [
            (dense, place, numbers) for dense, (_, place), numbers in zip(denses, self.splicers, into, strict=True)
        ]
        if blocks is not None:
            return [dense.from_block(blocks[place], numbers) for dense, place, numbers in parts]
        records = list(zip(*rows, strict=True))
        return [dense.told(records[place], numbers, now_us=now_us, schemas=schemas) for dense, place, numbers in parts]

    @cached_property
    def struct(self) -> Struct:
        """A row: of each record its event time, its nulls, and every value."""
        parts = [
            f"q{HEAD.size - 8}x{schema.null_bytes}s"
            + "".join(f"{FIXED[schema.types[place]][1]}s" for place in schema.fixed)
            + f"{SEAL}x"
            for schema in self.blocks.schemas
        ]
        return Struct(">" + "".join(parts))

    @cached_property
    def firsts(self) -> list[int]:
        """Where, among what `struct` reads, each record starts."""
        found, at = [], 0
        for schema in self.blocks.schemas:
            found.append(at)
            at += 2 + len(schema.fixed)
        return found

    @cached_property
    def nulls(self) -> list[tuple[int, bytes]]:
        """Where each record says which values are null, and what it says where none is."""
        pairs = zip(self.firsts, self.blocks.schemas, strict=True)
        return [(at + 1, bytes(schema.null_bytes)) for at, schema in pairs]

    @cached_property
    def values(self) -> list[list[int]]:
        """For each view, where the values that are asked for are."""
        return [
            [self.firsts[place] + 2 + splicer.schema.fixed.index(one) for one in splicer.wanted]
            for splicer, place in self.splicers
        ]

    @cached_property
    def heads(self) -> dict[tuple[int, int], list[bytes]]:
        """What goes before each value of a view, by the view's number and how long what follows the value is."""
        return {}

    def heads_of(self, number: int, length: int) -> list[bytes]:
        """The same, made once."""
        found = self.heads.get((number, length))
        if found is None:
            splicer, _ = self.splicers[number]
            kinds = [splicer.schema.types[place] for place in splicer.wanted]
            prefixes = [splicer.sources[place][1] for place in splicer.wanted]
            found = self.heads[number, length] = [
                told_head(2, len(prefix) + FIXED[kind][1] + length) + prefix
                for kind, prefix in zip(kinds, prefixes, strict=True)
            ]
        return found

    def one_row(self, row: Row, now_us: int) -> list[bytes] | None:
        """`columns` of one row."""
        if None in row or [len(record) for record in row] != self.blocks.sizes:  # type: ignore[arg-type]  # none is None here
            return None
        if list(map(crc32, row)) != self.blocks.checksums:  # type: ignore[arg-type]  # none is None here
            return None
        read = self.struct.unpack(b"".join(row))  # type: ignore[arg-type]  # none is None here
        for at, no_nulls in self.nulls:
            if read[at] != no_nulls:
                return None
        events = [read[at] for at in self.firsts]
        for event_us, splicer in zip(events, self.by_place, strict=True):
            if event_us < splicer.oldest_us(now_us):
                return None
        found = []
        for number, (_, place) in enumerate(self.splicers):
            tail = ONE_PRESENT + stamp(events[place])
            heads = self.heads_of(number, len(tail))
            found.append(
                b"".join([head + read[at] + tail for head, at in zip(heads, self.values[number], strict=True)])
            )
        return found
