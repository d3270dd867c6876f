"""D6: the area between two attack curves, and the costs at which half of the cases have come."""

# G costs, R resamplings.

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from eval.distances.units import RESAMPLES, Units, units_of_errors
from eval.errors import EvalError


@dataclass(frozen=True, slots=True)
class AttackCurve:
    """At which costs the cases of one attack came through."""

    costs: tuple[float, ...]
    """Rising, above 0; such as network passes a case."""
    arrivals: tuple[int, ...]
    """Cases that come through first at each cost."""
    total: int
    """All cases, those that never come through too."""

    def __post_init__(self) -> None:
        rising = all(a < b for a, b in zip(self.costs, self.costs[1:], strict=False))
        above = all(math.isfinite(cost) and cost > 0 for cost in self.costs)
        if not self.costs or not rising or not above:
            raise EvalError(f"the costs {self.costs} of an attack curve do not rise from above 0")
        if len(self.arrivals) != len(self.costs) or min(self.arrivals) < 0:
            raise EvalError("an attack curve falls; a case that came through stays so")
        if self.total < 1 or sum(self.arrivals) > self.total:
            raise EvalError(f"{sum(self.arrivals)} of {self.total} cases came through an attack")

    def share_at(self, cost: float) -> float:
        """Share of cases that have come through at a cost; 0 before the first."""
        pairs = zip(self.costs, self.arrivals, strict=True)
        return sum(count for own, count in pairs if own <= cost) / self.total

    @property
    def half(self) -> float:
        """The least cost at which half of the cases have come through; infinite where none is."""
        return next((cost for cost in self.costs if self.share_at(cost) >= 0.5), math.inf)


def area_between(one: AttackCurve, other: AttackCurve) -> tuple[float, float]:
    """The mean gap from the least cost to the largest of both, over log(cost).

    Where there is one cost, it is the gap there.

    Returns:
        The mean of the gap without its sign, in [0, 1], and with it: above 0 `one` is higher.
    """
    grid = _grid((one, other))
    gap = _shares(one, grid) - _shares(other, grid)
    weights = _weights(grid)
    return float((gap.abs() * weights).sum()), float((gap * weights).sum())


def area_units(
    model: AttackCurve,
    retrained: AttackCurve,
    pair: tuple[AttackCurve, AttackCurve],
    *,
    seed: int,
) -> Units:
    """Area between a model's curve and the retrained one's, over that of two seeds.

    All areas are over the costs of all four curves. Both errors are those of resampled cases, each
    curve for itself. The unit is at least one case.
    """
    grid = _grid((model, retrained, *pair))
    weights = _weights(grid)
    draw = torch.Generator().manual_seed(seed)
    plain, again = {}, {}
    for curve in (model, retrained, *pair):  # a curve that stands in two places is resampled once
        plain[id(curve)] = _shares(curve, grid)
        again[id(curve)] = _resampled(curve, grid, draw)

    def area(shares: dict[int, Tensor], one: AttackCurve, other: AttackCurve) -> Tensor:
        return ((shares[id(one)] - shares[id(other)]).abs() * weights).sum(-1)

    units = units_of_errors(
        float(area(plain, model, retrained)),
        float(area(again, model, retrained).std()),
        float(area(plain, *pair)),
        float(area(again, *pair).std()),
        least=1 / min(curve.total for curve in pair),
    )
    return replace(units, low=max(0.0, units.low))


def half_ratio(model: AttackCurve, retrained: AttackCurve) -> float | None:
    """log(cost of half, retrained / model): above 0 the model comes back sooner.

    None where neither comes to half; infinite where one of them alone does.
    """
    mine, theirs = model.half, retrained.half
    if math.isinf(mine) and math.isinf(theirs):
        return None
    if math.isinf(mine):
        return -math.inf
    return math.inf if math.isinf(theirs) else math.log(theirs / mine)


def _grid(curves: Sequence[AttackCurve]) -> Tensor:
    """All costs, rising, (G,) float64."""
    return torch.tensor(sorted({cost for curve in curves for cost in curve.costs})).double()


def _weights(grid: Tensor) -> Tensor:
    """The share of log(cost) that each cost of the grid begins, (G,); its sum is 1."""
    if len(grid) == 1:
        return torch.ones(1, dtype=torch.float64)
    widths = torch.cat([grid.log().diff(), torch.zeros(1, dtype=torch.float64)])
    return widths / widths.sum()


def _shares(curve: AttackCurve, grid: Tensor) -> Tensor:
    """(G,)"""
    return torch.tensor([curve.share_at(cost) for cost in grid.tolist()]).double()


def _resampled(curve: AttackCurve, grid: Tensor, draw: torch.Generator) -> Tensor:
    """Shares of resampled cases, (R, G)."""
    never = curve.total - sum(curve.arrivals)
    chances = torch.tensor([*curve.arrivals, never]).double()
    picks = torch.multinomial(
        chances.expand(RESAMPLES, -1), curve.total, replacement=True, generator=draw
    )
    costs = torch.tensor([*curve.costs, math.inf]).double()[picks]  # (R, total)
    return torch.stack([(costs <= cost).double().mean(-1) for cost in grid], dim=-1)
