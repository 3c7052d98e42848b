"""`GetVectors`: a request's keys, and the reply put together out of what each view told. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise

import numpy as np

from pedigree.online.load_state import Load
from pedigree.online.plan import JoinKey, OnDemand, Plan, View
from pedigree.serving.codec.protowire import UNSIGNED, VALUE_TAGS, WRITTEN, told, told_head, varint
from pedigree.serving.codec.vector_decoder import NUMBERS, DecodedVectors, Matrix, VectorDecoder
from pedigree.serving.data_plane.selection import Columns, Selection, columns_of
from pedigree.serving.errors import InvalidRequestError
from pedigree.serving.v1 import pedigree_pb2 as messages
from pedigree.serving.v1.serving_pb2 import PRESENT
from pedigree.serving.v1.value_pb2 import RepeatedValue, Value

WHOLE = frozenset({"INT32", "INT64", "UNIX_TIMESTAMP"})
SMALL = len(WRITTEN)


def columns_of_keys(keys: Iterable[messages.Keys], selection: Selection, plan: Plan) -> tuple[Columns, int]:
    """The values of every join key, and their number.

    Raises:
        InvalidRequestError: they are not those that are needed.
    """
    sent: dict[str, RepeatedValue] = {}
    direct: dict[str, list[bytes]] = {}
    for one in keys:
        if one.name in sent:
            raise InvalidRequestError(f"The join key {one.name!r} was sent twice.")
        sent[one.name] = RepeatedValue(val=one.values)
        key = selection.keys.get(one.name)
        if key is not None and not one.values:
            direct[one.name] = direct_column(one, key)
    if direct.keys() == selection.keys.keys() == sent.keys():
        lengths = {name: len(column) for name, column in direct.items()}
        if len(set(lengths.values())) <= 1 and all(lengths.values()):
            return direct, next(iter(lengths.values()), 1)
    for name, column in direct.items():
        sent[name] = RepeatedValue(val=[Value.FromString(value) for value in column])
    return columns_of(sent, selection, plan)


def direct_column(keys: messages.Keys, key: JoinKey) -> list[bytes]:
    """The serialized `Value`s of a join key that was sent as whole numbers or texts.

    Raises:
        InvalidRequestError: its type is another.
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
    """What is the same in every reply to one way of asking: how records become numbers, and the names of the columns."""

    selection: Selection

    @cached_property
    def denses(self) -> tuple[VectorDecoder, ...]:
        """How the records of each view become numbers."""
        return tuple(map(VectorDecoder, self.selection.splicers))

    @cached_property
    def grouped(self) -> tuple[tuple[VectorDecoder, ...], ...]:
        """The same, by the groups in which views are read."""
        return tuple(tuple(self.denses[one] for one in members) for _, members in self.selection.abreast)

    @cached_property
    def numbers(self) -> tuple[tuple[View | OnDemand, tuple[int, ...]], ...]:
        """The features of each view that are numbers; on-demand views come last."""
        stored = [(dense.splicer.view, dense.numbers) for dense in self.denses]
        return (*stored, *((view, numbers_of(view)) for view in self.selection.on_demand))

    @cached_property
    def others(self) -> tuple[tuple[View | OnDemand, tuple[int, ...]], ...]:
        """The features of each view that are none."""
        stored = [(dense.splicer.view, dense.others) for dense in self.denses]
        return (*stored, *((view, others_in(view)) for view in self.selection.on_demand))

    @cached_property
    def columns(self) -> tuple[slice, ...]:
        """The columns of the matrix that each view fills; those of on-demand views come behind them."""
        ends = np.cumsum([0, *(len(dense.numbers) for dense in self.denses)]).tolist()
        return tuple(slice(start, end) for start, end in pairwise(ends))

    @cached_property
    def width(self) -> int:
        """The columns of the matrix."""
        return sum(len(numbers) for _, numbers in self.numbers)

    @cached_property
    def names(self) -> bytes:
        """The names of the matrix's columns."""
        names = (self.selection.name(view, view.features[at].name) for view, numbers in self.numbers for at in numbers)
        return b"".join(told(1, name.encode()) for name in names)


def reply_of(
    shape: VectorShape,
    matrix: Matrix,
    found: Sequence[DecodedVectors],
    *,
    loads: Mapping[int, Load] | None,
    plan_version: str,
    sources: Sequence[DecodedVectors] = (),
) -> bytes:
    """The reply.

    Args:
        matrix: the numbers, of four or of eight bytes.
        found: what each view told beside them.
        loads: who wrote what; None: provenance was not asked for.
        sources: who wrote what on-demand views were computed from.
    """
    selection, rows = shape.selection, len(matrix)
    number = 4 if matrix.dtype == np.float32 else 3
    parts = [shape.names, b"\x10" + varint(rows), told_head(number, matrix.nbytes), matrix.tobytes()]
    if any(one.statuses is not None for one in found):
        statuses = [
            np.full((rows, len(numbers)), PRESENT, np.uint8) if one.statuses is None else one.statuses
            for (_, numbers), one in zip(shape.numbers, found, strict=True)
        ]
        parts.append(told(5, np.concatenate(statuses, axis=1).tobytes()))
    parts.extend(others_of(shape, found))
    if loads is not None:
        parts.extend(provenance_of(selection, [*found[: len(selection.views)], *sources], loads))
    parts.append(told(9, plan_version.encode()))
    return b"".join(parts)


def numbers_of(view: OnDemand) -> tuple[int, ...]:
    """The places of an on-demand view's features that are numbers."""
    return tuple(at for at, one in enumerate(view.features) if one.value_type in NUMBERS)


def others_in(view: OnDemand) -> tuple[int, ...]:
    """The places of those that are none."""
    return tuple(at for at, one in enumerate(view.features) if one.value_type not in NUMBERS)


def others_of(shape: VectorShape, found: Sequence[DecodedVectors]) -> Iterable[bytes]:
    """The features that are no numbers."""
    for (view, others), one in zip(shape.others, found, strict=True):
        for at, values, statuses in zip(others, one.others, one.other_statuses, strict=True):
            name = told(1, shape.selection.name(view, view.features[at].name).encode())
            column = b"".join(told(2, value or b"") for value in values)
            yield told(6, name + column + told(3, statuses))


def provenance_of(selection: Selection, found: Sequence[DecodedVectors], loads: Mapping[int, Load]) -> Iterable[bytes]:
    """Who wrote the rows of each view that was read, and when they were true; a source that is asked for itself comes once."""
    shown = {view.name for view in selection.views}
    for place, (view, one) in enumerate(zip(selection.read, found, strict=True)):
        if place >= len(selection.views):
            if view.name in shown:
                continue
            shown.add(view.name)
        numbers = b"".join(varint(int(number)) for number in one.loads)
        yield told(7, told(1, view.name.encode()) + told(2, one.events_us.astype("<i8").tobytes()) + told(3, numbers))
    for number, load in sorted(loads.items()):
        message = messages.Load(number=number, run_id=load.run_id, table=load.table, version=load.version)
        yield told(8, message.SerializeToString())
