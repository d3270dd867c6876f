"""Where the dots of gap against time lie, and where their names go so that they can be read."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from pipelines.classifiers.bench.bench_table import Row

LETTER: Final = (0.0185, 0.05)
"""Width of a letter and height of a line of a label, as shares of the panel."""
_SHIFTS: Final = tuple(
    sorted(
        ((lines * sign, column) for lines in range(16) for sign in (1, -1) for column in range(4)),
        key=lambda shift: abs(shift[0]) + 4 * shift[1],
    )
)
"""Lines up or down, and columns away from its dot, to try for a label, the nearest first."""
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


@dataclass(frozen=True, slots=True)
class Label:
    """Where a dot's name goes, all in shares of the panel."""

    text: str
    dot: tuple[float, float]
    left: float
    middle: float
    size: tuple[float, float] = LETTER
    """Width of a letter and height of a line."""

    def hits(self, other: "Label") -> bool:
        """Whether the two names, or this name and the other's dot, lie on each other."""
        width, height = self.size
        apart = (
            self.left >= other.left + width * len(other.text)
            or other.left >= self.left + width * len(self.text)
            or abs(self.middle - other.middle) >= height
        )
        x, y = other.dot
        on_dot = self.left - 0.01 <= x <= self.left + width * len(self.text)
        return not apart or (on_dot and abs(y - self.middle) < 0.8 * height)


def place_labels(
    dots: Sequence[tuple[str, float, float]], size: tuple[float, float] = LETTER
) -> list[Label]:
    """Names to the right of their dots, or left at the edge, moved up, down or away until none
    collide.

    Args:
        dots: name, and place in shares of the panel.
        size: width of a letter and height of a line, likewise.
    """
    placed: list[Label] = []
    marks = [Label("", (x, y), x, y, size) for _, x, y in dots]
    column = size[0] * (2 + max((len(text) for text, _, _ in dots), default=0))
    for text, x, y in sorted(dots, key=lambda dot: dot[2]):
        width, apart = size[0] * len(text), max(0.02, 1.4 * size[0])
        right = x + apart + width <= 1
        left, away = (x + apart, column) if right else (x - apart - width, -column)
        tries = [
            Label(text, (x, y), left + n * away, y + lines * size[1], size)
            for lines, n in _SHIFTS
            if 0.02 <= y + lines * size[1] <= 0.98 and 0 <= left + n * away <= 1 - width
        ]
        others = [*placed, *(mark for mark in marks if mark.dot != (x, y))]
        free = (label for label in tries if not any(label.hits(other) for other in others))
        placed.append(next(free, Label(text, (x, y), left, y, size)))
    return placed


def _seconds(row: Row) -> float:
    return max(row.scores["seconds"].mean, 1e-3)
