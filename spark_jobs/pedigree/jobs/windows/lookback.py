"""What a slice must look back on, and where each part of it comes from: kept tiles where they are, else the events themselves."""

from __future__ import annotations

from dataclasses import dataclass

from pedigree.features.windows import Windows
from pedigree.jobs.intervals import Interval, joined, whole
from pedigree.jobs.windows.window_frames import kept_unit, shape_of


@dataclass(frozen=True, slots=True)
class Coverage:
    """The tiles that are kept: spans with fine tiles, and the starts of units that have a coarse one."""

    fine: tuple[Interval, ...] = ()
    units: frozenset[int] = frozenset()


@dataclass(frozen=True, slots=True)
class Lookback:
    """Where the tiles of a slice and of everything before it come from. No second is in two of them.

    Attributes:
        events: what is folded from events, the slice itself among it.
        fine: what is read as fine tiles.
        coarse: what is read as coarse tiles.
    """

    events: tuple[Interval, ...]
    fine: tuple[Interval, ...]
    coarse: tuple[Interval, ...]

    @property
    def since(self) -> int:
        """From when on events are needed."""
        return self.events[0].start


def look_back(windows: Windows, rows: Interval, coverage: Coverage) -> Lookback:
    """The cheapest way to everything that rows whose own tiles start in `rows` see."""
    unit = kept_unit(windows)
    before = Interval(rows.start - whole(windows.lookback), rows.start)
    needs_fine = fine_spans(windows, rows, unit)
    coarse = [
        part
        for part in before.cut(unit)
        if part.end - part.start == unit and part.start in coverage.units and not meets(part, needs_fine)
    ]
    rest = before.without(coarse)
    kept = [both for span in joined(coverage.fine) for part in rest if (both := part.within(span))]
    missing = [left for part in rest for left in part.without(kept)]
    return Lookback(events=joined([*missing, rows]), fine=joined(kept), coarse=joined(coarse))


def fine_spans(windows: Windows, rows: Interval, unit: int) -> tuple[Interval, ...]:
    """Where rows need fine tiles: within their own units, and where their windows begin."""
    own = Interval(rows.start // unit * unit, rows.end)
    shapes = {shape_of(feature, windows.every, rows) for feature in windows.features}
    return joined([own, *(fine for shape in shapes if (fine := shape.fine(rows, unit)))])


def meets(part: Interval, spans: tuple[Interval, ...]) -> bool:
    """True where a span shares a second with one of others."""
    return any(part.within(span) for span in spans)
