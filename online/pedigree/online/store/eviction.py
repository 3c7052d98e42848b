"""Whether Redis may have evicted rows: a row that was dropped to make room looks like one that never was.

Only `allkeys-…` policies take our rows, and only where `maxmemory` is set: `volatile-…` policies take keys that expire, and
ours never do.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

EVER = b"ever"
"""Beside the baselines of views: whether any of them was taken while rows could be evicted."""

UNKNOWN_POLICY = (
    "whether it evicts rows when it is full cannot be told, since its user may not use INFO: "
    "allow it with ACL SETUSER … +info"
)


@dataclass(frozen=True, slots=True)
class Memory:
    """What one Redis says of its memory.

    Attributes:
        run_id: of its process; what it counts begins anew with each.
        limit: bytes from which it makes room; 0 is none.
        evicted: keys that it dropped since it was started.
    """

    run_id: str
    policy: str
    limit: int
    evicted: int

    @property
    def evicts(self) -> bool:
        """Whether it drops our rows when it is full."""
        return self.limit > 0 and self.policy.startswith("allkeys-")

    @property
    def takes_others(self) -> bool:
        """Whether what it drops are keys that expire, which ours never do."""
        return self.policy.startswith("volatile-")

    @classmethod
    def of(cls, info: Mapping[str, Any]) -> Memory:
        """What INFO says. A managed Redis that has no CONFIG has it too."""
        limit, evicted = int(info.get("maxmemory", 0)), int(info.get("evicted_keys", 0))
        return cls(str(info.get("run_id", "")), str(info.get("maxmemory_policy", "")), limit, evicted)

    @classmethod
    def read(cls, text: bytes) -> Memory:
        """What the text of INFO says."""
        lines = text.decode(errors="replace").splitlines()
        return cls.of(dict(line.split(":", 1) for line in lines if ":" in line))


@dataclass(frozen=True, slots=True)
class Baseline:
    """What each process of Redis had evicted when a view was filled, and whether one of them could evict rows then."""

    evicted: Mapping[str, int]
    evicts: bool

    @classmethod
    def of(cls, memories: Iterable[Memory]) -> Baseline:
        """The baseline of now."""
        every = tuple(memories)
        return cls({one.run_id: one.evicted for one in every}, evicts(every))

    def text(self) -> str:
        """As it is kept."""
        return json.dumps({"evicted": dict(self.evicted), "evicts": self.evicts}, separators=(",", ":"))

    @classmethod
    def read(cls, text: bytes | None) -> Baseline | None:
        """What `text` says; None where there is none."""
        if text is None:
            return None
        values = json.loads(text)
        return cls({str(run): int(count) for run, count in values["evicted"].items()}, bool(values["evicts"]))


def evicts(memories: Iterable[Memory] | None) -> bool:
    """Whether one Redis drops our rows when it is full; what cannot be told is taken for no."""
    return any(one.evicts for one in memories or ())


def may_lack_rows(baseline: Baseline | None, memories: Sequence[Memory], *, evictable: bool) -> bool:
    """Whether rows of a view may have been evicted since it was filled.

    Args:
        evictable: whether Redis could evict rows then. Then there was a baseline, and one that is gone was evicted too.
    """
    return (evictable and baseline is None) or any(may_have_evicted(baseline, one) for one in memories)


def may_have_evicted(baseline: Baseline | None, memory: Memory) -> bool:
    """Whether one Redis may have evicted rows since a baseline; None: nobody knows what it had counted."""
    if baseline is None:
        return memory.evicted > 0 and not memory.takes_others
    counted = baseline.evicted.get(memory.run_id)
    if counted is None:  # another process: nobody has counted what went before it was started
        return baseline.evicts or memory.evicts
    return memory.evicted != counted and (baseline.evicts or not memory.takes_others)


def policy_problem(memories: Sequence[Memory] | None) -> str | None:
    """What is wrong with how Redis is set up, in words that say what to do; None where nothing is."""
    if memories is None:
        return UNKNOWN_POLICY
    for one in memories:
        if one.evicts:
            return (
                f"it evicts rows when it is full (maxmemory-policy {one.policy}, maxmemory {one.limit:,} bytes, {one.evicted:,} "
                "keys evicted so far), and a row that was evicted looks like one that never was. Set maxmemory-policy to "
                "noeviction and give it more memory; where keys were evicted, `pedigree rebuild` afterwards"
            )
    return None
