"""What a slice must look back on, and where each part of it comes from: kept tiles where they are, else the facts themselves."""

from __future__ import annotations

from dataclasses import dataclass

from feature_repo.windows import Windows
from spark_jobs.shapes import kept_unit, shape_of
from spark_jobs.spans import Span, joined, whole


@dataclass(frozen=True, slots=True)
class Coverage:
    """The tiles that are kept: spans with fine tiles, and the starts of units that have a coarse one."""

    fine: tuple[Span, ...] = ()
    units: frozenset[int] = frozenset()


@dataclass(frozen=True, slots=True)
class Lookback:
    """Where the tiles of a slice and of everything before it come from. No second is in two of them.

    Attributes:
        facts: what is folded from facts, the slice itself among it.
        fine: what is read as fine tiles.
        coarse: what is read as coarse tiles.
    """

    facts: tuple[Span, ...]
    fine: tuple[Span, ...]
    coarse: tuple[Span, ...]

    @property
    def since(self) -> int:
        """From when on facts are needed."""
        return self.facts[0].start


def look_back(windows: Windows, rows: Span, coverage: Coverage) -> Lookback:
    """The cheapest way to everything that rows whose own tiles start in `rows` see."""
    unit = kept_unit(windows)
    before = Span(rows.start - whole(windows.lookback), rows.start)
    needs_fine = fine_spans(windows, rows, unit)
    coarse = [
        part
        for part in before.cut(unit)
        if part.end - part.start == unit and part.start in coverage.units and not meets(part, needs_fine)
    ]
    rest = before.without(coarse)
    kept = [both for span in joined(coverage.fine) for part in rest if (both := part.within(span))]
    missing = [left for part in rest for left in part.without(kept)]
    return Lookback(facts=joined([*missing, rows]), fine=joined(kept), coarse=joined(coarse))


def fine_spans(windows: Windows, rows: Span, unit: int) -> tuple[Span, ...]:
    """Where rows need fine tiles: within their own units, and where their windows begin."""
    own = Span(rows.start // unit * unit, rows.end)
    shapes = {shape_of(feature, windows.every, rows) for feature in windows.features}
    return joined([own, *(fine for shape in shapes if (fine := shape.fine(rows, unit)))])


def meets(part: Span, spans: tuple[Span, ...]) -> bool:
    """True where a span shares a second with one of others."""
    return any(part.within(span) for span in spans)
