"""The loss curve of a report as a path in a square of 100 x 100, whatever room it gets."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from math import floor, log10
from typing import Final

from pipelines.evaluation.report.report_format import number

_POINTS: Final = 600
"""A curve of more is averaged in as many runs of equal length."""
_BELOW: Final = 0.03
"""How far the axis goes below the loss that a tenth of the steps do not reach, as a factor."""
_LOG_FROM: Final = 30.0
"""The axis is logarithmic where the largest loss is so many times the smallest."""

_LARGEST: Final = 1e100
"""What exceeds this is as good as infinite, and its powers of ten stay within a float."""


@dataclass(frozen=True, slots=True)
class Tick:
    """A line across the chart."""

    place: float
    """Place from 0, at the left or top, to 100."""
    text: str


@dataclass(frozen=True, slots=True)
class Curve:
    """What the template draws."""

    raw: str
    """Attribute `d` of an SVG path; gaps where a loss is not finite."""
    smooth: str
    """The same, a centred mean over about a tenth of the run."""
    horizontal: tuple[Tick, ...]
    vertical: tuple[Tick, ...]
    logarithmic: bool
    first: str
    last: str
    """Mean over the first and the last tenth, as text."""
    steps: int


def loss_curve(losses: Sequence[tuple[int, float]]) -> Curve | None:
    """Lay out (step, loss) in the order of the steps; None where no loss is finite."""
    ordered = sorted(losses, key=lambda point: point[0])
    finite = [loss for _, loss in ordered if _drawable(loss)]
    if not finite:
        return None
    low, high = _usual_low(finite), max(finite)
    logarithmic = low > 1 / _LARGEST and high > _LOG_FROM * low
    ticks = _decades(low, high) if logarithmic else _round_steps(low, high)
    bottom, top = min(low, ticks[0]), max(high, ticks[-1])
    first, last = ordered[0][0], ordered[-1][0]

    def across(step: float) -> float:
        return 100 * (step - first) / max(1, last - first)

    def down(loss: float) -> float:
        if logarithmic:
            return 100 * (log10(top) - log10(max(loss, bottom))) / (log10(top) - log10(bottom))
        return 100 * (top - loss) / (top - bottom)

    thinned = _thinned(ordered)
    tenth = max(1, len(finite) // 10)
    return Curve(
        raw=_path(
            (across(step), down(loss)) if _drawable(loss) else None for step, loss in thinned
        ),
        smooth=_path(
            None if loss is None else (across(step), down(loss)) for step, loss in _smooth(thinned)
        ),
        horizontal=tuple(Tick(down(loss), number(loss)) for loss in ticks),
        vertical=tuple(
            Tick(across(step), number(step)) for step in dict.fromkeys(_step_ticks(first, last))
        ),
        logarithmic=logarithmic,
        first=number(sum(finite[:tenth]) / tenth),
        last=number(sum(finite[-tenth:]) / tenth),
        steps=len(ordered),
    )


def _usual_low(losses: Sequence[float]) -> float:
    """The least loss; or, where that is next to nothing, a little less than the usual ones.

    A first loss that is zero but for rounding would else stretch the axis over many decades.
    """
    ordered = sorted(losses)
    usual = ordered[min(max(1, len(ordered) // 10), len(ordered) - 1)]
    return max(ordered[0], _BELOW * usual) if ordered[0] >= 0 else ordered[0]


def _thinned(points: Sequence[tuple[int, float]]) -> list[tuple[float, float]]:
    """At most `_POINTS` points, each the mean of a run; a run with a loss not finite is NaN."""
    count = min(len(points), _POINTS)
    cuts = [n * len(points) // count for n in range(count + 1)]
    runs = [points[start:end] for start, end in pairwise(cuts)]
    return [(sum(s for s, _ in run) / len(run), sum(v for _, v in run) / len(run)) for run in runs]


def _smooth(points: Sequence[tuple[float, float]]) -> Iterator[tuple[float, float | None]]:
    half = max(1, len(points) // 20)
    for n, (step, loss) in enumerate(points):
        near = [v for _, v in points[max(0, n - half) : n + half + 1] if _drawable(v)]
        yield step, sum(near) / len(near) if _drawable(loss) else None


def _drawable(loss: float) -> bool:
    return abs(loss) < _LARGEST  # False for NaN


def _path(points: Iterator[tuple[float, float] | None]) -> str:
    parts, drawing = [], False
    for point in points:
        if point is not None:
            parts.append(f"{'L' if drawing else 'M'}{point[0]:.2f} {point[1]:.2f}")
        drawing = point is not None
    return "".join(parts)


def _round_steps(low: float, high: float) -> list[float]:
    """Three to seven round numbers from below `low` to above `high`."""
    span = (high - low) or abs(high) or 1.0
    power = 10.0 ** floor(log10(span / 3))
    step = next(power * n for n in (1, 2, 5, 10) if span / (power * n) <= 5)
    first = floor(low / step)
    count = next(n for n in range(1, 99) if (first + n) * step >= high)
    return [(first + n) * step for n in range(count + 1)]


def _decades(low: float, high: float) -> list[float]:
    """Powers of ten around both."""
    first = floor(log10(low))
    count = next(n for n in range(1, 700) if 10.0 ** (first + n) >= high)
    every = -(-count // 6)
    return [10.0 ** (first + n) for n in range(0, count + every, every)]


def _step_ticks(first: int, last: int) -> list[int]:
    return [first + (last - first) * n // 4 for n in range(5)]
