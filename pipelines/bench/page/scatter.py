"""The scatter of a concept: what is left of it, what else was lost, and what that cost."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from pipelines.bench.rows import UNERASED, Row
from pipelines.bench.tables.forms import short
from pipelines.bench.tables.table import Line
from pipelines.drawing.layout.label_places import Label, place_labels

SMALLEST: Final = 4.0
"""Pixels of the radius of a row that took no pass."""
LARGEST: Final = 13.0
_LETTER: Final = (0.0095, 0.045)
"""Width of a letter and height of a line of a label, as shares of the plot."""
_ROOM: Final = (0.02, 0.04)
"""Shares of the plot that are left free beside the smallest values."""


_GROUPS: Final[Mapping[str, str]] = {
    "all": "all",
    "salient": "salient",
    "own": "salient",
    "intersection": "salient",
    "random": "control",
    "inverse": "control",
}
"""Mask -> the group of its dots."""


@dataclass(frozen=True, slots=True)
class Dot:
    """One row; places are shares of the plot, upward."""

    name: str
    group: str
    """How its row is shown: `all`, `salient`, `control` or `guard`; models and guards are the
    last."""
    x: float
    y: float
    radius: float
    """Pixels."""
    said: str
    """What it says when one points at it."""


@dataclass(frozen=True, slots=True)
class Tick:
    """A mark of an axis."""

    place: float
    text: str


@dataclass(frozen=True, slots=True)
class Scatter:
    """The chart of one concept."""

    dots: tuple[Dot, ...]
    labels: tuple[Label, ...]
    across: tuple[Tick, ...]
    """What is left of the concept, in per cent."""
    upward: tuple[Tick, ...]
    """Damage, in points."""


def scatter_of(lines: Sequence[Line]) -> Scatter | None:
    """Lay out the rows that have both; None where there is none."""
    shown = [(line, left, lost) for line in lines if (both := _both(line)) for left, lost in [both]]
    if not shown:
        return None
    most = max((_cost(line) for line, _, _ in shown), default=0.0)
    highest = max(0.1, *(lost for _, _, lost in shown)) * 1.08
    dots = tuple(
        Dot(
            name=line.row.label,
            group=_group(line.row),
            x=_inside(left, 1.0, _ROOM[0]),
            y=_inside(lost, highest, _ROOM[1]),
            radius=_radius(_cost(line), most),
            said=_said(line, left, lost),
        )
        for line, left, lost in shown
    )
    return Scatter(
        dots=dots,
        labels=tuple(place_labels([(dot.name, dot.x, dot.y) for dot in dots], _LETTER)),
        across=tuple(
            Tick(_inside(share, 1.0, _ROOM[0]), f"{100 * share:.0f} %")
            for share in (0.0, 0.25, 0.5, 0.75, 1.0)
        ),
        upward=tuple(
            Tick(_inside(points / 100, highest, _ROOM[1]), f"{points:g}")
            for points in _steps(100 * highest)
        ),
    )


def _group(row: Row) -> str:
    return _GROUPS[row.mask] if row.kind == "method" else "guard"


def _both(line: Line) -> tuple[float, float] | None:
    """Share of the concept's pictures in which it is recognised, and the largest other gap."""
    ua = line.values.get("ua")
    if ua is None or ua.value is None:
        return None
    others = [gap.size for gap in line.gaps if gap.column != "ua"]
    if line.row.kind in UNERASED:
        return 1.0 - ua.value, max(others, default=0.0)
    return (1.0 - ua.value, max(others)) if others else None


def _cost(line: Line) -> float:
    passes = line.values.get("passes")
    return 0.0 if passes is None or passes.value is None else passes.value


def _radius(cost: float, most: float) -> float:
    """The area grows with the passes."""
    if most <= 0:
        return SMALLEST
    return SMALLEST + (LARGEST - SMALLEST) * math.sqrt(cost / most)


def _inside(value: float, highest: float, room: float) -> float:
    return room + (1 - 2 * room) * min(1.0, max(0.0, value / highest))


def _steps(highest: float) -> list[float]:
    """Round numbers from 0 up, at most six."""
    step = next(s for s in (1, 2, 5, 10, 20, 25, 50) if highest / s <= 5 or s == 50)
    return [float(n * step) for n in range(int(highest // step) + 1)]


def _said(line: Line, left: float, lost: float) -> str:
    cost = _cost(line)
    work = f", {short(cost, 'count')} passes" if line.row.kind == "method" else ""
    return f"{line.row.label}: {100 * left:.0f} % left, {100 * lost:.0f} points lost{work}"
