"""How far a model's pictures are from the base's, in units of the base's own spread over seeds."""

# N and M pictures, D features.

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from eval.errors import EvalError
from eval.metrics.kernel_variance import kernel_variance

FEWEST = 4
"""Pictures a set that the variance needs."""


@dataclass(frozen=True, slots=True, kw_only=True)
class KernelUnits:
    """Two squared distances, and one in units of the other."""

    distance: float
    """Squared, of the audited model to the base; unbiased, so that it may be below 0."""
    error: float
    """Its standard error."""
    seeds: float
    """Squared, of the base's pictures of some seeds to its pictures of others."""
    unit: float
    """Standard error of `seeds`: what the base differs from itself by chance."""

    @property
    def units(self) -> float:
        """(distance - seeds) / unit: up to some 2 it may be chance."""
        return (self.distance - self.seeds) / self.unit if self.unit else math.inf

    @property
    def low(self) -> float:
        """Lower end of the 95 % interval of `units`."""
        return self.units - self._half

    @property
    def high(self) -> float:
        """Upper end of the 95 % interval of `units`."""
        return self.units + self._half

    @property
    def _half(self) -> float:
        return 1.96 * math.hypot(self.error, self.unit) / self.unit if self.unit else math.inf


def squared_kernel_distance(x: Tensor, y: Tensor) -> float:
    """Unbiased squared maximum mean discrepancy with the kernel (x . y / D + 1)^3, in float64.

    All pictures are used, without subsets: at 500 pictures of 2048 features it takes a moment.

    Args:
        x: (N, D).
        y: (M, D).

    Raises:
        EvalError: fewer than 4 pictures a side, D differs, or a value is not finite.

    Source: arXiv:1801.01401.
    """
    require_features(x, y)
    x, y = x.detach().double().cpu(), y.detach().double().cpu()
    return _inside(x) + _inside(y) - 2 * float(_kernel(x, y).mean())


def kernel_units(after: Tensor, base: Tensor, base_again: Tensor) -> KernelUnits:
    """Hold a model against the base, and the base against itself drawn from other seeds.

    Args:
        after: (N, D) features of the audited model's pictures.
        base: (M, D) of the base's pictures of the same prompts and seeds.
        base_again: (K, D) of the base's pictures of the same prompts and other seeds.

    Raises:
        EvalError: as `squared_kernel_distance`.
    """
    return KernelUnits(
        distance=squared_kernel_distance(after, base_again),
        error=math.sqrt(kernel_variance(after, base_again)),
        seeds=squared_kernel_distance(base, base_again),
        unit=math.sqrt(kernel_variance(base, base_again)),
    )


def _kernel(x: Tensor, y: Tensor) -> Tensor:
    value: Tensor = (x @ y.T / x.shape[1] + 1) ** 3
    return value


def _inside(x: Tensor) -> float:
    values = _kernel(x, x)
    return float((values.sum() - values.diagonal().sum()) / (len(x) * (len(x) - 1)))


def require_features(x: Tensor, y: Tensor) -> None:
    """Raise EvalError where two sets of features cannot be compared."""
    if x.ndim != 2 or y.ndim != 2 or x.shape[1] != y.shape[1] or min(len(x), len(y)) < FEWEST:
        raise EvalError(
            f"features of {tuple(x.shape)} and {tuple(y.shape)} do not compare; give (N, D) of "
            f"{FEWEST} pictures or more from one extractor"
        )
    if not (torch.isfinite(x).all() and torch.isfinite(y).all()):
        raise EvalError("a feature is not finite; leave out the pictures that cannot be used")
