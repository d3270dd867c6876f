"""D5: the unbiased kernel distance of pictures drawn from equal prompts and seeds."""

# N pictures, D features.

import math

from torch import Tensor

from eval.damage.kernel_units import require_features
from eval.distances.units import Units, units_of_errors
from eval.errors import EvalError
from eval.metrics.kernel_variance import paired_kernel_distance


def kernel_distance_units(model: Tensor, retrained: Tensor, pair: tuple[Tensor, Tensor]) -> Units:
    """Squared distance to the retrained model's pictures, over that of two seeds' pictures.

    Both are unbiased and may lie below 0; a unit below its standard error is replaced by that. The
    pictures of one prompt and seed are never held against each other, see `paired_kernel_distance`.

    Args:
        model: (N, D).
        retrained: (N, D) of the same prompts and seeds.
        pair: (N, D) each, of the two seeds.

    Raises:
        EvalError: fewer than 4 pictures, the shapes differ, or a value is not finite.
    """
    return units_of_errors(*_distance(model, retrained), *_distance(*pair))


def _distance(one: Tensor, other: Tensor) -> tuple[float, float]:
    """Squared distance and its standard error."""
    require_features(one, other)
    if len(one) != len(other):
        raise EvalError(f"{len(one)} and {len(other)} pictures do not pair; draw the same prompts")
    value, variance = paired_kernel_distance(one, other)
    return value, math.sqrt(variance)
