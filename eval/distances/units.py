"""A distance to the retrained model over the distance of two retrained seeds, with its interval."""

# N pictures, R resamplings.

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Final

import torch
from torch import Tensor

from eval.errors import EvalError
from eval.rates.intervals import widening

RESAMPLES: Final = 2000
_Z: Final = 1.959963984540054  # 97.5 % of a standard normal lies below


@dataclass(frozen=True, slots=True, kw_only=True)
class Units:
    """A distance, and how many times that of two retrained seeds it is."""

    value: float
    """Distance of the model to the retrained one, in the measure's own scale."""
    unit: float
    """The same distance between two seeds; 0 only where nothing differs anywhere."""
    units: float
    """value / unit: at 1 the model cannot be told from another retrained seed."""
    low: float
    """Lower end of the 95 % interval of `units`."""
    high: float
    floored: bool = False
    """Whether two seeds came out nearer than chance lets one see, so that `unit` is that chance."""


def units_of_means(values: Tensor, twins: Tensor, *, seed: int) -> Units:
    """Mean of a picture's distance over the mean of the same picture's distance of two seeds.

    The interval is that of a bootstrap over pictures, each with both of its distances.

    Args:
        values: (N,) distance of the model to the retrained one on each picture.
        twins: (N,) distance of the two seeds on the same pictures.

    Raises:
        EvalError: no picture, another number of them, or a value is not finite.
    """
    _require(values, twins)
    if len(values) != len(twins):
        raise EvalError(
            f"{len(values)} distances and {len(twins)} of two seeds do not pair; give one each a "
            "picture"
        )
    both = torch.stack([values.double(), twins.double()], dim=1)  # (N, 2)
    units = bootstrapped(
        lambda rows: (rows[..., 0].mean(-1), rows[..., 1].mean(-1)), both, seed=seed
    )
    return replace(units, low=max(0.0, units.low))


def bootstrapped(
    measure: Callable[[Tensor], tuple[Tensor, Tensor]], rows: Tensor, *, seed: int
) -> Units:
    """Distance and unit of a sample, and the interval of their ratio over resampled rows, widened
    as few rows need it; of one row it has no end.

    Where the unit is not above its own standard error over the resamplings, that takes its place:
    nearer than that no two seeds can be seen to be.

    Args:
        measure: rows (..., N, K) -> distance (...) and unit (...).
        rows: (N, K), one row a picture.
    """
    value, unit = (float(one) for one in measure(rows))
    draw = torch.Generator().manual_seed(seed)
    picks = torch.randint(len(rows), (RESAMPLES, len(rows)), generator=draw)
    values, units = measure(rows[picks])
    floor = float(units.std())
    floored = unit <= floor
    whole = max(unit, floor)
    if whole <= 0:
        ratio = 1.0 if value == 0 else math.inf
        return Units(value=value, unit=0.0, units=ratio, low=ratio, high=ratio, floored=True)
    ratios = values / units.clamp(min=whole if floored else floor or whole)
    ratio = value / whole
    low, high = widened(ratios, ratio, len(rows))
    return Units(value=value, unit=whole, units=ratio, low=low, high=high, floored=floored)


def widened(again: Tensor, value: float, count: int) -> tuple[float, float]:
    """The 95 % interval of a value from its resamplings (R,) over `count` rows, see `widening`."""
    if count < 2:
        return -math.inf, math.inf
    low, high = (float(q) for q in again.quantile(torch.tensor([0.025, 0.975]).double()))
    wider = widening(count)
    return value - wider * (value - low), value + wider * (high - value)


def units_of_errors(
    value: float, error: float, unit: float, unit_error: float, *, least: float = 0.0
) -> Units:
    """The ratio of two estimates with standard errors, and its interval.

    The errors count as independent; that of the value is symmetric, that of the unit on a
    logarithmic scale, so that a far model stays far however rough its unit is. Both reaches are
    put together by the root of their squares. A unit below its standard error, or below `least`, is
    replaced by the larger of these.

    Args:
        least: smallest unit that the measure can show.

    Source: the recovery of variances of G. Y. Zou and A. Donner, Stat. Med. 27 (2008) 1693.
    """
    whole = max(unit, unit_error, least)
    if whole <= 0:
        ratio = 1.0 if value == 0 else math.inf
        return Units(value=value, unit=0.0, units=ratio, low=ratio, high=ratio, floored=True)
    ratio = value / whole
    reach = _Z * error / whole
    rough = _Z * unit_error / whole
    below, above = abs(ratio) * -math.expm1(-rough), abs(ratio) * math.expm1(rough)
    if ratio < 0:
        below, above = above, below
    return Units(
        value=value,
        unit=whole,
        units=ratio,
        low=ratio - math.hypot(reach, below),
        high=ratio + math.hypot(reach, above),
        floored=whole > unit,
    )


def resampled(rows: int, *, seed: int) -> Tensor:
    """How often each row is in each resampling, (R, rows) float64."""
    draw = torch.Generator().manual_seed(seed)
    picks = torch.randint(rows, (RESAMPLES, rows), generator=draw)
    counts = torch.zeros(RESAMPLES, rows, dtype=torch.float64)
    return counts.scatter_add_(1, picks, torch.ones_like(counts))


def _require(*groups: Tensor) -> None:
    for group in groups:
        if group.ndim != 1 or not len(group) or not bool(group.isfinite().all()):
            raise EvalError(
                f"distances of shape {tuple(group.shape)} cannot be compared; give a finite one "
                "for each picture"
            )
