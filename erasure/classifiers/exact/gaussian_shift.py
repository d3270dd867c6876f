"""How far noise of a normal distribution may be shifted until somebody can tell: exactly."""

import math
from typing import Final

import torch
from torch import Tensor

_HALVINGS: Final = 200
_ROUNDING: Final = 1e-13
"""More than the relative error of either probability, so that the answer errs downwards."""


def gaussian_delta(shift: float, epsilon: float) -> float:
    """Smallest delta for which N(0, I) and N(v, I), |v| = `shift`, are (epsilon, delta)-alike.

    delta = Phi(r / 2 - epsilon / r) - e^epsilon Phi(-r / 2 - epsilon / r), r the shift. It grows
    with the shift, and it is attained: on the half-space behind which the one density is more than
    e^epsilon times the other.

    Args:
        shift: in standard deviations, 0 or more.
        epsilon: 0 or more.

    Source: arXiv:1805.06530, theorem 8 (the analytic Gaussian mechanism).
    """
    if shift == 0:
        return 0.0
    upper, lower = _logs(shift, epsilon)
    return max(0.0, -math.exp(upper) * math.expm1(min(0.0, lower - upper)))


def largest_shift(epsilon: float, delta: float) -> float:
    """The largest shift, in standard deviations, that stays (epsilon, delta)-alike.

    It is found by halving, to the last digit, and errs downwards. It holds for every epsilon,
    where the textbook's epsilon / sqrt(2 log(1.25 / delta)) is proved up to 1 only, is too large
    from about 8 on, and too small by a quarter at 1.

    Args:
        epsilon: above 0.
        delta: between 0 and 1.

    Source: arXiv:1805.06530, theorem 8 and section 3.
    """
    low, high = 0.0, 1.0
    while _surely_alike(high, epsilon, delta):
        low, high = high, 2 * high
    for _ in range(_HALVINGS):
        middle = 0.5 * (low + high)
        if middle in (low, high):
            break
        if _surely_alike(middle, epsilon, delta):
            low = middle
        else:
            high = middle
    return low


def _surely_alike(shift: float, epsilon: float, delta: float) -> bool:
    slack = _ROUNDING * math.exp(_logs(shift, epsilon)[0])
    return gaussian_delta(shift, epsilon) + slack <= delta


def _logs(shift: float, epsilon: float) -> tuple[float, float]:
    """Logarithms of the two terms; e^epsilon itself may be beyond what a float holds."""
    places: Tensor = torch.tensor([0.5 * shift, -0.5 * shift], dtype=torch.float64)
    upper, lower = torch.special.log_ndtr(places - epsilon / shift).tolist()
    return upper, epsilon + lower
