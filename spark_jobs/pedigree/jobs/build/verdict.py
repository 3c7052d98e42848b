"""What the quality gate says of a slice. It needs no Great Expectations, which takes seconds to import."""

from __future__ import annotations

from dataclasses import dataclass

BROKEN_FACTS = "broken_facts"
"""The column of a rejected row that holds the names of the facts it broke."""


@dataclass(frozen=True, slots=True)
class RuleResult:
    """Whether one fact held for a slice; `broken_rows` is 0 for facts about the slice as a whole."""

    name: str
    held: bool
    column: str | None
    broken_rows: int
    detail: str


@dataclass(frozen=True, slots=True)
class Verdict:
    """What the gate says of a slice of `rows` rows."""

    rows: int
    facts: tuple[RuleResult, ...]

    @property
    def broken(self) -> tuple[RuleResult, ...]:
        """The facts that stop the slice."""
        return tuple(fact for fact in self.facts if not fact.held)

    @property
    def reasons(self) -> tuple[str, ...]:
        """Why the slice is stopped, one fact each, in words that a person can act on."""
        return tuple(f"{fact.name} ({fact.detail})" for fact in self.broken)

    @property
    def passed(self) -> bool:
        """True where the slice may be published."""
        return not self.broken
