"""`GetVectors`: the join keys of a request, and its reply. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise

import numpy as np

from pedigree.online.plans.plan import JoinKey, OnDemand, Plan, View
from pedigree.online.store.load_state import Load
from pedigree.serving.codec.protowire import UNSIGNED, VALUE_TAGS, WRITTEN, delimited, delimited_head, varint
from pedigree.serving.codec.vector_decoder import NUMBERS, DecodedVectors, Matrix, VectorDecoder
from pedigree.serving.data_plane.selection import KeyColumns, Selection, columns_of
from pedigree.serving.errors import InvalidRequestError
from pedigree.serving.v1 import pedigree_pb2 as messages
from pedigree.serving.v1.serving_pb2 import PRESENT
from pedigree.serving.v1.value_pb2 import RepeatedValue, Value

WHOLE = frozenset({"INT32", "INT64", "UNIX_TIMESTAMP"})
SMALL = len(WRITTEN)


def columns_of_keys(keys: Iterable[messages.Keys], selection: Selection, plan: Plan) -> tuple[KeyColumns, int]:
    """The values of every join key, and how many each has.

    Raises:
        InvalidRequestError: a key is missing, unknown, sent twice, or of another type or length.
    """
    sent: dict[str, RepeatedValue] = {}
    direct: dict[str, list[bytes]] = {}
    for column in keys:
        if column.name in sent:
            raise InvalidRequestError(f"The join key {column.name!r} was sent twice.")
        sent[column.name] = RepeatedValue(val=column.values)
        key = selection.keys.get(column.name)
        if key is not None and not column.values:
            direct[column.name] = direct_column(column, key)
    if direct.keys() == selection.keys.keys() == sent.keys():
        lengths = {name: len(column) for name, column in direct.items()}
        if len(set(lengths.values())) <= 1 and all(lengths.values()):
            return direct, next(iter(lengths.values()), 1)
    for name, values in direct.items():
        sent[name] = RepeatedValue(val=[Value.FromString(value) for value in values])
    return columns_of(sent, selection, plan)


def direct_column(keys: messages.Keys, key: JoinKey) -> list[bytes]:
    """The serialized `Value`s of a join key that was sent in `ints` or `strings`; empty if it was sent in neither.

    Raises:
        InvalidRequestError: the key has another type.
    """
    tag = VALUE_TAGS[key.value_type]
    if keys.ints and key.value_type in WHOLE:
        return [tag + (WRITTEN[number] if 0 <= number < SMALL else varint(number & UNSIGNED)) for number in keys.ints]
    if keys.strings and key.value_type == "STRING":
        texts = [text.encode() for text in keys.strings]
        return [tag + varint(len(text)) + text for text in texts]
    if keys.ints or keys.strings:
        field = "ints" if key.value_type in WHOLE else "strings" if key.value_type == "STRING" else "values"
        raise InvalidRequestError(f"The join key {key.name!r} is {key.value_type}: send it in {field}.")
    return []


@dataclass(frozen=True)
class VectorShape:
    """The parts of a reply that are the same for all requests of one selection: decoders, and names of columns."""

    selection: Selection

    @cached_property
    def decoders(self) -> tuple[VectorDecoder, ...]:
        """A decoder for each stored view."""
        return tuple(map(VectorDecoder, self.selection.encoders))

    @cached_property
    def grouped(self) -> tuple[tuple[VectorDecoder, ...], ...]:
        """The same decoders, by the groups in which views are read."""
        return tuple(tuple(self.decoders[one] for one in members) for members in self.selection.members)

    @cached_property
    def numbers(self) -> tuple[tuple[View | OnDemand, tuple[int, ...]], ...]:
        """For each view the positions of its features that are numbers; on-demand views come last."""
        stored = [(decoder.encoder.view, decoder.numbers) for decoder in self.decoders]
        return (*stored, *((view, numbers_of(view)) for view in self.selection.on_demand))

    @cached_property
    def others(self) -> tuple[tuple[View | OnDemand, tuple[int, ...]], ...]:
        """For each view the positions of its features that are not numbers; on-demand views come last."""
        stored = [(decoder.encoder.view, decoder.others) for decoder in self.decoders]
        return (*stored, *((view, others_in(view)) for view in self.selection.on_demand))

    @cached_property
    def columns(self) -> tuple[slice, ...]:
        """For each stored view the columns of the matrix that it fills; those of on-demand views follow."""
        ends = np.cumsum([0, *(len(decoder.numbers) for decoder in self.decoders)]).tolist()
        return tuple(slice(start, end) for start, end in pairwise(ends))

    @cached_property
    def stored_width(self) -> int:
        """How many columns of the matrix stored views fill; those of on-demand views follow."""
        return sum(len(decoder.numbers) for decoder in self.decoders)

    @cached_property
    def width(self) -> int:
        """How many columns the matrix has."""
        return sum(len(numbers) for _, numbers in self.numbers)

    @cached_property
    def names(self) -> bytes:
        """The serialized `names` of a reply: those of the matrix's columns."""
        names = (self.selection.name(view, view.features[at].name) for view, numbers in self.numbers for at in numbers)
        return b"".join(delimited(1, name.encode()) for name in names)


def reply_of(
    shape: VectorShape,
    matrix: Matrix,
    vectors: Sequence[DecodedVectors],
    *,
    loads: Mapping[int, Load] | None,
    plan_version: str,
    sources: Sequence[DecodedVectors] = (),
) -> bytes:
    """A serialized `GetVectorsResponse`.

    Args:
        matrix: the numbers, of four or eight bytes each.
        vectors: everything else of each view of the answer.
        loads: the loads that wrote the rows, by number; None if the request does not include provenance.
        sources: event times and loads of the views that on-demand views were computed from.
    """
    selection, rows = shape.selection, len(matrix)
    number = 4 if matrix.dtype == np.float32 else 3
    parts = [shape.names, b"\x10" + varint(rows), delimited_head(number, matrix.nbytes), matrix.tobytes()]
    if any(view.statuses is not None for view in vectors):
        statuses = [
            np.full((rows, len(numbers)), PRESENT, np.uint8) if view.statuses is None else view.statuses
            for (_, numbers), view in zip(shape.numbers, vectors, strict=True)
        ]
        parts.append(delimited(5, np.concatenate(statuses, axis=1).tobytes()))
    parts.extend(others_of(shape, vectors))
    if loads is not None:
        parts.extend(provenance_of(selection, [*vectors[: len(selection.views)], *sources], loads))
    parts.append(delimited(9, plan_version.encode()))
    return b"".join(parts)


def numbers_of(view: OnDemand) -> tuple[int, ...]:
    """The positions of an on-demand view's features that are numbers."""
    return tuple(at for at, one in enumerate(view.features) if one.value_type in NUMBERS)


def others_in(view: OnDemand) -> tuple[int, ...]:
    """The positions of its features that are not numbers."""
    return tuple(at for at, one in enumerate(view.features) if one.value_type not in NUMBERS)


def others_of(shape: VectorShape, vectors: Sequence[DecodedVectors]) -> Iterable[bytes]:
    """The serialized `others` of a reply: the features that are not numbers."""
    for (view, others), decoded in zip(shape.others, vectors, strict=True):
        for at, values, statuses in zip(others, decoded.others, decoded.other_statuses, strict=True):
            name = delimited(1, shape.selection.name(view, view.features[at].name).encode())
            column = b"".join(delimited(2, value or b"") for value in values)
            yield delimited(6, name + column + delimited(3, statuses))


def provenance_of(
    selection: Selection, vectors: Sequence[DecodedVectors], loads: Mapping[int, Load]
) -> Iterable[bytes]:
    """The serialized `provenance` and `loads` of a reply.

    A view that is both part of the answer and a source of an on-demand view comes once.
    """
    shown = {view.name for view in selection.views}
    for place, (view, decoded) in enumerate(zip(selection.read, vectors, strict=True)):
        if place >= len(selection.views):
            if view.name in shown:
                continue
            shown.add(view.name)
        event_times = decoded.events_us.astype("<i8").tobytes()
        numbers = b"".join(varint(int(number)) for number in decoded.loads)
        yield delimited(7, delimited(1, view.name.encode()) + delimited(2, event_times) + delimited(3, numbers))
    for number, load in sorted(loads.items()):
        message = messages.Load(number=number, run_id=load.run_id, table=load.table, version=load.version)
        yield delimited(8, message.SerializeToString())
