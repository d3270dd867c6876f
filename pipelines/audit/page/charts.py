"""Curves of success against cost, laid out in a square of 100 x 100, whatever room it gets.

The pages of an audit, of a comparison of audits and of a benchmark draw them.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from math import ceil, floor, log, log10
from pathlib import Path
from typing import Final

from pipelines.audit.outcome.curves import Mark

HERE: Final = Path(__file__).parent
"""Where `curves.css` lies, which a page with curves needs."""
TEMPLATES: Final = HERE / "templates"
"""Where `curves.html.j2` lies, which draws them."""
FLOORS: Final = ("retrained", "random")
"""What a benchmark calls the models without the concept in its charts."""
Cost = Callable[[Mark], float]
"""What a mark has cost: above 0, and never less than the mark before it."""


@dataclass(frozen=True, slots=True)
class DrawnCurve:
    """One model's curve."""

    line: str
    kind: str
    """Class of the style: `audited`, `base`, `floor` or `kept`."""
    path: str
    """Attribute `d` of an SVG path: a step function."""
    band: str
    """The same of its pointwise 95 % band, closed."""
    last: str
    """Share at the end, in words for those who cannot see it."""


@dataclass(frozen=True, slots=True)
class Chart:
    """The curves of one attack."""

    curves: tuple[DrawnCurve, ...]
    ticks: tuple[tuple[float, int], ...]
    """Place from 0 to 100, and cost."""


def by_draws(mark: Mark) -> float:
    """Pictures a case."""
    return mark.draws


def chart(
    curves: Mapping[str, Sequence[Mark]],
    cost: Cost = by_draws,
    *,
    most: int = 9,
    past: float = 1.0,
) -> Chart | None:
    """Lay out the curves of an attack by line; the axis of their cost is logarithmic.

    Args:
        curves: line -> its marks, the least cost first.
        cost: what the axis shows.
        most: how many ticks there is room for.
        past: how far the axis goes on after the last mark, as a factor of its cost.

    Returns:
        None where no line has a curve.
    """
    there = {line: marks for line, marks in curves.items() if marks}
    if not there:
        return None
    least = min(cost(marks[0]) for marks in there.values())
    last = max(cost(marks[-1]) for marks in there.values())
    longest = past * last

    def across(spent: float) -> float:
        return 100 * log(spent / least) / log(longest / least) if longest > least else 50.0

    # The audited model above the others, but for dashes, which leave it to be seen.
    order = sorted(there, key=lambda line: (kind_of(line) == "audited") + 2 * (line in FLOORS))
    drawn = tuple(
        _drawn(line, there[line], [across(cost(mark)) for mark in there[line]], longest > least)
        for line in order
    )
    return Chart(drawn, tuple((across(n), n) for n in _ticks(least, last, most)))


def _ticks(least: float, last: float, most: int) -> list[int]:
    """Round numbers on the axis; where there is no room for them those of tens alone, and where
    fewer than two are left its ends."""
    tens = [10**n for n in range(ceil(log10(last)) + 1)]
    ticks: list[int] = []
    for steps in ((1, 2, 5), (1,)):
        ticks = [n * step for n in tens for step in steps if least <= n * step <= last]
        if len(ticks) <= most:
            break
    return ticks if len(ticks) > 1 else sorted({ceil(least), max(ceil(least), floor(last))})


def kind_of(line: str) -> str:
    """The style of a line's curve."""
    if line.startswith("twin"):  # it saw the concept as the base did
        return "base"
    kind = line.partition("-")[0]
    return kind if kind in ("audited", "base", "kept") else "floor"


def _drawn(line: str, marks: Sequence[Mark], places: Sequence[float], spread: bool) -> DrawnCurve:
    """The curve of a line.

    Args:
        places: of its marks, from 0 to 100.
        spread: whether the axis has two ends; else the last mark is drawn from side to side.
    """
    ends = [*places[1:], 100.0]
    if not spread:
        marks, places, ends = marks[-1:], [0.0], [100.0]
    shares = [mark.share for mark in marks]
    path = _outline(places, ends, [one.share for one in shares])
    high = _corners(places, ends, [one.high for one in shares])
    low = _corners(places, ends, [one.low for one in shares])
    band = "M" + "L".join(f"{x:.2f} {y:.2f}" for x, y in (*high, *reversed(low))) + "Z"
    last = shares[-1]
    return DrawnCurve(
        line, kind_of(line), path, band, f"{line}: {last.count} of {last.total} cases at the end"
    )


def _corners(
    places: Sequence[float], ends: Sequence[float], shares: Sequence[float]
) -> list[tuple[float, float]]:
    """Both ends of each level, in order, y downwards."""
    return [
        (x, 100 * (1 - share))
        for place, end, share in zip(places, ends, shares, strict=True)
        for x in (place, end)
    ]


def _outline(places: Sequence[float], ends: Sequence[float], shares: Sequence[float]) -> str:
    return "M" + "L".join(f"{x:.2f} {y:.2f}" for x, y in _corners(places, ends, shares))
