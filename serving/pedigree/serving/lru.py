"""A cache with a greatest weight, whatever comes: what was not used for longest goes first."""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass, field
from typing import Generic, TypeVar

K = TypeVar("K")
V = TypeVar("V")


@dataclass(slots=True)
class Lru(Generic[K, V]):
    """A cache.

    Attributes:
        capacity: the greatest sum of the weights of what is kept.
    """

    capacity: int
    weight: int = 0
    kept: OrderedDict[K, tuple[V, int]] = field(default_factory=OrderedDict)

    def __len__(self) -> int:
        return len(self.kept)

    def get(self, key: K) -> V | None:
        """What is kept under a key."""
        found = self.kept.get(key)
        if found is None:
            return None
        self.kept.move_to_end(key)
        return found[0]

    def keep(self, key: K, value: V, *, weight: int = 1) -> None:
        """Keep a value; one that is heavier than all that may be kept is not."""
        self.drop(key)
        if weight > self.capacity:
            return
        self.kept[key] = (value, weight)
        self.weight += weight
        while self.weight > self.capacity:
            self.drop(next(iter(self.kept)))

    def drop(self, key: K) -> None:
        """Keep no longer what is under a key, if anything is."""
        if key in self.kept:
            self.weight -= self.kept.pop(key)[1]

    def clear(self) -> None:
        """Keep nothing."""
        self.kept.clear()
        self.weight = 0
