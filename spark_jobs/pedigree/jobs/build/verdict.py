"""What the quality gate says of a slice. It needs no Great Expectations, which takes seconds to import."""

from __future__ import annotations

from dataclasses import dataclass

BROKEN_RULES = "broken_rules"
"""The column of a rejected row that holds the names of the rules it broke."""


@dataclass(frozen=True, slots=True)
class RuleResult:
    """Whether one rule held for a slice; `broken_rows` is 0 for rules about the slice as a whole."""

    name: str
    held: bool
    column: str | None
    broken_rows: int
    detail: str


@dataclass(frozen=True, slots=True)
class Verdict:
    """What the gate says of a slice of `rows` rows."""

    rows: int
    rules: tuple[RuleResult, ...]

    @property
    def broken(self) -> tuple[RuleResult, ...]:
        """The rules that stop the slice."""
        return tuple(rule for rule in self.rules if not rule.held)

    @property
    def reasons(self) -> tuple[str, ...]:
        """Why the slice is stopped, one rule each, in words that a person can act on."""
        return tuple(f"{rule.name} ({rule.detail})" for rule in self.broken)

    @property
    def passed(self) -> bool:
        """True where the slice may be published."""
        return not self.broken
