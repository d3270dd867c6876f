"""Curves of success against cost, laid out in a square of 100 x 100, whatever room it gets."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from math import log

from pipelines.audit.outcome.curves import Mark


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
    """Place from 0 to 100, and pictures a case."""


def chart(curves: Mapping[str, Sequence[Mark]]) -> Chart | None:
    """Lay out the curves of an attack by line; the axis of pictures a case is logarithmic.

    Returns:
        None where no line has a curve.
    """
    there = {line: marks for line, marks in curves.items() if marks}
    if not there:
        return None
    longest = max(marks[-1].draws for marks in there.values())

    def across(draws: int) -> float:
        return 100 * log(draws) / log(longest) if longest > 1 else 50.0

    order = sorted(there, key=lambda line: line == "audited")  # drawn last, above the others
    drawn = tuple(_drawn(line, there[line], across, longest) for line in order)
    marks = [n for n in (1, 2, 5, 10, 20, 50, 100, 200, 500) if n <= longest]
    return Chart(drawn, tuple((across(n), n) for n in marks))


def kind_of(line: str) -> str:
    """The style of a line's curve."""
    if line.startswith("twin"):  # it saw the concept as the base did
        return "base"
    kind = line.partition("-")[0]
    return kind if kind in ("audited", "base", "kept") else "floor"


def _drawn(
    line: str, marks: Sequence[Mark], across: Callable[[int], float], longest: int
) -> DrawnCurve:
    places = [across(mark.draws) for mark in marks]
    ends = [*places[1:], 100.0]
    if longest == 1:
        places, ends = [0.0], [100.0]
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
