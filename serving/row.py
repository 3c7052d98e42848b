"""What is asked of the online store and what it gives: keys and rows, whichever store it is."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from serving.v1.value_pb2 import Value

Key = tuple[Value, ...]
"""The values of a view's join keys, in the order of `View.keys`."""


@dataclass(frozen=True, slots=True)
class Row:
    """What the store holds of one view for one key: one serialized `Value` per feature asked for, None where it is null."""

    event_at: datetime
    values: tuple[bytes | None, ...]
