"""Intervals of means of few values, of their differences and ratios, by resampling."""

# N and M values, R resamplings.

import math
from typing import Final

import torch
from torch import Tensor

from erasure.errors import ConfigError

_RESAMPLES: Final = 2000
_Z: Final = 1.959963984540054  # 97.5 % of a standard normal lies below


def interval_of_difference(
    one: Tensor, other: Tensor, draw: torch.Generator
) -> tuple[float, float]:
    """The 95 % interval of the mean of `one`, (N,), less that of `other`, (M,), drawn apart.

    Bare percentiles are too near to the middle where values are few; each group's are moved away by
    what Student's t has more than a normal number, so that 8 values are covered as often as 500.

    Raises:
        ConfigError: a group has fewer than two values, which do not say how far others may lie.
    """
    if min(len(one), len(other)) < 2:
        raise ConfigError(
            f"there are {len(one)} and {len(other)} values; give at least two of each"
        )
    spread = _moved(one, draw) - _moved(other, draw)
    middle, ends = float(one.mean() - other.mean()), spread.sort().values
    low, high = (float(ends[round(q * (_RESAMPLES - 1))]) for q in (0.025, 0.975))
    return middle + low, middle + high


def interval_of_mean(values: Tensor, draw: torch.Generator) -> tuple[float, float]:
    """The 95 % interval of the mean of values (N,), widened as above.

    Raises:
        ConfigError: there are fewer than two values.
    """
    return interval_of_difference(values, torch.zeros_like(values), draw)


def interval_of_ratio(pairs: Tensor, draw: torch.Generator) -> tuple[float, float]:
    """The 95 % interval of mean(a) / mean(b) of pairs (N, 2), drawn together and widened as above.

    Raises:
        ConfigError: there are fewer than two pairs.
    """
    if len(pairs) < 2:
        raise ConfigError(f"there are {len(pairs)} pairs; give at least two")
    picks = torch.randint(len(pairs), (_RESAMPLES, len(pairs)), generator=draw)
    means = pairs.mean(dim=0)
    again = means + widening(len(pairs)) * (pairs[picks].mean(dim=1) - means)  # (R, 2)
    ratios = (again[:, 0] / again[:, 1]).sort().values
    low, high = (float(ratios[round(q * (_RESAMPLES - 1))]) for q in (0.025, 0.975))
    return low, high


def _moved(values: Tensor, draw: torch.Generator) -> Tensor:
    """How far the means of resampled values lie from their own mean, widened, (R,)."""
    picks = torch.randint(len(values), (_RESAMPLES, len(values)), generator=draw)
    return widening(len(values)) * (values[picks].mean(dim=1) - values.mean())


def widening(count: int) -> float:
    """sqrt(N / (N - 1)) t / z, t and z the 97.5 % points of Student's and the normal distribution.

    Source: Abramowitz and Stegun, 26.7.5, three terms: within 2 % from 3 values on.
    """
    freedom = count - 1
    terms = (
        (_Z**3 + _Z) / 4,
        (5 * _Z**5 + 16 * _Z**3 + 3 * _Z) / 96,
        (3 * _Z**7 + 19 * _Z**5 + 17 * _Z**3 - 15 * _Z) / 384,
    )
    student: float = _Z + sum(term / freedom**power for power, term in enumerate(terms, 1))
    return math.sqrt(count / freedom) * student / _Z
