"""Where the dots of gap against time lie."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from pipelines.classifiers.bench.bench_table import Row

_FASTEST: Final = 30.0
"""A model of its own that is more times faster than all others stands at the edge with its time."""


@dataclass(frozen=True, slots=True)
class Dot:
    """A method; places in shares of the panel, upward."""

    row: Row
    name: str
    """What stands beside it."""
    seconds: float
    """Where it is drawn."""
    gap: float
    x: float
    y: float
    low: float
    high: float
    """Ends of its whisker: the deviation of the gap over seeds."""


@dataclass(frozen=True, slots=True)
class Panel:
    """One setting."""

    dots: tuple[Dot, ...]
    fastest: float
    slowest: float
    """Ends of the logarithmic axis of time, seconds."""
    bottom: float
    top: float
    """Ends of the axis of the gap, points."""

    @property
    def labels(self) -> list[tuple[str, float, float]]:
        return [(dot.name, dot.x, dot.y) for dot in self.dots]

    def across(self, seconds: float) -> float:
        """Share of the width."""
        return math.log(seconds / self.fastest) / math.log(self.slowest / self.fastest)

    def up(self, gap: float) -> float:
        """Share of the height."""
        return (gap - self.bottom) / (self.top - self.bottom)


def panel(rows: Sequence[Row]) -> Panel | None:
    """Lay out the rows of one setting; None where none has a gap."""
    times = {row.method: _seconds(row) for row in rows if row.gap is not None}
    if not times:
        return None
    others = [times[row.method] for row in rows if row.method in times and not row.own_training]
    floor = min(others or times.values()) / _FASTEST
    drawn = {method: max(floor, seconds) for method, seconds in times.items()}
    top = 1.12 * max(0.5, *(row.gap for row in rows if row.gap is not None))
    empty = Panel((), min(drawn.values()) / 1.4, max(drawn.values()) * 1.4, -0.04 * top, top)
    dots = []
    for row in rows:
        if row.gap is None:
            continue
        seconds, name = drawn[row.method], row.method
        if times[name] < seconds:
            name = f"{name} ({times[name]:.2g} s)"
        bar = 0.0 if row.seed_gap is None else row.seed_gap.deviation
        ends = (empty.up(max(row.gap - bar, empty.bottom)), empty.up(min(row.gap + bar, top)))
        x, y = empty.across(seconds), empty.up(row.gap)
        dots.append(Dot(row, name, seconds, row.gap, x, y, *ends))
    return Panel(tuple(dots), empty.fastest, empty.slowest, empty.bottom, empty.top)


def _seconds(row: Row) -> float:
    return max(row.scores["seconds"].mean, 1e-3)
