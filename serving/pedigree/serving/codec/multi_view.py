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

from pedigree.online.records.record import FIXED, HEAD, SEAL, fingerprints_of
from pedigree.serving.codec.fixed_width import WORTH_IT, Blocks, Bytes
from pedigree.serving.codec.protowire import delimited_head
from pedigree.serving.codec.response_encoder import ONE_PRESENT, ResponseEncoder, Schemas, stamp
from pedigree.serving.codec.vector_decoder import DecodedVectors, Matrix, VectorDecoder
from pedigree.serving.store.reader import Row


@dataclass(frozen=True)
class MultiViewDecoder:
    """Decodes the rows of a group of views: a row has one record of each view that is stored under the same key.

    Attributes:
        encoders: the views to decode, in the order of the answer, each with the place of its record in a row.
        by_place: an encoder for every record of a row, also for those that are not decoded here.
    """

    encoders: tuple[tuple[ResponseEncoder, int], ...]
    by_place: tuple[ResponseEncoder, ...]

    @cached_property
    def blocks(self) -> Blocks:
        """How many rows are read."""
        return Blocks(tuple(encoder.schema for encoder in self.by_place))

    @cached_property
    def is_possible(self) -> bool:
        """Whether rows can be read so at all."""
        return self.blocks.are_even and all(encoder.block_decoder.runs for encoder, _ in self.encoders)

    def read(self, rows: Sequence[Row], now_us: int) -> list[Bytes] | None:
        """A block of each record of a row; None where each view has to be looked at by itself, as the only one always has."""
        if not self.is_possible or len(self.by_place) == 1:
            return None
        oldest_us = [encoder.oldest_us(now_us) for encoder in self.by_place]
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
        """For each view its serialized `results` entries, one per feature; see `ResponseEncoder.columns`.

        Args:
            rows: what each row of the request has of the group's views.
        """
        if not self.encoders:
            return []
        if len(rows) == 1:
            found = self.one_row(rows[0], now_us) if self.is_possible else None
            if found is not None:
                return found
        blocks = self.read(rows, now_us) if len(rows) >= WORTH_IT else None
        if blocks is not None:
            return [encoder.from_block(blocks[place]) for encoder, place in self.encoders]
        records = list(zip(*rows, strict=True))
        return [encoder.columns(records[place], now_us=now_us, schemas=schemas) for encoder, place in self.encoders]

    def decode(
        self,
        decoders: Sequence[VectorDecoder],
        rows: Sequence[Row],
        into: Sequence[Matrix],
        *,
        now_us: int,
        schemas: Schemas,
    ) -> list[DecodedVectors]:
        """The vectors of each view; see `VectorDecoder.decode`.

        Args:
            decoders: how the records of each view become numbers.
            rows: what each row of the request has of the group's views.
            into: where the numbers of each go.
        """
        if not self.encoders:
            return []
        blocks = None if any(decoder.others for decoder in decoders) else self.read(rows, now_us)
        parts = [
            (decoder, place, numbers)
            for decoder, (_, place), numbers in zip(decoders, self.encoders, into, strict=True)
        ]
        if blocks is not None:
            return [decoder.from_block(blocks[place], numbers) for decoder, place, numbers in parts]
        records = list(zip(*rows, strict=True))
        return [
            decoder.decode(records[place], numbers, now_us=now_us, schemas=schemas) for decoder, place, numbers in parts
        ]

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
            [self.firsts[place] + 2 + encoder.schema.fixed.index(one) for one in encoder.wanted]
            for encoder, place in self.encoders
        ]

    @cached_property
    def heads(self) -> dict[tuple[int, int], list[bytes]]:
        """What goes before each value of a view, by the view's number and how long what follows the value is."""
        return {}

    def heads_of(self, number: int, length: int) -> list[bytes]:
        """The same, made once."""
        found = self.heads.get((number, length))
        if found is None:
            encoder, _ = self.encoders[number]
            kinds = [encoder.schema.types[place] for place in encoder.wanted]
            prefixes = [encoder.sources[place][1] for place in encoder.wanted]
            found = self.heads[number, length] = [
                delimited_head(2, len(prefix) + FIXED[kind][1] + length) + prefix
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
        for event_us, encoder in zip(events, self.by_place, strict=True):
            if event_us < encoder.oldest_us(now_us):
                return None
        found = []
        for number, (_, place) in enumerate(self.encoders):
            tail = ONE_PRESENT + stamp(events[place])
            heads = self.heads_of(number, len(tail))
            found.append(
                b"".join([head + read[at] + tail for head, at in zip(heads, self.values[number], strict=True)])
            )
        return found
